"""The operator tests that come with ONNX, each run through relprop or refused in given words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper

import relprop as rp
from networks import data_folder
from relprop import _onnx
from relprop._core import UnsupportedError

Array = npt.NDArray[Any]

BATCH_CONCAT = r"^node 'Concat_2' \(Concat\): it joins along the batch axis; "
ONE_AXIS = r"^input 'value0' has 1 axes; supported: a batch axis and at least one more$"
MIXES = r"^node 'Flatten_0' \(Flatten\): axis \d mixes the samples of a batch "
# What relprop does not have, with the words in which it says so.
REFUSED = {
    "test_concat_1d_axis_0": ONE_AXIS,
    "test_concat_1d_axis_negative_1": ONE_AXIS,
    "test_concat_2d_axis_0": BATCH_CONCAT,
    "test_concat_2d_axis_negative_2": BATCH_CONCAT,
    "test_concat_3d_axis_0": BATCH_CONCAT,
    "test_concat_3d_axis_negative_3": BATCH_CONCAT,
    "test_convtranspose_3d": r"^node 'ConvTranspose_0' \(ConvTranspose\): its input has 3 spatial "
    r"axes \(sample \(1, 3, 4, 5\)\); supported: 1 and 2$",
    "test_flatten_axis0": MIXES,
    "test_flatten_axis2": MIXES,
    "test_flatten_axis3": MIXES,
    "test_flatten_negative_axis1": MIXES,
    "test_flatten_negative_axis2": MIXES,
    "test_flatten_negative_axis4": MIXES,
    "test_gemm_all_attributes": r"^node 'Gemm_0' \(Gemm\): transA = 1 mixes the samples",
    "test_gemm_default_matrix_bias": r"^node 'Gemm_0' \(Gemm\): bias of shape \(3, 4\) differs "
    "between samples; ",
    "test_gemm_transposeA": r"^node 'Gemm_0' \(Gemm\): transA = 1 mixes the samples",
    "test_lrn": r"^node 'LRN_0' \(LRN\): no such operator; supported: ",
    "test_lrn_default": r"^node 'LRN_0' \(LRN\): no such operator; supported: ",
    "test_matmul_3d": r"^node 'MatMul_0' \(MatMul\): weight of shape \(2, 4, 3\); supported: ",
    "test_matmul_4d": r"^node 'MatMul_0' \(MatMul\): weight of shape \(1, 2, 4, 3\); supported: ",
    "test_softmax_axis_0": r"^node 'Softmax_0' \(Softmax\): it runs over the batch axis; ",
}
# Both inputs are activations: they become the two parts of one input.
JOINED = re.compile(r"test_(concat_[123]d_.*|add|mul)$")
# Elementwise operators on one axis: that axis becomes a sample's and the batch is one.
WITHOUT_BATCH = re.compile(r"test_(clip_\w+|tanh_example|sigmoid_example|leakyrelu_example)$")


def cases() -> list[Path]:
    folder = data_folder() / "onnx_node_tests"
    return sorted([*folder.glob("node/test_*"), *folder.glob("pytorch-converted/test_*")])


def read(path: Path) -> Array:
    proto = onnx.TensorProto()
    proto.ParseFromString(path.read_bytes())
    return np.asarray(numpy_helper.to_array(proto))


def one_input_model(folder: Path) -> tuple[onnx.ModelProto, Array]:
    """The case with every input but the first as a weight, and the data for that one."""
    model = onnx.load(folder / "model.onnx")
    graph = model.graph
    arrays = [
        read(folder / f"test_data_set_0/input_{i}.pb")
        for i in range(len(graph.input))
        if (folder / f"test_data_set_0/input_{i}.pb").exists()
    ]
    if JOINED.match(folder.name) and arrays[0].ndim > 1:
        return joined_model(model, arrays)
    x, *constants = arrays
    weights = {tensor.name for tensor in graph.initializer}
    names = [value.name for value in graph.input if value.name not in weights]
    for name, array in zip(names[1:], constants, strict=True):
        graph.initializer.append(numpy_helper.from_array(array, name))
    if WITHOUT_BATCH.match(folder.name) and x.ndim == 1:
        x = x[None]
        graph.input[0].type.tensor_type.shape.dim.insert(0, onnx.TensorShapeProto.Dimension())
    return model, x


def joined_model(model: onnx.ModelProto, arrays: list[Array]) -> tuple[onnx.ModelProto, Array]:
    graph = model.graph
    x = np.concatenate(arrays, axis=1)
    bounds = np.cumsum([0, *(a.shape[1] for a in arrays)])
    constants = {"axis": [1], **{f"bound{i}": [int(b)] for i, b in enumerate(bounds)}}
    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))
    slices = [
        helper.make_node("Slice", ["joined", f"bound{i}", f"bound{i + 1}", "axis"], [value.name])
        for i, value in enumerate(graph.input)
    ]
    nodes = [*slices, *graph.node]
    del graph.input[:], graph.node[:]
    graph.node.extend(nodes)
    graph.input.append(helper.make_tensor_value_info("joined", onnx.TensorProto.FLOAT, x.shape))
    return model, x


def test_the_cases_are_there(data: Path) -> None:
    names = {folder.name for folder in cases()}
    assert len(names) > 120
    assert names >= REFUSED.keys()


@pytest.mark.parametrize(
    "folder", cases(), ids=lambda folder: f"{folder.parent.name}-{folder.name}"
)
def test_operator(folder: Path) -> None:
    model, x = one_input_model(folder)
    if folder.name in REFUSED:
        with pytest.raises(UnsupportedError, match=REFUSED[folder.name]):
            rp.from_onnx(model)
        return
    expected = read(folder / "test_data_set_0/output_0.pb").reshape(x.shape[0], -1)
    y = rp.from_onnx(model)(x)
    assert y.dtype == np.float32
    y = y.reshape(x.shape[0], -1)
    # Sums have at most 27 terms: rounding stays below 2 * 27 * 2^-24 = 3.2e-6 of the sum of
    # magnitudes, which is at most three times the largest output.
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5 * max(np.abs(expected).max(), 1e-3))


@pytest.mark.parametrize(
    "folder",
    [folder for folder in cases() if folder.name not in REFUSED],
    ids=lambda folder: f"{folder.parent.name}-{folder.name}",
)
def test_shape(folder: Path) -> None:
    """Known when the model is built, before anything runs."""
    model, x = one_input_model(folder)
    built = _onnx.load(model).build()
    expected = read(folder / "test_data_set_0/output_0.pb").shape
    added = WITHOUT_BATCH.match(folder.name) and len(expected) == 1
    assert (x.shape[0], *built.shape(built.outputs[0][1])) == (
        (1, *expected) if added else expected
    )
