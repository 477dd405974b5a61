"""Progress bars, where the caller asks for them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def bar(items: Iterable[T], total: int, unit: str) -> Iterable[T]:
    """The items, with a bar on stderr.

    Raises:
        ImportError: the package tqdm is not installed.
    """
    try:
        from tqdm import tqdm  # type: ignore[import-untyped,unused-ignore]
    except ImportError as error:
        raise ImportError(
            "a progress bar needs the package tqdm: pip install relprop[progress]"
        ) from error
    shown: Iterable[T] = tqdm(items, total=total, unit=unit, file=sys.stderr)
    return shown
