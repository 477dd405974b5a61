"""Handlers of Resize and its forerunner Upsample: a product of two fixed matrices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from relprop._compose import FloatArray, linear_matrix, nearest_matrix
from relprop._onnx.build import Builder, Value, handles
from relprop._onnx.parse import Node

Doubles = npt.NDArray[np.float64]

_ROUNDING: dict[str, Callable[[Doubles], Doubles]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


@handles("Resize", "Upsample")
def _resize(builder: Builder, node: Node) -> Value:
    layer = builder.activation(node)
    shape = builder.shape(layer)
    rank = len(shape) + 1
    if len(shape) not in (2, 3):
        raise node.unsupported(f"a sample of shape {shape}; supported: (C, L) and (C, H, W)")
    _refuse_variants(node)
    scales, sizes = _scales(builder, node, rank), _sizes(builder, node)
    if scales is None and (sizes is None or len(sizes) != rank):
        raise node.error(f"sizes {sizes} and no scales for {rank} axes")
    matrices = []
    for axis in range(rank):
        size = 1 if axis == 0 else shape[axis - 1]
        if scales is not None:
            out, scale = int(np.floor(size * scales[axis])), scales[axis]
        else:
            assert sizes is not None
            out = size if axis == 0 else int(sizes[axis])
            scale = out / size
        if axis < 2 and out != size:
            raise node.unsupported("it resizes batch or channels; supported: spatial axes")
        if out < 1:
            raise node.error(f"axis {axis} of size {size} would become {out}")
        if axis >= 2:
            matrices.append(_matrix(node, size, out, scale))
    if rank == 3:
        matrices.insert(0, np.ones((1, 1), np.float32))
    return builder.model.add_resample(node.name, layer, *matrices)


def _refuse_variants(node: Node) -> None:
    if node.get_int("antialias", 0) or node.get_int("exclude_outside", 0):
        raise node.unsupported("antialias or exclude_outside; supported: neither")
    if node.get_ints("axes") is not None:
        raise node.unsupported("attribute axes; supported: sizes or scales of all axes")
    policy = node.get_string("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        raise node.unsupported(f"keep_aspect_ratio_policy {policy}; supported: stretch")


def _scales(builder: Builder, node: Node, rank: int) -> list[float] | None:
    if node.op == "Upsample" and builder.graph.opset < 9:
        scales = node.get_floats("scales")
    else:
        at = 1 if node.op == "Upsample" or builder.graph.opset < 11 else 2
        scales = builder.constant(node, at).astype(float).tolist() if node.input(at) else None
    if not scales:
        return None
    if len(scales) != rank or min(scales) <= 0:
        raise node.error(f"scales {scales} for {rank} axes; accepted: one above 0 for each")
    return scales


def _sizes(builder: Builder, node: Node) -> list[int] | None:
    if not node.input(3):
        return None
    # The batch is open, whatever the file says of it.
    return [int(s) if isinstance(s, int) else 1 for s in builder.constant(node, 3).tolist()]


def _matrix(node: Node, size: int, out: int, scale: float) -> FloatArray:
    old = node.op == "Upsample"
    position = _positions(node, size, out, scale, "asymmetric" if old else "half_pixel")
    mode = node.get_string("mode", "nearest")
    if mode == "linear":
        return linear_matrix(position, size)
    if mode != "nearest":
        raise node.unsupported(f"mode {mode}; supported: nearest and linear")
    rounding = "floor" if old else node.get_string("nearest_mode", "round_prefer_floor")
    if rounding not in _ROUNDING:
        raise node.error(f"nearest_mode {rounding}; accepted: {', '.join(_ROUNDING)}")
    source = np.clip(_ROUNDING[rounding](position), 0, size - 1)
    return nearest_matrix(source.astype(np.int64), size)


def _positions(node: Node, size: int, out: int, scale: float, default: str) -> Doubles:
    """Where each output lies between the inputs, in the ONNX specification's words."""
    mode = node.get_string("coordinate_transformation_mode", default)
    at = np.arange(out, dtype=np.float64)
    if mode == "asymmetric":
        return at / scale
    if mode == "align_corners":
        return at * (size - 1) / max(out - 1, 1)
    if mode == "pytorch_half_pixel" and out == 1:
        return np.zeros(1)
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return (at + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":
        center = size / 2 * (1 - out / (size * scale))
        return center + (at + 0.5) / scale - 0.5
    raise node.unsupported(
        f"coordinate_transformation_mode {mode}; supported: asymmetric, align_corners, half_pixel, "
        "half_pixel_symmetric, pytorch_half_pixel"
    )
