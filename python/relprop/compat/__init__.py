"""The interfaces of other libraries on relprop's engine: one changed import, the same numbers.

``relprop.compat.zennit``, ``relprop.compat.captum`` and ``relprop.compat.quantus``. They take torch
modules and need torch; none of the libraries has to be installed.
"""
