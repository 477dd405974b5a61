"""NumPy in and out, torch in and out, without a copy where none is needed and never misread."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import relprop as rp
from relprop._arrays import floats
from small import image_net, inputs, map_net, vector_net

Array = npt.NDArray[Any]


def every_call(model: rp.Model, x: Any, **more: Any) -> list[Any]:
    """All that comes back from one model for one input."""
    lrp = rp.LRP(model, "alpha2_beta1")
    relevance, output, layers = lrp.attribute(
        x, return_output=True, return_layers=["sum", "head.one"], **more
    )
    sensitivity = rp.Sensitivity(model).attribute(x, **more)
    return [model(x, **more), relevance, output, *layers.values(), sensitivity]


def assert_same(actual: list[Any], expected: list[Array]) -> None:
    for a, e in zip(actual, expected, strict=True):
        assert np.asarray(a).dtype == np.float32
        assert np.array_equal(np.asarray(a), e)


def of_every_third(x: Array) -> Array:
    wide = np.zeros((*x.shape[:-1], 3 * x.shape[-1]), np.float32)
    wide[..., ::3] = x
    return wide[..., ::3]


def misaligned(x: Array) -> Array:
    memory = np.zeros(x.nbytes + 1, np.uint8)
    view = memory[1:].view(np.float32).reshape(x.shape)
    view[:] = x
    return view


def read_only(x: Array) -> Array:
    copy = x.copy()
    copy.setflags(write=False)
    return copy


# The same values in other memory.
LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "fortran": np.asfortranarray,
    "channels last": lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    "backwards": lambda x: np.ascontiguousarray(x[:, :, ::-1])[:, :, ::-1],
    "strided": of_every_third,
    "misaligned": misaligned,
    "read-only": read_only,
    "big-endian": lambda x: x.astype(">f4"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_numpy_layouts(layout: str) -> None:
    model = image_net()
    x = inputs(model, 3)
    assert_same(every_call(model, LAYOUTS[layout](x)), every_call(model, x))


# The same values as tensors.
TENSORS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "plain": lambda t: t,
    "requires_grad": lambda t: t.clone().requires_grad_(),
    "of a graph": lambda t: t.clone().requires_grad_() * 1,
    "parameter": torch.nn.Parameter,
    "channels last": lambda t: t.contiguous(memory_format=torch.channels_last),
    "transposed": lambda t: t.transpose(2, 3).contiguous().transpose(2, 3),
    "expanded": lambda t: t[:1].expand(3, -1, -1, -1),
    "negated view": lambda t: torch.complex(t, -t).conj().imag,
    "inference": lambda t: torch.inference_mode()(t.clone)(),
}


@pytest.mark.parametrize("kind", TENSORS)
def test_tensors(kind: str) -> None:
    model = image_net()
    x = inputs(model, 3)
    x[1:] = x[:1]  # so that all kinds hold the same
    tensor = TENSORS[kind](torch.from_numpy(x))
    assert np.array_equal(tensor.detach().resolve_neg().numpy(), x)
    results = every_call(model, tensor)
    assert all(type(r) is torch.Tensor and not r.requires_grad for r in results)
    assert_same(results, every_call(model, x))


def test_contiguous_arrays_are_not_copied() -> None:
    x = inputs(image_net(), 2)
    tensor = torch.from_numpy(x.copy())
    parameter = torch.nn.Parameter(tensor.clone())
    assert np.shares_memory(floats(x, "x").values, x)
    assert np.shares_memory(floats(tensor, "x").values, tensor.numpy())
    assert floats(parameter, "x").values.ctypes.data == parameter.data_ptr()
    fixed = read_only(x)
    assert np.shares_memory(floats(fixed, "x").values, fixed)
    result = floats(tensor, "x").restore(x)
    assert result.data_ptr() == x.ctypes.data


def test_input_is_left_alone() -> None:
    model = image_net()
    x = inputs(model, 3)
    before = x.copy()
    every_call(model, x)
    assert np.array_equal(x, before)


def test_results_belong_to_the_caller() -> None:
    """Results of one call are not overwritten by the next, and may be written to."""
    model = image_net()
    first, second = inputs(model, 2, 1), inputs(model, 2, 2)
    results = every_call(model, first)
    copies = [r.copy() for r in results]
    every_call(model, second)
    assert_same(results, copies)
    for r in results:
        r += 1


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.longdouble])
def test_cast_rounds_to_float32(dtype: Any) -> None:
    model = image_net()
    x = inputs(model, 2).astype(dtype)
    expected = every_call(model, x.astype(np.float32))
    assert_same(every_call(model, x, cast=True), expected)
    if dtype is not np.longdouble:
        tensors = every_call(model, torch.from_numpy(x), cast=True)
        assert all(type(r) is torch.Tensor for r in tensors)
        assert_same(tensors, expected)


def test_cast_refuses_what_float32_cannot_hold() -> None:
    x = np.full((1, 4), 1e39)
    with pytest.raises(ValueError, match=r"^x has NaN or infinite values; accepted: finite"):
        vector_net()(x, cast=True)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_empty_batch(kind: str) -> None:
    model = image_net()
    x: Any = np.zeros((0, 2, 6, 6), np.float32)
    x = torch.from_numpy(x) if kind == "torch" else x
    shapes = [tuple(r.shape) for r in every_call(model, x)]
    assert shapes == [(0, 5), (0, 2, 6, 6), (0, 5), (0, 4, 6, 6), (0, 8), (0, 2, 6, 6)]
    lrp = rp.LRP(model)
    for target in (3, [], np.zeros((0, 2), np.int64)):
        assert lrp.attribute(x, target).shape[0] == 0
    assert lrp.attribute(x, progress=True).shape == (0, 2, 6, 6)
    report = lrp.conservation(x)
    assert report.start == report.input == 0
    assert rp.LRP(map_net()).attribute(np.zeros((0, 3, 6, 6), np.float32), (0, 1, 1)).size == 0


def test_torch_targets_starts_and_masks() -> None:
    model = image_net()
    x = inputs(model, 3)
    tensor, lrp = torch.from_numpy(x), rp.LRP(model)
    target = np.array([4, 0, 2])
    start = inputs(model, 3, 5)[:, 0, 0, :5].copy()
    mask = (inputs(model, 3, 6)[:, :, 0, :1].copy() > 0).repeat(2, axis=1)[..., None]
    for numpy_call, torch_call in [
        ({"target": target}, {"target": torch.from_numpy(target)}),
        ({"start": start}, {"start": torch.from_numpy(start)}),
        ({"mask": {"sum": mask}}, {"mask": {"sum": torch.from_numpy(mask)}}),
    ]:
        expected = lrp.attribute(x, **numpy_call)  # type: ignore[arg-type]
        assert expected.any()
        assert_same([lrp.attribute(tensor, **torch_call)], [expected])  # type: ignore[arg-type]
        assert_same([lrp.attribute(x, **torch_call)], [expected])  # type: ignore[arg-type]


SCRIPT = """
import sys
import numpy as np
import relprop as rp
optional = {"torch", "matplotlib", "PIL", "tqdm", "onnx"}
assert not optional & sys.modules.keys(), optional & sys.modules.keys()
from small import image_net, inputs
model = image_net()
x = inputs(model, 2)
rp.LRP(model, "epsilon_plus_flat").attribute(x, 1, return_output=True, return_layers=True)
rp.LRP(model).conservation(x)
for method in (rp.Sensitivity, rp.Gradient, rp.GradientTimesInput):
    method(model).attribute(x)
rp.functional.dense_relevance(x[:, 0, 0], np.eye(6, dtype="f4"), None, x[:, 0, 0], rp.ZPlus())
rp.images.overlay(x[0], x[0, 0])
model.summary(), rp.info()
assert not optional & sys.modules.keys(), optional & sys.modules.keys()
print("done")
"""


def test_numpy_users_import_nothing_else() -> None:
    tests = Path(__file__).parent
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, cwd=tests
    )
    assert run.stdout == "done\n", run.stderr
