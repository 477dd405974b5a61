"""Arrays at the edge: NumPy arrays and CPU torch tensors in, the same kind out, nothing misread.

The only module that knows torch tensors. It looks torch up among the modules that the caller has
imported and never imports it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from relprop import _core

# What users pass and get: a NumPy array or a CPU torch tensor. Results are of the kind that x was.
Array = Any
FloatArray = npt.NDArray[np.float32]

_FLOAT32 = np.dtype(np.float32)

ACCEPTED = "a float32 NumPy array or CPU torch tensor"


class Floats(NamedTuple):
    """A float32, C-contiguous view of what the caller passed, and the way back to its kind."""

    values: FloatArray
    restore: Callable[[FloatArray], Array]


def floats(x: object, what: str, *, cast: bool = False) -> Floats:
    """Checks an argument and views it as float32; copies only what is not contiguous.

    Args:
        x: a float32 NumPy array or CPU torch tensor; other floating point types with cast.
        what: how messages call it.
        cast: round other floating point types to float32.

    Raises:
        TypeError: another type or dtype.
        ValueError: NaN or infinite values, or a tensor that is not on the CPU or not dense.
    """
    restore: Callable[[FloatArray], Array] = _as_numpy
    if is_tensor(x):
        array = tensor_values(x, what)
        restore = sys.modules["torch"].from_numpy
    elif isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{what} is a masked array, whose mask would be lost; accepted: {ACCEPTED}")
    elif isinstance(x, np.ndarray):
        array = x
    else:
        plain = isinstance(x, list | tuple)
        hint = f"; convert it: np.asarray({what}, np.float32)" if plain else ""
        raise TypeError(f"{what} is of type {type(x).__name__}; accepted: {ACCEPTED}{hint}")
    values = _float32(array, what, cast)
    if not (values.flags.c_contiguous and values.flags.aligned):
        values = np.require(values, requirements=["C", "A"])
    if not _core.all_finite(values):
        raise ValueError(f"{what} has NaN or infinite values; accepted: finite values")
    return Floats(values, restore)


def real_values(values: object, what: str) -> FloatArray:
    """Weights such as masks, which may be of any real type, as float32."""
    array = tensor_values(values, what) if is_tensor(values) else np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{what} has dtype {array.dtype}; accepted: bool, integers or floats")
    with np.errstate(over="ignore"):
        result = array.astype(np.float32)
    if not np.isfinite(result).all():
        raise ValueError(f"{what} has NaN or infinite values; accepted: finite values")
    return result


def is_tensor(x: object) -> bool:
    """Whether x is a torch tensor; False where the caller has not imported torch."""
    tensor = getattr(sys.modules.get("torch"), "Tensor", None)
    return tensor is not None and isinstance(x, tensor)


def tensor_values(x: Any, what: str) -> npt.NDArray[Any]:
    """The values of a CPU tensor, shared with it, detached from any graph."""
    if x.device.type != "cpu":
        raise ValueError(f"{what} is on device '{x.device}'; accepted: the CPU, {what}.cpu()")
    if str(x.layout) != "torch.strided":
        raise ValueError(f"{what} has layout {x.layout}; accepted: dense tensors")
    detached = x.detach().resolve_neg().resolve_conj()
    try:
        values: npt.NDArray[Any] = detached.numpy()
    except TypeError as error:  # bfloat16 and the like, which NumPy does not have
        raise TypeError(f"{what} has dtype {x.dtype}; accepted: torch.float32") from error
    return values


def _float32(array: npt.NDArray[Any], what: str, cast: bool) -> npt.NDArray[np.float32]:
    if array.dtype == _FLOAT32:
        return array
    if array.dtype.newbyteorder("=") == np.float32:
        return array.astype(np.float32, copy=False)  # another byte order is copied
    if array.dtype.kind != "f":
        raise TypeError(
            f"{what} has dtype {array.dtype}; accepted: float32. "
            "Bring it to the range that the model expects first"
        )
    if not cast:
        raise TypeError(
            f"{what} has dtype {array.dtype}; accepted: float32. "
            "Pass cast=True to have it rounded to float32"
        )
    with np.errstate(over="ignore"):  # what overflows is refused as infinite
        return array.astype(np.float32)


def _as_numpy(values: FloatArray) -> Array:
    return values
