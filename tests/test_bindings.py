"""The extension module: which arrays it takes, what it gives back, and calls from many threads."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from relprop import _core

FloatArray = npt.NDArray[np.float32]


def small_model() -> _core.Model:
    rng = np.random.default_rng(3)
    model = _core.Model((3, 6, 5))
    weight = rng.normal(size=(4, 3, 3, 3)).astype(np.float32)
    node = model.add_conv("conv", 0, weight, pad_begin=(1, 1), pad_end=(1, 1))
    node = model.add_activation("relu", node, "relu")
    node = model.add_reshape("flat", node, (120,))
    node = model.add_dense("fc", node, rng.normal(size=(7, 120)).astype(np.float32))
    model.add_output("logits", node)
    return model


def small_plan(rule: str = "epsilon", **options: Any) -> _core.Plan:
    model = small_model()
    return _core.Plan(model, [_core.Rule(rule)] * len(model.nodes), **options)


def batch(n: int) -> FloatArray:
    return np.random.default_rng(n).normal(size=(n, 3, 6, 5)).astype(np.float32)


X = batch(2)


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size", [1, 7, 8, 33])
def test_all_finite_sees_every_place(bad: float, size: int) -> None:
    values = np.full(size, np.finfo(np.float32).max, np.float32)
    values[::2] = -np.finfo(np.float32).smallest_subnormal
    assert _core.all_finite(values)
    for at in range(size):
        wrong = values.copy()
        wrong[at] = bad
        assert not _core.all_finite(wrong)


def test_all_finite_takes_float32_only() -> None:
    assert _core.all_finite(np.empty((0, 3), np.float32))
    with pytest.raises(TypeError, match="float64"):
        _core.all_finite(np.zeros(3))  # type: ignore[arg-type]


Call = Callable[[_core.Plan], Any]
ARRAY = "; accepted: a C-contiguous float32 array"

ERRORS: list[tuple[str, Call, type[Exception], str]] = [
    (
        "float64",
        lambda p: p.forward(X.astype(np.float64)),
        TypeError,
        "x has dtype float64" + ARRAY,
    ),
    (
        "integers",
        lambda p: p.forward(X.astype(np.int32)),
        TypeError,
        "x has dtype int32" + ARRAY,
    ),
    (
        "list",
        lambda p: p.forward(X.tolist()),
        TypeError,
        "x is of type list" + ARRAY,
    ),
    (
        "every second sample",
        lambda p: p.forward(batch(4)[::2]),
        ValueError,
        "x of shape (2, 3, 6, 5) is not contiguous" + ARRAY,
    ),
    (
        "channels last, transposed",
        lambda p: p.forward(np.zeros((2, 6, 5, 3), np.float32).transpose(0, 3, 1, 2)),
        ValueError,
        "x of shape (2, 3, 6, 5) is not contiguous" + ARRAY,
    ),
    (
        "not aligned",
        lambda p: p.forward(
            np.zeros(4 * 90 + 1, np.uint8)[1:].view(np.float32).reshape(1, 3, 6, 5)
        ),
        ValueError,
        "x of shape (1, 3, 6, 5) is not contiguous" + ARRAY,
    ),
    (
        "no batch axis",
        lambda p: p.forward(X[0]),
        ValueError,
        "x has shape (3, 6, 5); accepted: (n, 3, 6, 5)",
    ),
    (
        "other sizes",
        lambda p: p.relevance(np.zeros((2, 3, 5, 6), np.float32)),
        ValueError,
        "x has shape (2, 3, 5, 6); accepted: (n, 3, 6, 5)",
    ),
    (
        "negative thread count",
        lambda p: p.forward(X, -1),
        ValueError,
        "n_threads = -1; accepted: 1 to 1024, or 0 for all cores",
    ),
    (
        "too many threads",
        lambda p: p.relevance(X, n_threads=10**6),
        ValueError,
        "n_threads = 1000000; accepted: 1 to 1024, or 0 for all cores",
    ),
    (
        "unknown start",
        lambda p: p.relevance(X, start="logit"),
        ValueError,
        "start 'logit'; accepted: output, one, log_prob or an array",
    ),
    (
        "start of another shape",
        lambda p: p.relevance(X, start=np.zeros((2, 7), np.float32)),
        ValueError,
        "start has shape (2, 7); accepted: (2, 7, 7)",
    ),
    (
        "start of another batch",
        lambda p: p.relevance(X, start=np.zeros((3, 1, 7), np.float32)),
        ValueError,
        "start has shape (3, 1, 7); accepted: (2, 1, 7)",
    ),
    (
        "targets of one axis",
        lambda p: p.relevance(X, targets=np.zeros(2, np.int64)),
        ValueError,
        "targets has shape (2,); accepted: (2, targets per sample)",
    ),
    (
        "targets of another type",
        lambda p: p.relevance(X, targets=np.zeros((2, 1), np.int32)),
        TypeError,
        "targets has dtype int32; accepted: a C-contiguous int64 array",
    ),
    (
        "target behind the last",
        lambda p: p.relevance(X, targets=np.array([[0, 6], [3, 7]])),
        ValueError,
        "target 7 of sample 1; accepted: 0 to 6, or -1 for the largest output",
    ),
    (
        "negative target",
        lambda p: p.relevance(X, targets=np.array([[-2], [0]])),
        ValueError,
        "target -2 of sample 0; accepted: 0 to 6, or -1 for the largest output",
    ),
    (
        "layer that is not there",
        lambda p: p.relevance(X, layers=[1, 5]),
        ValueError,
        "layers: node 5; accepted: 0 to 4",
    ),
    (
        "mask of another shape",
        lambda p: p.relevance(X, masks=[(1, np.ones((2, 4, 6, 5), np.float32), False)]),
        ValueError,
        "mask of node 1 has shape (2, 4, 6, 5); accepted: (1, 4, 6, 5)",
    ),
    (
        "mask of another type",
        lambda p: p.relevance(X, masks=[(1, np.ones((1, 4, 6, 5), bool), False)]),
        TypeError,
        "mask of node 1 has dtype bool" + ARRAY,
    ),
]


@pytest.mark.parametrize(
    ("call", "exception", "message"), [c[1:] for c in ERRORS], ids=[c[0] for c in ERRORS]
)
def test_refuses(call: Call, exception: type[Exception], message: str) -> None:
    with pytest.raises(exception, match=f"^{re.escape(message)}$") as error:
        call(small_plan())
    assert type(error.value) is exception


def test_results_have_the_documented_shapes() -> None:
    plan = small_plan()
    assert plan.forward(X).shape == (2, 7)
    relevance, output, layers, report = plan.relevance(
        X,
        targets=np.array([[0, 1, -1], [2, 3, 4]]),
        want_output=True,
        layers=[1, 3],
        conservation=True,
    )
    assert relevance.shape == (2, 3, 3, 6, 5)
    assert output is not None
    np.testing.assert_array_equal(output, plan.forward(X))
    assert [layer.shape for layer in layers] == [(2, 3, 4, 6, 5), (2, 3, 120)]
    assert report
    assert {frozenset(layer) for layer in report} == {
        frozenset({"node", "relevance_out", "relevance_in", "bias", "epsilon", "zero"})
    }
    relevance, output, layers, report = plan.relevance(X)
    assert (relevance.shape, output, layers, report) == ((2, 1, 3, 6, 5), None, [], [])


def test_profile_times_every_step() -> None:
    plan = small_plan()
    for start in ("output", np.ones((2, 1, 7), np.float32)):
        times = plan.profile(X, start, n_threads=1)
        assert [step["node"] for step in times] == [layer["node"] for layer in plan.layers]
        assert all(step["forward"] >= 0 and step["backward"] >= 0 for step in times)
        assert sum(step["forward"] for step in times) > 0
        assert sum(step["backward"] for step in times) > 0


def test_target_defaults_to_the_largest_output() -> None:
    plan = small_plan()
    largest = plan.forward(X).argmax(axis=1)[:, None]
    np.testing.assert_array_equal(plan.relevance(X)[0], plan.relevance(X, targets=largest)[0])


def test_empty_batch() -> None:
    plan = small_plan()
    none = batch(0)
    assert plan.forward(none).shape == (0, 7)
    assert plan.relevance(none)[0].shape == (0, 1, 3, 6, 5)


def test_read_only_input_is_taken() -> None:
    x = X.copy()
    x.flags.writeable = False
    np.testing.assert_array_equal(small_plan().forward(x), small_plan().forward(X))


def test_plan_outlives_its_model() -> None:
    model = small_model()
    plan = _core.Plan(model, [_core.Rule("epsilon")] * len(model.nodes))
    expected = plan.forward(X)
    del model
    np.testing.assert_array_equal(plan.forward(X), expected)


def test_many_threads_share_one_plan() -> None:
    """More callers than kept workspaces, with batches of different sizes, all at once."""
    plan = small_plan("alpha_beta")
    inputs = [batch(1 + i % 5) for i in range(24)]
    expected = [plan.relevance(x, n_threads=1)[0] for x in inputs]
    wrong: list[int] = []
    gate = threading.Barrier(len(inputs))

    def work(i: int) -> None:
        gate.wait()
        results = [plan.relevance(inputs[i], n_threads=1)[0] for _ in range(20)]
        wrong.extend(i for result in results if not np.array_equal(result, expected[i]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_model_may_be_read_and_changed_while_plans_are_made() -> None:
    model = small_model()
    expected = small_plan().forward(X)
    results: list[FloatArray] = []

    def change() -> None:
        for i in range(200):
            model.add_identity(f"extra{i}", 0)
            assert len(model.nodes) > i

    def plan() -> None:
        plans = [_core.Plan(model, output=4, forward_only=True) for _ in range(20)]
        results.extend(made.forward(X) for made in plans)

    threads = [threading.Thread(target=change), *(threading.Thread(target=plan) for _ in range(3))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 60
    assert all(np.array_equal(result, expected) for result in results)


def test_module_tells_what_it_is() -> None:
    info = _core.build_info()
    assert info["version"] == _core.__version__
    assert {"reference", "baseline"} <= set(info["isas"])
    assert set(_core.available_isas()) <= set(info["isas"])
    assert _core.default_isa() in _core.available_isas()
    assert _core.default_thread_count() >= 1
    assert isinstance(info["openmp"], bool)
    assert issubclass(_core.UnsupportedError, ValueError)


@pytest.mark.parametrize("isa", _core.available_isas())
def test_plan_runs_on_the_instruction_set_it_was_given(isa: str) -> None:
    plan = small_plan(isa=isa)
    assert plan.isa == isa
