"""Progress bars, where the caller asks for them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


def bar(items: Iterable[T], total: int, unit: str) -> Iterable[T]:
    """The items, with a bar on stderr.

    Raises:
        ImportError: the package tqdm is not installed.
    """
    shown: Iterable[T] = _tqdm()(items, total=total, unit=unit, file=sys.stderr)
    return shown


@contextmanager
def steps(total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """A bar on stderr that is told how far things are.

    Raises:
        ImportError: the package tqdm is not installed.
    """
    with _tqdm()(total=total, unit=unit, file=sys.stderr) as shown:
        yield lambda done: shown.update(done - shown.n) and None


def _tqdm() -> Any:
    try:
        from tqdm import tqdm  # type: ignore[import-untyped,unused-ignore]
    except ImportError as error:
        raise ImportError(
            "a progress bar needs the package tqdm: pip install relprop[progress]"
        ) from error
    return tqdm
