"""What ONNX files become: layers, names and values, against ONNX's own reference evaluator."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

import relprop as rp
from onnx_files import Size, floats, model_of, node, small_network
from relprop import _onnx

Array = npt.NDArray[Any]


def scalar(value: float) -> Array:
    return np.array(value, np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def positive(*shape: int) -> Array:
    return np.abs(floats(*shape)) + np.float32(0.5)


SHAPE = ("N", 4, 6, 5)
SEQUENCE = ("N", 4, 6)
VECTOR = ("N", 6)
NORM = {"g": positive(4), "b": floats(4), "m": floats(4)[::-1].copy(), "v": positive(4)}


def graph(
    *nodes: onnx.NodeProto, shape: tuple[Size, ...] = SHAPE, opset: int = 17, **w: Any
) -> Any:
    return model_of(nodes, w, shape=shape, opset=opset)


def gelu(form: str) -> Any:
    """x Phi(x) as different exporters write it."""
    half = node("Mul", ["x", "half"], ["h"])
    wide = (
        node("Mul", ["x", "inverse"], ["d"])
        if form == "factor"
        else node("Div", ["x", "root"], ["d"])
    )
    middle = [wide, node("Erf", ["d"], ["e"]), node("Add", ["one", "e"], ["o"])]
    ends = {
        "last": [node("Mul", ["x", "o"], ["p"]), node("Mul", ["p", "half"], ["y"], "act")],
        "first": [half, node("Mul", ["h", "o"], ["y"], "act")],
        "factor": [node("Mul", ["half", "o"], ["p"]), node("Mul", ["p", "x"], ["y"], "act")],
    }
    constants = {
        "half": scalar(0.5),
        "one": scalar(1),
        "root": scalar(math.sqrt(2)),
        "inverse": scalar(math.sqrt(0.5)),
    }
    return graph(*middle, *ends[form], **constants)


def gelu_tanh() -> Any:
    return graph(
        node("Mul", ["x", "x"], ["xx"]),
        node("Mul", ["xx", "x"], ["xxx"]),
        node("Mul", ["xxx", "c"], ["cx"]),
        node("Add", ["x", "cx"], ["s"]),
        node("Mul", ["s", "root"], ["r"]),
        node("Tanh", ["r"], ["t"]),
        node("Add", ["t", "one"], ["o"]),
        node("Mul", ["x", "half"], ["h"]),
        node("Mul", ["h", "o"], ["y"], "act"),
        half=scalar(0.5),
        one=scalar(1),
        c=scalar(0.044715),
        root=scalar(math.sqrt(2 / math.pi)),
    )


def view(opset: int) -> Any:
    """x.view(x.size(0), -1) as torch writes it."""
    unsqueeze = (
        node("Unsqueeze", ["n"], ["n1"], axes=[0])
        if opset < 13
        else node("Unsqueeze", ["n", "axis"], ["n1"])
    )
    return graph(
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "index"], ["n"], axis=0),
        unsqueeze,
        node("Concat", ["n1", "rest"], ["t"], axis=0),
        node("Reshape", ["x", "t"], ["f"], "view"),
        node("Gemm", ["f", "w"], ["y"], "fc", transB=1),
        opset=opset,
        index=np.array(0, np.int64),
        axis=ints(0),
        rest=ints(-1),
        w=floats(3, 120),
    )


# id, file, the layers it becomes as "name op"
CASES: list[tuple[str, Any, list[str]]] = [
    (
        "unnamed nodes",
        graph(node("Relu", ["x"], ["a"]), node("Tanh", ["a"], ["b"]), node("Relu", ["b"], ["y"])),
        ["Relu_0 relu", "Tanh_1 tanh", "Relu_2 relu"],
    ),
    (
        "names given twice",
        graph(node("Relu", ["x"], ["a"], "n"), node("Tanh", ["a"], ["y"], "n")),
        ["Relu_0 relu", "Tanh_1 tanh"],
    ),
    (
        "names that are taken",
        graph(
            node("Relu", ["x"], ["a"], "x"),
            node("Tanh", ["a"], ["b"], "y"),
            node("Relu", ["b"], ["y"]),
        ),
        ["Relu_0 relu", "Tanh_1 tanh", "Relu_2 relu"],
    ),
    ("gelu, factor last", gelu("last"), ["act gelu"]),
    ("gelu, factor first", gelu("first"), ["act gelu"]),
    ("gelu, multiplied", gelu("factor"), ["act gelu"]),
    ("gelu by tanh", gelu_tanh(), ["act gelu_tanh"]),
    ("Gelu", graph(node("Gelu", ["x"], ["y"], "act"), opset=20), ["act gelu"]),
    (
        "Gelu by tanh",
        graph(node("Gelu", ["x"], ["y"], "act", approximate="tanh"), opset=20),
        ["act gelu_tanh"],
    ),
    (
        "silu",
        graph(node("Sigmoid", ["x"], ["s"]), node("Mul", ["s", "x"], ["y"], "act")),
        ["act silu"],
    ),
    (
        "silu of a silu",
        graph(
            node("Sigmoid", ["x"], ["s"]),
            node("Mul", ["x", "s"], ["a"], "one"),
            node("Sigmoid", ["a"], ["t"]),
            node("Mul", ["a", "t"], ["y"], "two"),
        ),
        ["one silu", "two silu"],
    ),
    (
        "silu whose sigmoid is read elsewhere",
        graph(
            node("Sigmoid", ["x"], ["s"], "sigmoid"),
            node("Mul", ["x", "s"], ["a"], "act"),
            node("Add", ["a", "s"], ["y"], "sum"),
        ),
        ["sigmoid sigmoid", "act silu", "sum add"],
    ),
    (
        "matmul and bias",
        graph(
            node("MatMul", ["x", "w"], ["a"], "fc"),
            node("Add", ["b", "a"], ["y"], "bias"),
            shape=("N", 3, 6),
            w=floats(6, 4),
            b=floats(4),
        ),
        ["fc dense"],
    ),
    (
        "matmul read twice",
        graph(
            node("MatMul", ["x", "w"], ["a"], "fc"),
            node("Add", ["a", "b"], ["c"], "bias"),
            node("Add", ["a", "c"], ["y"], "sum"),
            shape=VECTOR,
            w=floats(6, 4),
            b=floats(4),
        ),
        ["fc dense", "bias scale_shift", "sum add"],
    ),
    (
        "matmul by a transposed weight",
        graph(
            node("Transpose", ["w"], ["t"], perm=[1, 0]),
            node("MatMul", ["x", "t"], ["y"], "fc"),
            shape=VECTOR,
            w=floats(4, 6),
        ),
        ["fc dense"],
    ),
    (
        "gemm with everything",
        graph(
            node("Gemm", ["x", "w", "c"], ["y"], "fc", alpha=0.5, beta=-2.0),
            shape=VECTOR,
            w=floats(6, 4),
            c=scalar(0.75),
        ),
        ["fc dense"],
    ),
    ("view, opset 11", view(11), ["view reshape", "fc dense"]),
    ("view, opset 17", view(17), ["view reshape", "fc dense"]),
    (
        "reshape by batch, computed size and -1",
        graph(
            node("Shape", ["x"], ["s"]),
            node("Slice", ["s", "zero", "two"], ["nc"]),
            node("Gather", ["s", "three"], ["w"], axis=0),
            node("Mul", ["w", "two"], ["ww"]),
            node("Concat", ["nc", "ww", "open"], ["t"], axis=0),
            node("Reshape", ["x", "t"], ["y"], "r"),
            zero=ints(0),
            two=ints(2),
            three=ints(3),
            open=ints(-1),
        ),
        ["r reshape"],
    ),
    (
        "reshape to a fixed batch of one",
        graph(node("Reshape", ["x", "s"], ["y"], "r"), shape=(1, 4, 6, 5), s=ints(1, 24, 5)),
        ["r reshape"],
    ),
    (
        "reshape with a copied axis",
        graph(node("Reshape", ["x", "s"], ["y"], "r"), s=ints(0, 0, -1)),
        ["r reshape"],
    ),
    (
        "reshape with the batch as -1",
        graph(node("Reshape", ["x", "s"], ["y"], "r"), s=ints(-1, 120)),
        ["r reshape"],
    ),
    (
        "squeeze and unsqueeze",
        graph(
            node("Unsqueeze", ["x", "a"], ["u"], "u"),
            node("Squeeze", ["u", "b"], ["y"], "s"),
            shape=("N", 1, 6),
            a=ints(2, -1),
            b=ints(1),
        ),
        ["u reshape", "s reshape"],
    ),
    (
        "transpose that moves single axes only",
        graph(node("Transpose", ["x"], ["y"], "t", perm=[0, 2, 3, 1]), shape=("N", 1, 6, 5)),
        ["t reshape"],
    ),
    (
        "batch norm",
        graph(node("BatchNormalization", ["x", *"gbmv"], ["y"], "bn", epsilon=0.25), **NORM),
        ["bn batch_norm"],
    ),
    (
        "batch norm of vectors",
        graph(node("BatchNormalization", ["x", *"gbmv"], ["y"], "bn"), shape=("N", 4), **NORM),
        ["bn batch_norm"],
    ),
    (
        "relu6",
        graph(node("Clip", ["x", "a", "b"], ["y"], "c"), a=scalar(0), b=scalar(1)),
        ["c clip"],
    ),
    (
        "clip by attributes",
        graph(node("Clip", ["x"], ["y"], "c", min=-0.5, max=0.75), opset=6),
        ["c clip"],
    ),
    ("clip below", graph(node("Clip", ["x", "a"], ["y"], "c"), a=scalar(0)), ["c relu"]),
    (
        "clip above, the largest float below",
        graph(
            node("Clip", ["x", "a", "b"], ["y"], "c"),
            a=scalar(np.finfo(np.float32).min),
            b=scalar(0.5),
        ),
        ["c clip"],
    ),
    ("clip nowhere", graph(node("Clip", ["x"], ["y"], "c")), ["c identity"]),
    ("elu", graph(node("Elu", ["x"], ["y"], "e", alpha=0.5)), ["e elu"]),
    (
        "one slope for all channels",
        graph(node("PRelu", ["x", "s"], ["y"], "p"), s=np.full((4, 1, 1), 0.25, np.float32)),
        ["p leaky_relu"],
    ),
    (
        "sums of three",
        graph(node("Relu", ["x"], ["a"], "r"), node("Sum", ["x", "a", "x"], ["y"], "s")),
        ["r relu", "s add"],
    ),
    (
        "differences",
        graph(
            node("Relu", ["x"], ["a"], "r"),
            node("Sub", ["a", "x"], ["d"], "d"),
            node("Sub", ["d", "c"], ["e"], "e"),
            node("Sub", ["c", "e"], ["y"], "f"),
            c=floats(4, 1, 1),
        ),
        ["r relu", "d/negative scale_shift", "d add", "e scale_shift", "f scale_shift"],
    ),
    (
        "factors",
        graph(
            node("Mul", ["c", "x"], ["a"], "a"),
            node("Div", ["a", "d"], ["b"], "b"),
            node("Neg", ["b"], ["y"], "n"),
            c=floats(6, 1),
            d=positive(1, 1, 1, 5),
        ),
        ["a scale_shift", "b scale_shift", "n scale_shift"],
    ),
    (
        "pooling of a signal",
        graph(
            node("MaxPool", ["x"], ["a"], "m", kernel_shape=[3], strides=[2], pads=[1, 0]),
            node("AveragePool", ["a"], ["y"], "p", kernel_shape=[2], auto_pad="SAME_LOWER"),
            shape=("N", 4, 11),
        ),
        ["m max_pool", "p average_pool"],
    ),
    (
        "pooling that rounds up",
        graph(
            node("MaxPool", ["x"], ["y"], "m", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
            shape=("N", 4, 7, 5),
        ),
        ["m max_pool"],
    ),
    (
        "means and maxima over the image",
        graph(
            node("ReduceMean", ["x"], ["a"], "mean", axes=[-1, 2], keepdims=0),
            node("ReduceMax", ["x"], ["b"], "max", axes=[2, 3], keepdims=0),
            node("Add", ["a", "b"], ["y"], "sum"),
        ),
        [
            "mean adaptive_average_pool",
            "mean/squeeze reshape",
            "max global_max_pool",
            "max/squeeze reshape",
            "sum add",
        ],
    ),
    (
        "mean with axes as input",
        graph(node("ReduceMean", ["x", "a"], ["y"], "mean"), opset=18, a=ints(2, 3)),
        ["mean adaptive_average_pool"],
    ),
    (
        "global pooling of a signal",
        graph(node("GlobalAveragePool", ["x"], ["y"], "gap"), shape=SEQUENCE),
        ["gap adaptive_average_pool"],
    ),
    (
        "convolution of a signal",
        graph(
            node(
                "Conv",
                ["x", "w", "b"],
                ["y"],
                "c",
                group=2,
                strides=[2],
                dilations=[2],
                pads=[3, 1],
            ),
            shape=("N", 4, 11),
            w=floats(6, 2, 3),
            b=floats(6),
        ),
        ["c conv"],
    ),
    (
        "convolution that keeps the size",
        graph(
            node("Conv", ["x", "w"], ["y"], "c", strides=[2, 2], auto_pad="SAME_UPPER"),
            w=floats(3, 4, 4, 3),
        ),
        ["c conv"],
    ),
    (
        "transposed convolution of a signal",
        graph(
            node(
                "ConvTranspose",
                ["x", "w", "b"],
                ["y"],
                "t",
                strides=[3],
                pads=[1, 2],
                output_padding=[2],
            ),
            shape=SEQUENCE,
            w=floats(4, 3, 4),
            b=floats(3),
        ),
        ["t conv_transpose"],
    ),
    (
        "concat and split",
        graph(
            node("Split", ["x", "parts"], ["a", "b"], "split", axis=1),
            node("Relu", ["a"], ["r"], "relu"),
            node("Concat", ["b", "r", "x"], ["y"], "join", axis=-3),
            parts=ints(1, 3),
        ),
        ["split/0 pad", "split/1 pad", "relu relu", "join concat"],
    ),
    (
        "slices",
        graph(
            node("Slice", ["x", "s", "e", "a"], ["y"], "cut"),
            s=ints(0, -4, 1),
            e=ints(2**62, -1, 100),
            a=ints(0, 2, -1),
        ),
        ["cut pad"],
    ),
    (
        "pad of named axes",
        graph(node("Pad", ["x", "p", "", "a"], ["y"], "pad"), opset=18, p=ints(1, 2), a=ints(-1)),
        ["pad pad"],
    ),
    (
        "dropout behind a softmax",
        graph(node("Softmax", ["x"], ["s"], "p", axis=1), node("Dropout", ["s"], ["y"], "d")),
        ["p softmax"],
    ),
    (
        "dropout, identity and a cast",
        graph(
            node("Dropout", ["x"], ["a"], "d"),
            node("Cast", ["a"], ["b"], "cast", to=TensorProto.FLOAT),
            node("Identity", ["b"], ["y"], "i"),
        ),
        ["d identity", "i identity"],
    ),
    (
        "weights from constants",
        graph(
            node("Constant", [], ["c"], value=numpy_helper.from_array(floats(4, 6))),
            node("Constant", [], ["two"], value_float=2.0),
            node("Mul", ["c", "two"], ["w"]),
            node("Gemm", ["x", "w"], ["y"], "fc", transB=1),
            shape=VECTOR,
        ),
        ["fc dense"],
    ),
]


def values(shape: tuple[int | None, ...], batch: int = 2) -> Array:
    """Inputs on both sides of zero, no two alike in their neighbourhood."""
    sizes = (batch, *(s or 1 for s in shape))
    return np.random.default_rng(7).uniform(-1.5, 1.5, sizes).astype(np.float32)


@pytest.mark.parametrize(("file", "layers"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_imports(file: Any, layers: list[str]) -> None:
    loaded = _onnx.load(file.SerializeToString())
    model = loaded.build()
    assert [f"{name} {op}" for name, op, *_ in model.nodes[1:]] == layers
    declared = file.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    x = values(loaded.input_shape, declared or 2)
    (expected,) = ReferenceEvaluator(file).run(None, {"x": x})
    y = rp.from_onnx(file)(x)
    assert y.shape == expected.shape
    # At most 120 terms per value, rounded once each: 2 * 120 * 2^-24 = 1.4e-5 of their magnitudes.
    magnitude = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(y, expected, rtol=0, atol=1.4e-5 * magnitude)


# What the reference evaluator does not know or does otherwise, with its value in NumPy.
OTHERS: list[tuple[str, Any, Callable[[Array], Array]]] = [
    (
        "addition along an axis, before opset 7",
        graph(node("Add", ["x", "c"], ["y"], broadcast=1, axis=1), opset=6, c=floats(4)),
        lambda x: x + floats(4, 1, 1),
    ),
    (
        "nodes out of order",
        graph(node("Relu", ["a"], ["y"]), node("Neg", ["x"], ["a"])),
        lambda x: np.maximum(-x, 0),
    ),
    (
        "pad and crop",
        graph(
            node("Pad", ["x", "p", "v"], ["y"]), p=ints(0, 0, 2, -1, 0, 1, -2, 3), v=scalar(0.25)
        ),
        lambda x: np.pad(x[:, :, :-2, 1:], ((0, 0), (0, 1), (2, 0), (0, 3)), constant_values=0.25),
    ),
    (
        "softmax over all but the batch, before opset 13",
        graph(node("Softmax", ["x"], ["y"]), shape=("N", 1, 4, 1), opset=11),
        lambda x: np.exp(x) / np.exp(x).sum(axis=2, keepdims=True),
    ),
]


@pytest.mark.parametrize(("file", "value"), [c[1:] for c in OTHERS], ids=[c[0] for c in OTHERS])
def test_other_values(file: Any, value: Callable[[Array], Array]) -> None:
    x = values(_onnx.load(file).input_shape)
    expected = value(x.astype(np.float64))
    y = rp.from_onnx(file)(x)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_weights_of_other_precision(dtype: type[np.generic]) -> None:
    file, plain = small_network(), small_network()
    for stored, same in zip(file.graph.initializer, plain.graph.initializer, strict=True):
        array = numpy_helper.to_array(stored).astype(dtype)
        stored.CopyFrom(numpy_helper.from_array(array, stored.name))
        same.CopyFrom(numpy_helper.from_array(array.astype(np.float32), stored.name))
    x = values((3, 8, 8))
    np.testing.assert_array_equal(rp.from_onnx(file)(x), rp.from_onnx(plain)(x))


def test_bfloat16_weights() -> None:
    file = small_network()
    bias = next(t for t in file.graph.initializer if t.name == "b")
    bits = numpy_helper.to_array(bias).view(np.uint32) >> 16  # multiples of 1/8: exact
    bias.ClearField("raw_data")
    bias.data_type = TensorProto.BFLOAT16
    bias.int32_data.extend(bits.tolist())
    x = values((3, 8, 8))
    np.testing.assert_array_equal(rp.from_onnx(file)(x), rp.from_onnx(small_network())(x))


def test_source_may_be_path_bytes_or_proto(tmp_path: Any) -> None:
    file = small_network()
    path = tmp_path / "model.onnx"
    onnx.save(file, path)
    x = values((3, 8, 8))
    results = [rp.from_onnx(source)(x) for source in (path, str(path), path.read_bytes(), file)]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.parametrize("output", ["r", "relu"])
def test_output_by_tensor_or_node_name(output: str) -> None:
    """What lies behind the chosen output is not built, and need not be supported."""
    file = small_network()
    file.graph.node[2].op_type = "LpPool"
    model = _onnx.load(file).build(output=output)
    assert [name for name, *_ in model.nodes] == ["x", "conv", "relu"]
    assert model.outputs == [(output, 2)]
    assert model.shape(2) == (4, 8, 8)


def test_several_outputs() -> None:
    file = small_network()
    file.graph.output.append(onnx.helper.make_tensor_value_info("r", TensorProto.FLOAT, None))
    model = _onnx.load(file).build()
    assert model.outputs == [("y", 5), ("r", 2)]


def test_open_sizes_are_filled_in_per_model() -> None:
    file = model_of(
        [
            node("Conv", ["x", "w"], ["c"], "conv", auto_pad="SAME_UPPER", strides=[2, 2]),
            node("Relu", ["c"], ["y"], "relu"),
        ],
        {"w": floats(4, 3, 3, 3)},
        shape=("N", 3, "H", None),
    )
    loaded = _onnx.load(file)
    assert loaded.input_shape == (3, None, None)
    for height, width in ((7, 10), (1, 2), (16, 5)):
        model = loaded.build((3, height, width))
        assert model.shape(2) == (4, -(-height // 2), -(-width // 2))
    with pytest.raises(
        ValueError, match=r"^input 'x' leaves sizes open: \(3, any, any\); give the sample's shape$"
    ):
        loaded.build()
    for shape in ((4, 7, 7), (3, 7), (3, 7, 7, 1)):
        with pytest.raises(ValueError, match=r"sample shape .*; accepted: \(3, any, any\)$"):
            loaded.build(shape)


def test_without_the_package_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.startswith("relprop._onnx")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install relprop\[onnx\]"):
        importlib.import_module("relprop._onnx")
