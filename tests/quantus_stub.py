"""Imports Quantus without the packages that its import names and our metrics never use.

Pandas, OpenCV and scikit-image get a stand-in while Quantus is imported and not a moment longer.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
import warnings
from typing import Any

from zennit_stub import import_zennit

UNUSED = ("pandas", "cv2", "skimage", "skimage.segmentation")


class _Standin(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def import_quantus() -> Any:
    """The quantus package; ImportError where it or what it needs is not installed."""
    if importlib.util.find_spec("zennit") is not None:
        import_zennit()  # Quantus imports it where it is installed
    absent = [name for name in UNUSED if name.partition(".")[0] not in sys.modules]
    missing = [n for n in absent if importlib.util.find_spec(n.partition(".")[0]) is None]
    sys.modules.update({name: _Standin(name) for name in missing})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("quantus")
    finally:
        for name in missing:
            del sys.modules[name]
