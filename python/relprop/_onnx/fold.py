"""Arithmetic on weights and on shapes, done once while a model is built.

Exporters compute shapes with operators (Shape, Gather, Concat, Reshape). Here such a shape is an
array of Python ints with BATCH in place of the batch size, so that the result holds for any batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from relprop._core import UnsupportedError
from relprop._onnx.parse import Array, Node, onnx

# Weights are stored in the file; what is computed here could grow without bound.
_MAX_COMPUTED = 2**28


class Batch:
    """The batch size: it can be moved about and multiplied by one, nothing else."""

    def __repr__(self) -> str:
        return "batch"

    def __mul__(self, other: object) -> Batch:
        if isinstance(other, int) and other == 1:
            return self
        raise UnsupportedError("arithmetic on the batch size")

    __rmul__ = __mul__

    def _refuse(self, *_: object) -> Batch:
        raise UnsupportedError("arithmetic on the batch size")

    __add__ = __radd__ = __sub__ = __rsub__ = __neg__ = __pow__ = _refuse
    __truediv__ = __floordiv__ = __rtruediv__ = __rfloordiv__ = _refuse
    __lt__ = __gt__ = __le__ = __ge__ = __abs__ = _refuse


BATCH = Batch()
Getter = Callable[[int], Array | None]
Folder = Callable[[Node, Getter, int], Array]


def shape_array(sizes: Sequence[int | Batch]) -> Array:
    """A shape as a one-dimensional array of Python objects."""
    array = np.empty(len(sizes), dtype=object)
    array[:] = sizes
    return array


def int_list(array: Array, node: Node, what: str) -> list[int]:
    """The values of a small constant that must be integers without BATCH among them."""
    values = array.reshape(-1).tolist()
    if not all(isinstance(v, int) for v in values):
        raise node.unsupported(f"{what} is {values}; supported: constant integers")
    return [int(v) for v in values]


def normalized_axis(axis: int, rank: int, node: Node) -> int:
    """A possibly negative ONNX axis as an index."""
    if not -rank <= axis < rank:
        raise node.error(f"axis {axis} for a tensor of {rank} axes")
    return axis % rank


def axes_of(node: Node, get: Getter, opset: int, since: int) -> list[int] | None:
    """Axes given as attribute, or from opset `since` on as second input."""
    if opset < since:
        return node.get_ints("axes")
    axes = get(1)
    return None if axes is None else int_list(axes, node, "axes")


def fold(node: Node, get: Getter, opset: int) -> Array | None:
    """The node's first output if all its inputs are constants and it is known here, else None."""
    folder = _FOLDERS.get(node.op) if not node.domain else None
    if folder is None:
        return None
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused where it is used
            result = np.asarray(folder(node, get, opset))
    except UnsupportedError as error:
        if str(error).startswith("node"):
            raise
        raise node.unsupported(str(error)) from error
    except (ValueError, IndexError, TypeError, OverflowError, ZeroDivisionError) as error:
        if str(error).startswith("node"):
            raise
        raise node.error(f"cannot be computed: {error}") from error
    return result


def _first(node: Node, get: Getter) -> Array:
    return _operand(node, get, 0)


def _operand(node: Node, get: Getter, index: int) -> Array:
    value = get(index)
    if value is None:
        raise node.error(f"input {index} is missing")
    return value


def _bounded(count: int, node: Node) -> None:
    if count > _MAX_COMPUTED:
        raise node.error(f"its constant would have {count} values; accepted: up to {_MAX_COMPUTED}")


def constant(node: Node, get: Getter, opset: int) -> Array:
    tensor = node.get_tensor("value")
    if tensor is not None:
        return tensor
    if "value_float" in node.attributes:
        return np.array(node.get_float("value_float", 0.0), dtype=np.float32)
    if "value_int" in node.attributes:
        return np.array(node.get_int("value_int", 0), dtype=np.int64)
    floats, ints = node.get_floats("value_floats"), node.get_ints("value_ints")
    if floats is not None:
        return np.array(floats, dtype=np.float32)
    if ints is not None:
        return np.array(ints, dtype=np.int64)
    raise node.unsupported(
        f"attributes {sorted(node.attributes)}; supported: value, value_float(s), value_int(s)"
    )


def _cast(node: Node, get: Getter, opset: int) -> Array:
    value = _first(node, get)
    if value.dtype == object:
        return value
    return value.astype(cast_type(node))


def cast_type(node: Node) -> np.dtype[np.generic]:
    """The NumPy type that a Cast goes to."""
    kind = node.get_int("to", 0)
    try:
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind))
    except (KeyError, ValueError, TypeError) as error:
        raise node.error(f"attribute to is {kind}, which is no type") from error


def _reshape(node: Node, get: Getter, opset: int) -> Array:
    value = _first(node, get)
    given = node.get_ints("shape") if opset < 5 else None
    sizes = int_list(_operand(node, get, 1), node, "shape") if given is None else given
    if not node.get_int("allowzero", 0):
        sizes = [value.shape[i] if s == 0 else s for i, s in enumerate(sizes)]
    return value.reshape(sizes)


def _squeeze(node: Node, get: Getter, opset: int) -> Array:
    axes = axes_of(node, get, opset, 13)
    return np.squeeze(_first(node, get), None if axes is None else tuple(axes))


def _unsqueeze(node: Node, get: Getter, opset: int) -> Array:
    axes = axes_of(node, get, opset, 13)
    if not axes:
        raise node.error("axes are missing")
    return np.expand_dims(_first(node, get), tuple(axes))


def _transpose(node: Node, get: Getter, opset: int) -> Array:
    return np.transpose(_first(node, get), node.get_ints("perm"))


def _flatten(node: Node, get: Getter, opset: int) -> Array:
    value = _first(node, get)
    axis = node.get_int("axis", 1)
    axis = axis if axis == value.ndim else normalized_axis(axis, value.ndim, node)
    return value.reshape(math.prod(value.shape[:axis]), -1)


def _concat(node: Node, get: Getter, opset: int) -> Array:
    parts = [_operand(node, get, i) for i in range(len(node.inputs))]
    _bounded(sum(p.size for p in parts), node)
    return np.concatenate(parts, axis=node.get_int("axis", 0))


def _gather(node: Node, get: Getter, opset: int) -> Array:
    value, indices = _first(node, get), _operand(node, get, 1)
    axis = normalized_axis(node.get_int("axis", 0), value.ndim, node)
    _bounded(value.size // max(value.shape[axis], 1) * indices.size, node)
    return np.take(value, indices.astype(np.int64), axis=axis)


def slices(node: Node, get: Getter, opset: int, rank: int) -> list[tuple[int, int, int, int]]:
    """(axis, start, end, step) of every sliced axis."""
    if opset < 10:
        starts, ends, axes = node.get_ints("starts"), node.get_ints("ends"), node.get_ints("axes")
        steps = None
    else:
        starts, ends, axes, steps = (
            None if (v := get(i)) is None else int_list(v, node, what)
            for i, what in ((1, "starts"), (2, "ends"), (3, "axes"), (4, "steps"))
        )
    if starts is None or ends is None:
        raise node.error("starts or ends are missing")
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise node.error(f"starts {starts}, ends {ends}, axes {axes} and steps {steps}")
    normal = [normalized_axis(a, rank, node) for a in axes]
    return list(zip(normal, starts, ends, steps, strict=True))


def _slice(node: Node, get: Getter, opset: int) -> Array:
    value = _first(node, get)
    index = [slice(None)] * value.ndim
    for axis, start, end, step in slices(node, get, opset, value.ndim):
        # An end before the first element can only be written as None when going backwards.
        stop = None if step < 0 and end < -value.shape[axis] else end
        index[axis] = slice(start, stop, step)
    return value[tuple(index)]


def _constant_of_shape(node: Node, get: Getter, opset: int) -> Array:
    sizes = int_list(_first(node, get), node, "shape")
    if any(s < 0 for s in sizes):
        raise node.error(f"shape {sizes}; accepted: sizes of 0 or more")
    _bounded(math.prod(sizes), node)
    fill = node.get_tensor("value")
    value = np.float32(0) if fill is None else fill.reshape(-1)[0]
    return np.full(sizes, value)


def _expand(node: Node, get: Getter, opset: int) -> Array:
    value = _first(node, get)
    shape = int_list(_operand(node, get, 1), node, "shape")
    if any(s < 0 for s in shape):
        raise node.error(f"shape {shape}; accepted: sizes of 0 or more")
    final = np.broadcast_shapes(value.shape, tuple(shape))
    _bounded(math.prod(final), node)
    return np.broadcast_to(value, final)


def _shape(node: Node, get: Getter, opset: int) -> Array:
    return part_of_shape(node, shape_array(_first(node, get).shape))


def part_of_shape(node: Node, sizes: Array) -> Array:
    """What a Shape node returns of the whole shape."""
    return sizes[node.get_int("start", 0) : node.get_int("end", len(sizes))]


def _binary(function: Callable[[Array, Array], Array]) -> Folder:
    def apply(node: Node, get: Getter, opset: int) -> Array:
        a, b = _first(node, get), _operand(node, get, 1)
        _bounded(math.prod(np.broadcast_shapes(a.shape, b.shape)), node)
        return function(a, b)

    return apply


def _unary(function: Callable[[Array], Array]) -> Folder:
    return lambda node, get, opset: function(_first(node, get))


def _divide(a: Array, b: Array) -> Array:
    if a.dtype == object or b.dtype == object or np.issubdtype(a.dtype, np.integer):
        if any(v == 0 for v in b.reshape(-1).tolist()):
            raise ZeroDivisionError("integer division by zero")
        sign = np.where((a < 0) != (b < 0), -1, 1)  # ONNX truncates towards zero
        return np.asarray(sign * (abs(a) // abs(b)))
    return np.asarray(a / b)


_FOLDERS: dict[str, Folder] = {
    "Constant": constant,
    "ConstantOfShape": _constant_of_shape,
    "Identity": _unary(lambda a: a),
    "Cast": _cast,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Flatten": _flatten,
    "Concat": _concat,
    "Gather": _gather,
    "Slice": _slice,
    "Expand": _expand,
    "Shape": _shape,
    "Add": _binary(np.add),
    "Sub": _binary(np.subtract),
    "Mul": _binary(np.multiply),
    "Div": _binary(_divide),
    "Pow": _binary(np.power),
    "Neg": _unary(np.negative),
    "Sqrt": _unary(np.sqrt),
    "Exp": _unary(np.exp),
    "Reciprocal": _unary(np.reciprocal),
}
