"""ONNX files that are damaged, contradict themselves, or hold what relprop does not have."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import relprop as rp
from onnx_files import floats, model_of, node, small_network
from relprop import _onnx
from relprop._core import UnsupportedError

Proto = onnx.ModelProto
CONV = node("Conv", ["x", "w"], ["y"], "conv")
WEIGHT = {"w": floats(4, 3, 3, 3)}


def changed(change: Callable[[Proto], Any]) -> Proto:
    model = small_network()
    change(model)
    return model


def tensor(data_type: int = TensorProto.FLOAT, dims: Any = (), **fields: Any) -> Any:
    return TensorProto(data_type=data_type, dims=dims, **fields)


def one(
    op: str, *inputs: str, weights: Any = None, shape: Any = ("N", 3, 8, 8), **more: Any
) -> Proto:
    opset = more.pop("opset", 17)
    made = node(op, ["x", *inputs], ["y"], "it", **more)
    return model_of([made], weights, shape=shape, opset=opset)


def value_info(name: str, shape: Any, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def scalars(**values: float) -> dict[str, Any]:
    return {name: np.array(value, np.float32) for name, value in values.items()}


def ints(**values: list[int]) -> dict[str, Any]:
    return {name: np.array(value, np.int64) for name, value in values.items()}


# id, file, message (all of it, or its start where it ends in "...")
DAMAGED: list[tuple[str, Any, str]] = [
    ("empty", b"", "not an ONNX model: it has no graph, or a graph without nodes"),
    ("text", b"hello, this is no model", "not an ONNX model, or a truncated one (23 bytes): ..."),
    ("zeros", bytes(64), "not an ONNX model, or a truncated one (64 bytes): ..."),
    ("no nodes", model_of([], outputs=("x",)), "not an ONNX model: it has no graph, or ..."),
    (
        "no operator version",
        changed(lambda m: m.ClearField("opset_import")),
        "the model imports versions [] of the standard operators; accepted: one, from 1 on",
    ),
    (
        "operator version 0",
        changed(lambda m: setattr(m.opset_import[0], "version", 0)),
        "the model imports versions [0] of the standard operators; ...",
    ),
    (
        "cycle",
        model_of(
            [node("Relu", ["b"], ["a"], "r1"), node("Relu", ["a"], ["b"], "r2")], outputs=["a"]
        ),
        "the graph has a cycle through node 'r1' (2 nodes)",
    ),
    (
        "node without an output",
        model_of([CONV, node("Mul", ["x", "x"], [], "lost")], WEIGHT),
        "node 'lost' (Mul): it has no output",
    ),
    (
        "node that reads itself",
        model_of([node("Add", ["x", "y"], ["y"], "loop")]),
        "the graph has a cycle through node 'loop' (1 nodes)",
    ),
    (
        "missing weight",
        model_of([CONV]),
        "node 'conv' (Conv): it reads tensor 'w', which no node makes and no weight holds",
    ),
    (
        "missing output",
        model_of([CONV], WEIGHT, outputs=["z"]),
        "output 'z' is made by no node",
    ),
    (
        "no output",
        model_of([CONV], WEIGHT, outputs=[]),
        "the model declares outputs []; accepted: one or more names",
    ),
    (
        "tensor made twice",
        model_of([CONV, node("Relu", ["x"], ["y"], "relu")], WEIGHT),
        "node 'relu' (Relu): its output 'y' is made a second time",
    ),
    (
        "weight made by a node too",
        model_of([node("Relu", ["x"], ["w"], "relu"), CONV], WEIGHT),
        "node 'relu' (Relu): its output 'w' is made a second time",
    ),
    (
        "weight given twice",
        changed(lambda m: m.graph.initializer.append(m.graph.initializer[0])),
        "weight 'w': its name is empty or taken",
    ),
    (
        "raw data too short",
        changed(lambda m: setattr(m.graph.initializer[0], "raw_data", bytes(427))),
        "weight 'w' has dims [4, 3, 3, 3] = 432 bytes, but stores 427",
    ),
    (
        "raw data too long",
        changed(lambda m: setattr(m.graph.initializer[1], "raw_data", bytes(20))),
        "weight 'b' has dims [4] = 16 bytes, but stores 20",
    ),
    (
        "typed data too short",
        model_of([CONV], {"w": tensor(dims=[4, 3, 3, 3], float_data=[1.0] * 7)}),
        "weight 'w' has dims [4, 3, 3, 3] = 108 values, but stores 7",
    ),
    (
        "data in another type's field",
        model_of([CONV], {"w": tensor(dims=[1], double_data=[1.0])}),
        "weight 'w' has dims [1] = 1 values, but stores 0",
    ),
    (
        "negative dim",
        model_of([CONV], {"w": tensor(dims=[4, -3, 3, 3], raw_data=b"")}),
        f"weight 'w' has dims [4, -3, 3, 3]; accepted: sizes from 0 to {2**40} values",
    ),
    (
        "dims that overflow",
        model_of([CONV], {"w": tensor(dims=[2**32, 2**32], raw_data=b"")}),
        f"weight 'w' has dims [{2**32}, {2**32}]; accepted: sizes from 0 to {2**40} values",
    ),
    (
        "data elsewhere, bytes given",
        changed(lambda m: setattr(m.graph.initializer[0], "data_location", TensorProto.EXTERNAL)),
        "weight 'w' is stored in another file; give the model's path, not its bytes",
    ),
    (
        "input of size zero",
        model_of([CONV], WEIGHT, shape=("N", 3, 0, 8)),
        f"input 'x' has an axis of size 0; accepted: 1 to {2**40}",
    ),
    (
        "input of negative size",
        model_of([CONV], WEIGHT, shape=("N", 3, -1, 8)),
        f"input 'x' has an axis of size -1; accepted: 1 to {2**40}",
    ),
    (
        "input that overflows",
        model_of([CONV], WEIGHT, shape=("N", 3, 2**20, 2**20)),
        f"input 'x': shape (3, 1048576, 1048576) has more than {2**40} values",
    ),
    (
        "attribute of another type",
        one("Conv", "w", weights=WEIGHT, strides=2),
        "node 'it' (Conv): attribute strides is not of type INTS",
    ),
    (
        "stride zero",
        one("Conv", "w", weights=WEIGHT, strides=[1, 0]),
        "node 'it' (Conv): strides [1, 0]; accepted: 2 numbers of 1 or more",
    ),
    (
        "strides of other rank",
        one("Conv", "w", weights=WEIGHT, strides=[1]),
        "node 'it' (Conv): strides [1]; accepted: 2 numbers of 1 or more",
    ),
    (
        "pads of other rank",
        one("Conv", "w", weights=WEIGHT, pads=[1, 1]),
        "node 'it' (Conv): pads [1, 1]; accepted: 4 numbers",
    ),
    (
        "pads that overflow",
        one("Conv", "w", weights=WEIGHT, pads=[2**63 - 1, 0, 0, 0]),
        f"layer 'it' (conv): padding before ({2**63 - 1}, 0); accepted: 0 to {2**30}",
    ),
    (
        "unknown padding mode",
        one("Conv", "w", weights=WEIGHT, auto_pad="SAME"),
        "node 'it' (Conv): auto_pad SAME; accepted: NOTSET, VALID, SAME_UPPER and SAME_LOWER",
    ),
    (
        "kernel_shape of another kernel",
        one("Conv", "w", weights=WEIGHT, kernel_shape=[5, 5]),
        "node 'it' (Conv): kernel_shape [5, 5], but the weight has shape (4, 3, 3, 3)",
    ),
    (
        "weight of wrong rank",
        one("Conv", "w", weights={"w": floats(4, 3, 3)}),
        "node 'it' (Conv): weight of shape (4, 3, 3) for an input of 2 spatial axes; accepted: 4 "
        "axes",
    ),
    (
        "weight for other channels",
        one("Conv", "w", weights={"w": floats(4, 2, 3, 3)}),
        "layer 'it' (conv): the weight takes 2 channels, the input has shape (3, 8, 8)",
    ),
    (
        "bias of another length",
        one("Conv", "w", "b", weights={**WEIGHT, "b": floats(3)}),
        "layer 'it' (conv): bias has shape (3,); accepted: (4,)",
    ),
    (
        "kernel larger than the input",
        one("Conv", "w", weights={"w": floats(4, 3, 9, 3)}),
        "layer 'it' (conv): kernel 9 with dilation 1 is larger than the padded input along y: ...",
    ),
    (
        "weight that is NaN",
        one("Conv", "w", weights={"w": np.full((4, 3, 3, 3), np.nan, np.float32)}),
        "layer 'it' (conv): weight is nan at index 0; accepted: finite numbers",
    ),
    (
        "double weight beyond float",
        one("Conv", "w", weights={"w": np.full((4, 3, 3, 3), -1e300)}),
        "layer 'it' (conv): weight is -inf at index 0; accepted: finite numbers",
    ),
    (
        "no weight",
        one("Conv"),
        "node 'it' (Conv): input 1 is missing",
    ),
    (
        "dense layer on an image",
        one("Gemm", "w", weights={"w": floats(8, 4)}),
        "node 'it' (Gemm): input (3, 8, 8) (a sample) and weight (8, 4); accepted: one axis and "
        "two",
    ),
    (
        "dense layer of another width",
        one("Gemm", "w", weights={"w": floats(7, 4)}, shape=("N", 8)),
        "layer 'it' (dense): the weight takes 7 features, the input has shape (8,); ...",
    ),
    (
        "dense bias of another length",
        one("Gemm", "w", "b", weights={"w": floats(8, 4), "b": floats(3)}, shape=("N", 8)),
        "node 'it' (Gemm): bias of shape (3,) for 4 outputs",
    ),
    (
        "pooling without a kernel",
        one("MaxPool"),
        "node 'it' (MaxPool): attribute kernel_shape is missing",
    ),
    (
        "pooling of padding",
        one("MaxPool", kernel_shape=[2, 2], pads=[2, 0, 0, 0]),
        "layer 'it' (max_pool): a window lies entirely in the padding along y: ...",
    ),
    (
        "batch norm of another length",
        one(
            "BatchNormalization",
            *"abcd",
            weights={"a": floats(3), "b": floats(3), "c": floats(2), "d": floats(3)},
        ),
        "node 'it' (BatchNormalization): constants of shapes (3,), (3,), (2,), (3,); accepted: "
        "(3,) each",
    ),
    (
        "batch norm of negative variance",
        one("BatchNormalization", *"aaab", weights={"a": floats(3), "b": -np.ones(3, np.float32)}),
        "node 'it' (BatchNormalization): variance + epsilon is not positive everywhere",
    ),
    (
        "concat along no axis",
        one("Concat", "x", axis=4),
        "node 'it' (Concat): axis 4 for a tensor of 4 axes",
    ),
    (
        "concat without an axis",
        one("Concat", "x"),
        "node 'it' (Concat): attribute axis is missing",
    ),
    (
        "reshape to another size",
        one("Reshape", "s", weights=ints(s=[0, 5, -1])),
        "node 'it' (Reshape): shape [0, 5, -1]: 192 values per sample do not fit",
    ),
    (
        "reshape with two open sizes",
        one("Reshape", "s", weights=ints(s=[0, -1, -1])),
        "node 'it' (Reshape): shape [0, -1, -1]: more than one -1",
    ),
    (
        "reshape to a negative size",
        one("Reshape", "s", weights=ints(s=[0, -2, 96])),
        "node 'it' (Reshape): shape [0, -2, 96]; accepted: sizes of 1 or more, 0 and one -1",
    ),
    (
        "reshape that copies an axis too many",
        one("Reshape", "s", weights=ints(s=[0, 0, 0, 0, 0])),
        "node 'it' (Reshape): shape [0, 0, 0, 0, 0]: axis 4 copies one that is not there",
    ),
    (
        "transpose by no permutation",
        one("Transpose", perm=[0, 1, 1, 2]),
        "node 'it' (Transpose): perm [0, 1, 1, 2] for 4 axes",
    ),
    (
        "squeeze of a large axis",
        one("Squeeze", "a", weights=ints(a=[1])),
        "node 'it' (Squeeze): axes [1] of a sample (3, 8, 8); accepted: axes of size 1",
    ),
    (
        "too few pads",
        one("Pad", "p", weights=ints(p=[0, 0, 1, 1])),
        "node 'it' (Pad): 4 pads for 4 axes; accepted: two for each",
    ),
    (
        "crop of everything",
        one("Pad", "p", weights=ints(p=[0, 0, -4, 0, 0, 0, -4, 0])),
        "layer 'it' (pad): pads -4 and -4 on axis 1 of size 8; accepted: pads that leave at ...",
    ),
    (
        "empty slice",
        one("Slice", "s", "e", "a", weights=ints(s=[5], e=[3], a=[2])),
        "node 'it' (Slice): [5, 3) of axis 2 of a sample (3, 8, 8) is empty",
    ),
    (
        "division by zero",
        one("Div", "c", weights=scalars(c=0)),
        "layer 'it' (scale_shift): scale is inf at index 0; accepted: finite numbers",
    ),
    (
        "constant that cannot be computed",
        model_of(
            [node("Reshape", ["w", "s"], ["v"], "shape"), node("Conv", ["x", "v"], ["y"], "conv")],
            {**WEIGHT, **ints(s=[5, 5])},
        ),
        "node 'shape' (Reshape): cannot be computed: cannot reshape array of size 108 ...",
    ),
    (
        "constant too large to compute",
        model_of(
            [
                node("ConstantOfShape", ["s"], ["v"], "fill"),
                node("Conv", ["x", "v"], ["y"], "conv"),
            ],
            ints(s=[2**20, 2**20]),
        ),
        f"node 'fill' (ConstantOfShape): its constant would have {2**40} values; accepted: up to "
        f"{2**28}",
    ),
    (
        "broadcast too large to compute",
        model_of(
            [node("Add", ["a", "b"], ["v"], "sum"), node("Conv", ["x", "v"], ["y"], "conv")],
            {"a": np.zeros((2**15, 1), np.float32), "b": np.zeros((1, 2**15), np.float32)},
        ),
        f"node 'sum' (Add): its constant would have {2**30} values; accepted: up to {2**28}",
    ),
]

# The same for files that are sound.
UNSUPPORTED: list[tuple[str, Any, str]] = [
    ("no input", model_of([CONV], WEIGHT, inputs=[]), "the model has 0 inputs (none); ..."),
    (
        "two inputs",
        model_of(
            [node("Add", ["x", "z"], ["y"], "sum")],
            inputs=[value_info("x", ("N", 3)), value_info("z", ("N", 3))],
        ),
        "the model has 2 inputs ('x', 'z'); supported: exactly one that is not a weight",
    ),
    (
        "input of integers",
        model_of([CONV], WEIGHT, inputs=[value_info("x", ("N", 3, 8, 8), TensorProto.INT64)]),
        "input 'x' is not a tensor of floats; supported: float tensors",
    ),
    (
        "input of unknown rank",
        model_of([CONV], WEIGHT, inputs=[value_info("x", None)]),
        "input 'x' declares no shape; supported: a declared rank, open sizes included",
    ),
    (
        "input without a sample axis",
        model_of([node("Relu", ["x"], ["y"], "relu")], shape=("N",)),
        "input 'x' has 1 axes; supported: a batch axis and at least one more",
    ),
    (
        "weight of strings",
        model_of([CONV], {"w": tensor(TensorProto.STRING, [1], string_data=[b"a"])}),
        "weight 'w' is of type string; supported: ...",
    ),
    (
        "weight of an unknown type",
        model_of([CONV], {"w": tensor(99, [1], raw_data=b"a")}),
        "weight 'w' is of type 99; supported: ...",
    ),
    (
        "unknown operator",
        one("LRN", size=3),
        "node 'it' (LRN): no such operator; supported: Add, AveragePool, BatchNormalization, ...",
    ),
    (
        "operator of another domain",
        one("Relu", domain="com.microsoft"),
        "node 'it' (com.microsoft::Relu): no such operator; supported: ...",
    ),
    (
        "convolution of a volume",
        one("Conv", "w", weights={"w": floats(4, 3, 1, 1, 1)}, shape=("N", 3, 4, 4, 4)),
        "node 'it' (Conv): its input has 3 spatial axes (sample (3, 4, 4, 4)); supported: 1 and 2",
    ),
    (
        "weight that depends on the input",
        model_of([node("Conv", ["x", "x"], ["y"], "conv")]),
        "node 'conv' (Conv): input 1 'x' depends on the model's input; supported: a constant",
    ),
    (
        "matrix from the left",
        model_of([node("MatMul", ["w", "x"], ["y"], "mm")], {"w": floats(4, 3)}, shape=("N", 3, 8)),
        "node 'mm' (MatMul): input 1 'x' depends on the model's input; supported: a constant",
    ),
    (
        "constant that enlarges the sample",
        one("Add", "c", weights={"c": floats(8, 8)}, shape=("N", 1, 8)),
        "node 'it' (Add): constant of shape (8, 8) for a sample of shape (1, 8); supported: ...",
    ),
    (
        "constant per sample",
        one("Add", "c", weights={"c": floats(2, 3)}, shape=(2, 3)),
        "node 'it' (Add): constant of shape (2, 3) differs between samples; supported: ...",
    ),
    (
        "constant divided by a tensor",
        model_of([node("Div", ["c", "x"], ["y"], "inverse")], scalars(c=1)),
        "node 'inverse' (Div): a constant divided by a tensor; supported: the other way round",
    ),
    (
        "softmax in the middle",
        model_of([node("Softmax", ["x"], ["s"], "soft"), node("Relu", ["s"], ["y"], "relu")]),
        "layer 'relu' (relu): it reads the softmax 'soft'; supported: softmax as the last layer "
        "only",
    ),
    (
        "softmax over the batch",
        one("Softmax", axis=0),
        "node 'it' (Softmax): it runs over the batch axis; supported: the axes of a sample",
    ),
    (
        "softmax over several axes",
        one("Softmax", axis=1, opset=11),
        "node 'it' (Softmax): it runs over several axes of a sample (3, 8, 8) together; "
        "supported: one",
    ),
    (
        "log-softmax",
        one("LogSoftmax"),
        "node 'it' (LogSoftmax): explain its input instead: output='x' ...",
    ),
    (
        "concat over the batch",
        one("Concat", "x", axis=-4),
        "node 'it' (Concat): it joins along the batch axis; supported: the axes of a sample",
    ),
    (
        "flatten that mixes samples",
        one("Flatten", axis=2),
        "node 'it' (Flatten): axis 2 mixes the samples of a batch (sample (3, 8, 8)); ...",
    ),
    (
        "reshape that mixes samples",
        one("Reshape", "s", weights=ints(s=[-1, 64])),
        "node 'it' (Reshape): shape [-1, 64] mixes the samples of a batch (sample (3, 8, 8)); ...",
    ),
    (
        "mean over channels",
        one("ReduceMean", axes=[1]),
        "node 'it' (ReduceMean): axes [1] of a sample (3, 8, 8); supported: all spatial axes ...",
    ),
    (
        "batch norm in training",
        one("BatchNormalization", *"aaaa", weights={"a": np.ones(3, np.float32)}, training_mode=1),
        "node 'it' (BatchNormalization): training_mode = 1; supported: 0",
    ),
    (
        "slope per channel",
        one("PRelu", "s", weights={"s": floats(3, 1, 1)}),
        "node 'it' (PRelu): slopes that differ between channels; supported: one slope",
    ),
    (
        "cast to integers",
        one("Cast", to=TensorProto.INT32),
        "node 'it' (Cast): cast to int32; supported: between float types",
    ),
    (
        "second output in use",
        model_of(
            [
                node("MaxPool", ["x"], ["p", "indices"], "pool", kernel_shape=[2, 2]),
                node("Relu", ["indices"], ["y"], "relu"),
            ]
        ),
        "node 'pool' (MaxPool): node 'relu' (Relu) reads its output 'indices'; supported: output 0",
    ),
    (
        "arithmetic on the batch size",
        model_of(
            [
                node("Shape", ["x"], ["s"], "shape"),
                node("Mul", ["s", "two"], ["t"], "double"),
                node("Reshape", ["x", "t"], ["y"], "reshape"),
            ],
            ints(two=[2, 1, 1, 1]),
        ),
        "node 'double' (Mul): arithmetic on the batch size",
    ),
]


def expect(file: Any, exception: type[Exception], message: str) -> None:
    end = "" if message.endswith("...") else "$"
    with pytest.raises(exception, match=f"^{re.escape(message.removesuffix('...'))}{end}") as error:
        rp.from_onnx(file)
    assert type(error.value) is exception


@pytest.mark.parametrize("as_bytes", [True, False], ids=["bytes", "proto"])
@pytest.mark.parametrize(("file", "message"), [c[1:] for c in DAMAGED], ids=[c[0] for c in DAMAGED])
def test_damaged(file: Any, message: str, as_bytes: bool) -> None:
    if as_bytes and not isinstance(file, bytes):
        file = file.SerializeToString()
    expect(file, ValueError, message)


@pytest.mark.parametrize(
    ("file", "message"), [c[1:] for c in UNSUPPORTED], ids=[c[0] for c in UNSUPPORTED]
)
def test_unsupported(file: Any, message: str) -> None:
    expect(file.SerializeToString(), UnsupportedError, message)


def test_every_truncation_is_an_error_or_a_whole_model() -> None:
    """Cut between two fields, a file is a valid one; everywhere else it must be noticed."""
    whole = small_network().SerializeToString()
    built = 0
    for length in range(len(whole)):
        try:
            _onnx.load(whole[:length]).build()
        except ValueError:
            continue
        built += 1
    assert built <= 1  # all of it but the declaration behind the graph, if that is last


def test_random_damage_never_gets_further_than_an_exception(rng: np.random.Generator) -> None:
    """Bytes overwritten at random positions, mostly outside the weights."""
    network = small_network()
    for weight in network.graph.initializer:
        del weight.dims[1:]
        weight.raw_data = weight.raw_data[: 4 * weight.dims[0]]
    network.graph.node[0].op_type = "Relu"
    del network.graph.node[0].input[1:]
    whole = np.frombuffer(network.SerializeToString(), np.uint8)
    refused = 0
    for _ in range(1500):
        damaged = whole.copy()
        where = rng.integers(0, len(whole), size=rng.integers(1, 4))
        damaged[where] = rng.integers(0, 256, size=len(where))
        try:
            _onnx.load(damaged.tobytes()).build()
        except ValueError:
            refused += 1
    assert refused > 500


def test_path_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rp.from_onnx(tmp_path / "none.onnx")


def test_source_of_another_type() -> None:
    with pytest.raises(TypeError, match=r"^source is of type int; accepted: a path, bytes or onnx"):
        _onnx.load(3)


def save_external(folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save(
        small_network(),
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    return path


def test_external_data_is_read_beside_the_model(tmp_path: Path) -> None:
    path = save_external(tmp_path)
    assert _onnx.load(path).build().nodes == _onnx.load(small_network()).build().nodes


def test_external_data_that_is_missing(tmp_path: Path) -> None:
    path = save_external(tmp_path)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ValueError, match=r"^weight 'w': its file cannot be read: "):
        rp.from_onnx(path)


def test_external_data_that_is_short(tmp_path: Path) -> None:
    path = save_external(tmp_path)
    (tmp_path / "weights.bin").write_bytes(bytes(100))
    with pytest.raises(ValueError, match=r"^weight 'w'"):
        rp.from_onnx(path)


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname"])
def test_external_data_outside_the_folder(tmp_path: Path, location: str) -> None:
    (tmp_path / "inner").mkdir()
    path = save_external(tmp_path / "inner")
    (tmp_path / "inner/weights.bin").rename(tmp_path / "secret.bin")
    model = onnx.load(path, load_external_data=False)
    for weight in model.graph.initializer:
        next(e for e in weight.external_data if e.key == "location").value = location
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=r"^weight 'w': its file cannot be read: "):
        rp.from_onnx(path)


def test_unknown_output_lists_near_names() -> None:
    with pytest.raises(
        ValueError, match=r"^no output, tensor or node is called 'cnov'; near names: 'conv'"
    ):
        rp.from_onnx(small_network(), output="cnov")


def test_output_that_does_not_depend_on_the_input() -> None:
    file = model_of([CONV, node("Neg", ["w"], ["z"], "minus")], WEIGHT, outputs=("y", "z"))
    with pytest.raises(ValueError, match=r"^output 'z' does not depend on input 'x'$"):
        rp.from_onnx(file)
    rp.from_onnx(file, output="y")
