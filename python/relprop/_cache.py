"""A small cache for things that are slow to make and safe to share between threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Once:
    """Parts of a key that are hashed once: hashing a composite takes as long as a small layer."""

    __slots__ = ("_hash", "_parts")

    def __init__(self, parts: Hashable) -> None:
        self._parts = parts
        self._hash = hash(parts)

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[type[Once], tuple[Hashable]]:
        return Once, (self._parts,)  # hashes of strings differ between processes

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Once) and self._parts == other._parts)


class Cache(Generic[T]):
    """The last `size` values that were asked for. Nobody waits for the making of another value."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._values: OrderedDict[Once, T] = OrderedDict()
        self._making: dict[Once, threading.Lock] = {}
        self._latest: tuple[Hashable, T] | None = None  # the last of _values: needs no lock

    def __len__(self) -> int:
        return len(self._values)

    def get(self, parts: Hashable, make: Callable[[], T]) -> T:
        """The value of this key; make() is called if it is not there, by one thread at a time."""
        latest = self._latest
        if latest is not None and latest[0] == parts:
            return latest[1]
        value = self._get(Once(parts), make)
        self._latest = parts, value
        return value

    def _get(self, key: Once, make: Callable[[], T]) -> T:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
            turn = self._making.setdefault(key, threading.Lock())
        with turn:
            with self._lock:
                if key in self._values:
                    return self._values[key]
            try:
                value = make()
                with self._lock:
                    self._values[key] = value
                    while len(self._values) > self._size:
                        self._values.popitem(last=False)
            finally:
                with self._lock:
                    self._making.pop(key, None)
            return value
