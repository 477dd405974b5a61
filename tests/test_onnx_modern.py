"""ONNX operators of modern networks: outputs are ONNX Runtime's, relevance is where it belongs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import relprop as rp
from onnx_files import floats, model_of, node
from relprop._core import UnsupportedError

ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

Array = npt.NDArray[Any]

RELATIVE = 1e-5
IMAGE = (4, 6, 8)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def singles(*values: float) -> Array:
    return np.array(values, np.float32)


def one(
    op: str, *more: Array, shape: tuple[int, ...] = IMAGE, opset: int = 18, **attributes: Any
) -> Any:
    """One node on the input, further inputs constant."""
    names = [f"c{i}" if value.size else "" for i, value in enumerate(more)]
    weights = {name: value for name, value in zip(names, more, strict=True) if name}
    made = node(op, ["x", *names], ["y"], "it", **attributes)
    return model_of([made], weights, shape=("N", *shape), opset=opset)


def resize(*, scales: Any = (), sizes: Any = (), shape: Any = IMAGE, **attributes: Any) -> Any:
    given = [singles(), singles(*scales)] + ([ints(2, *sizes)] if sizes else [])
    return one("Resize", *given, shape=shape, **attributes)


def gated(*nodes: Any, shape: tuple[int, ...] = IMAGE) -> Any:
    weights = {"w": floats(4, 4, 1, 1), "axes": ints(2, 3)}
    return model_of(list(nodes), weights, shape=("N", *shape), opset=18)


POOLED = node("GlobalAveragePool", ["x"], ["p"], "pool")
CASES = {
    "transpose": one("Transpose", perm=[0, 3, 1, 2]),
    "slice": one("Slice", ints(0, -1), ints(4, -9), ints(2, 3), ints(3, -2)),
    "gather": one("Gather", ints(2, -1, 0), axis=2),
    "gather one": one("Gather", np.array(1, np.int64), axis=1),
    "depth to space": one("DepthToSpace", blocksize=2),
    "depth to space crd": one("DepthToSpace", blocksize=2, mode="CRD"),
    "space to depth": one("SpaceToDepth", blocksize=2),
    "reflect": one("Pad", ints(0, 0, 1, 2, 0, 0, 3, 1), mode="reflect"),
    "edge": one("Pad", ints(0, 1, 0, 2, 0, 0, 3, 1), mode="edge"),
    "hard swish": one("HardSwish"),
    "hard sigmoid": one("HardSigmoid"),
    "hard sigmoid of torch": one("HardSigmoid", alpha=1 / 6),
    "softplus": one("Softplus"),
    "mish": one("Mish"),
    "layer norm": one("LayerNormalization", floats(8), floats(8) + 1),
    "layer norm of all": one("LayerNormalization", floats(*IMAGE), axis=1, epsilon=1e-3),
    "instance norm": one("InstanceNormalization", floats(4), floats(4)),
    "gate": gated(POOLED, node("Conv", ["p", "w"], ["c"], "conv"),
                  node("Sigmoid", ["c"], ["s"], "gate"), node("Mul", ["s", "x"], ["y"], "it")),
    "square": gated(node("Mul", ["x", "x"], ["y"], "it")),
    "broadcast sum": gated(POOLED, node("Add", ["p", "x"], ["y"], "it")),
    "broadcast difference": gated(POOLED, node("Sub", ["p", "x"], ["y"], "it")),
    "sum of three": gated(POOLED, node("Sum", ["x", "p", "x"], ["y"], "it")),
    "nearest": resize(scales=[1, 1, 2, 2]),
    "nearest of torch": resize(scales=[1, 1, 2, 1.5], nearest_mode="floor",
                               coordinate_transformation_mode="asymmetric"),
    "nearest ceil": resize(sizes=[4, 9, 5], nearest_mode="ceil"),
    "bilinear": resize(scales=[1, 1, 2, 0.5], mode="linear"),
    "bilinear of torch": resize(sizes=[4, 9, 1], mode="linear",
                                coordinate_transformation_mode="pytorch_half_pixel"),
    "corners": resize(sizes=[4, 11, 3], mode="linear",
                      coordinate_transformation_mode="align_corners"),
    "linear": resize(scales=[1, 1, 2.5], mode="linear", shape=(3, 7)),
    "upsample": one("Upsample", singles(1, 1, 2, 3), opset=9, mode="nearest"),
    "upsample bilinear": one("Upsample", singles(1, 1, 2, 2), opset=9, mode="linear"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_onnx_runtimes(name: str, rng: np.random.Generator) -> None:
    file = CASES[name]
    model = rp.from_onnx(file)
    x = rng.standard_normal((2, *model.input_shape)).astype(np.float32) * 2
    session = ort.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": x})
    actual = model(x)
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= RELATIVE * np.abs(expected).max()


def test_the_gate_is_the_bounded_one(rng: np.random.Generator) -> None:
    """Whatever the order of the factors: all relevance to the signal, or half."""
    model = rp.from_onnx(CASES["gate"])
    x = rng.standard_normal((2, *IMAGE)).astype(np.float32)
    start = rng.standard_normal((2, *IMAGE)).astype(np.float32)
    relevance, layers = rp.LRP(model).attribute(x, start=start, return_layers=True)
    assert np.array_equal(relevance, start)
    assert not layers["gate"].any()
    split = rp.LRP(model, rp.Composite(gate="split"))
    _, layers = split.attribute(x, start=start, return_layers=True)
    assert np.allclose(layers["gate"][..., 0, 0], start.sum((2, 3)) / 2, rtol=0, atol=1e-5)


REFUSED = {
    "cubic": (resize(scales=[1, 1, 2, 2], mode="cubic"), "mode cubic; supported: nearest"),
    "channels resized": (resize(scales=[1, 2, 2, 2]), "it resizes batch or channels; "),
    "cropped": (resize(sizes=[4, 3, 4], coordinate_transformation_mode="tf_crop_and_resize"),
                "coordinate_transformation_mode tf_crop_and_resize; supported: asymmetric, align_"),
    "antialias": (resize(scales=[1, 1, 0.5, 0.5], mode="linear", antialias=1),
                  "antialias or exclude_outside; supported: neither"),
    "axes": (one("Resize", singles(), singles(2), axes=[2]), "attribute axes; supported: sizes"),
    "batch moved": (one("Transpose", perm=[1, 0, 2, 3]), "perm [1, 0, 2, 3] moves the batch axis;"),
    "batch taken": (one("Gather", ints(0)), "it takes from the batch axis; supported: the axes"),
    "batch normalised": (one("LayerNormalization", floats(*IMAGE), axis=0),
                         "it runs over the batch axis; supported: the axes of a sample"),
    "wrapped": (one("Pad", ints(0, 0, 1, 1, 0, 0, 1, 1), mode="wrap", opset=19),
                "mode wrap; supported: constant, edge and reflect"),
    "quotient": (gated(POOLED, node("Div", ["x", "p"], ["y"], "it")),
                 "both operands depend on the model's input; supported: a constant divisor"),
    "shapes": (gated(node("Flatten", ["x"], ["p"], "flat"), node("Mul", ["x", "p"], ["y"], "it")),
               "inputs of shapes (4, 6, 8), (192,) (samples); supported: shapes of one rank"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    file, message = REFUSED[name]
    with pytest.raises(UnsupportedError) as error:
        rp.from_onnx(file)
    assert str(error.value).startswith(f"node 'it' ({file.graph.node[-1].op_type}): {message}")


INVALID = {
    "index": (one("Gather", ints(8), axis=3), "indices 8 to 8 of an axis of size 8"),
    "block": (one("DepthToSpace", blocksize=3), "blocksize 3, mode DCR for 4 channels"),
    "scales": (resize(scales=[1, 1, 2]), "scales [1.0, 1.0, 2.0] for 4 axes; accepted: one"),
    "rounding": (resize(scales=[1, 1, 2, 2], nearest_mode="up"), "nearest_mode up; accepted: roun"),
}  # fmt: skip


@pytest.mark.parametrize("name", INVALID)
def test_invalid(name: str) -> None:
    file, message = INVALID[name]
    with pytest.raises(ValueError, match=r"^node 'it'") as error:
        rp.from_onnx(file)
    assert not isinstance(error.value, UnsupportedError)
    assert message in str(error.value)
