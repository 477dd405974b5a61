"""What the methods return: targets, starts, layers, order of results, slices, threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import relprop as rp
from relprop import _core, methods
from relprop import model as model_module
from relprop._cache import Cache
from small import (
    image_net,
    inputs,
    map_net,
    softmax_net,
    values,
    vector_core,
    vector_net,
)

Array = npt.NDArray[Any]


def same(a: Any, b: Any) -> bool:
    return bool(np.asarray(a).any()) and np.array_equal(a, b)


def all_methods(model: rp.Model) -> list[Any]:
    return [rp.LRP(model), rp.Sensitivity(model), rp.Gradient(model), rp.GradientTimesInput(model)]


@pytest.mark.parametrize("index", range(4))
def test_targets(index: int) -> None:
    model = image_net()
    attribute = all_methods(model)[index].attribute
    x = inputs(model, 3)
    each = [attribute(x, target) for target in range(5)]
    assert len({r.tobytes() for r in each}) == 5
    wanted = np.array([[4, 0], [1, 1], [2, 3]])
    several = attribute(x, wanted)
    assert several.shape == (3, 2, 2, 6, 6)
    for sample, targets in enumerate(wanted):
        for k, target in enumerate(targets):
            assert same(several[sample, k], each[target][sample])
    for form in (wanted[:, 0], wanted[:, 0].tolist(), tuple(wanted[:, 0]),
                 wanted[:, 0].astype(np.uint8), wanted[::1, 0].astype(np.int16)):  # fmt: skip
        assert same(attribute(x, form), several[:, 0])
    assert same(attribute(x, wanted.tolist()), several)
    assert attribute(x, wanted[:, :1]).shape == (3, 1, 2, 6, 6)
    assert same(attribute(x, np.int64(3)), each[3])
    assert same(attribute(x, np.array(3)), each[3])


@pytest.mark.parametrize("index", range(4))
def test_default_target_is_the_largest_output(index: int) -> None:
    model = image_net()
    attribute = all_methods(model)[index].attribute
    x = inputs(model, 8)
    largest = model(x).argmax(1)
    assert len(set(largest)) > 1
    assert same(attribute(x), attribute(x, largest))


def test_positions_in_maps() -> None:
    model = map_net()
    x = inputs(model, 2)
    positions = [(0, 1, 2), (1, 3, 0)]
    for method in all_methods(model):
        each = [method.attribute(x, position) for position in positions]
        assert same(method.attribute(x, positions), np.stack([each[0][0], each[1][1]]))
        both = method.attribute(x, np.array([positions, positions]))
        assert same(both, np.stack(each, axis=1))
    relevance = rp.LRP(model, rp.Epsilon(0, bias="ignore")).attribute(x, (1, 3, 0), "one")
    assert np.allclose(relevance.sum((1, 2, 3)), 1, atol=1e-5)
    assert not relevance[:, :, :3].any()  # outside the 3 x 3 window of the position
    relevance, y = rp.LRP(model).attribute(x, (0, 1, 2), return_output=True)
    start = np.zeros_like(y)
    start[:, 0, 1, 2] = y[:, 0, 1, 2]
    assert same(relevance, rp.LRP(model).attribute(x, start=start))


def test_outputs_of_one_pixel_have_classes() -> None:
    core = _core.Model((2, 3, 3), "x")
    core.add_output("y", core.add_conv("conv", 0, values(1, 5, 2, 3, 3)))
    model = rp.Model(core)
    x = inputs(model, 4)
    assert model(x).shape == (4, 5, 1, 1)
    largest = model(x)[:, :, 0, 0].argmax(1)
    assert same(rp.LRP(model).attribute(x), rp.LRP(model).attribute(x, largest))


def test_starts() -> None:
    model = image_net()
    x, lrp = inputs(model, 3), rp.LRP(model)
    y = lrp.attribute(x, return_output=True)[1]
    one_hot = np.eye(5, dtype=np.float32)[[2, 2, 2]]
    one = lrp.attribute(x, 2, "one")
    assert same(one, lrp.attribute(x, start=one_hot))
    assert same(lrp.attribute(x, 2), lrp.attribute(x, start=one_hot * y))
    several = np.stack([one_hot, one_hot * y], axis=1)
    both = lrp.attribute(x, start=several)
    assert same(both[:, 0], one)
    assert same(both[:, 1], lrp.attribute(x, 2))


def test_gradient_starts_are_vectors_times_the_jacobian() -> None:
    model = image_net()
    x, start = inputs(model, 3), values(1, 3, 5)
    jacobian = rp.Gradient(model).attribute(x, np.tile(np.arange(5), (3, 1)))
    product = rp.Gradient(model).attribute(x, start=start)
    expected = np.einsum("nt,ntchw->nchw", start, jacobian.astype(np.float64))
    assert np.abs(product - expected).max() <= 1e-5 * np.abs(expected).max()
    assert same(rp.Sensitivity(model).attribute(x, start=start), product * product)


def test_gradient_is_the_slope() -> None:
    """Piecewise linear: a difference quotient inside one piece is exact but for rounding."""
    core = _core.Model((3,), "x")
    at = core.add_activation("relu", core.add_dense("a", 0, values(1, 4, 3)), "relu")
    core.add_output("y", core.add_dense("b", at, values(2, 2, 4)))
    model = rp.Model(core)
    x = values(3, 1, 3)
    gradient = rp.Gradient(model).attribute(x, 1)[0]
    step = np.float32(2**-10) * np.eye(3, dtype=np.float32)
    slopes = (model(x + step)[:, 1] - model(x - step)[:, 1]) * 2.0**9
    assert np.abs(gradient - slopes).max() <= 2.0**-23 * 2**9 * 16 * np.abs(model(x)).max()


def test_sensitivity_and_gradient_times_input() -> None:
    model = image_net()
    x = inputs(model, 3)
    gradient = rp.Gradient(model).attribute(x, 1)
    assert (gradient < 0).any()
    assert same(rp.Sensitivity(model).attribute(x, 1), gradient * gradient)
    product = rp.GradientTimesInput(model).attribute(x, 1)
    assert same(product, gradient * x)
    assert same(product, rp.Gradient(model, times_input=True).attribute(x, 1))


def softmax(f: Array) -> Array:
    e = np.exp(f.astype(np.float64) - f.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_softmax_is_left_out() -> None:
    """Logits are behind the same weights: relevance, gradient and log p come out of them."""
    model = softmax_net()
    x = inputs(model, 4)
    core = _core.Model((4,), "features")
    core.add_output("y", core.add_dense("logits", 0, values(1, 3, 4), values(2, 3)))
    logits = rp.Model(core)
    assert np.abs(model(x) - softmax(logits(x))).max() < 1e-6
    for method in (rp.LRP, rp.Gradient, rp.Sensitivity):
        assert same(method(model).attribute(x, 1), method(logits).attribute(x, 1))


@pytest.mark.parametrize("make", [softmax_net, image_net])
def test_log_prob(make: Any) -> None:
    """d log p_c = d f_c - sum_k p_k d f_k."""
    model = make()
    x = inputs(model, 3)
    classes = model(x).shape[1]
    jacobian = rp.Gradient(model).attribute(x, np.tile(np.arange(classes), (3, 1)))
    p = model(x).astype(np.float64) if make is softmax_net else softmax(model(x))
    mean = np.einsum("nt,nt...->n...", p, jacobian.astype(np.float64))
    expected = jacobian[:, 1] - mean
    for times_input in (False, True):
        scale = x if times_input else 1
        actual = rp.Gradient(model, of="log_prob", times_input=times_input).attribute(x, 1)
        assert np.abs(actual - expected * scale).max() <= 1e-5 * np.abs(jacobian * 3).max()
    actual = rp.Sensitivity(model, of="log_prob").attribute(x, 1)
    assert np.abs(actual - expected**2).max() <= 1e-4 * (expected**2).max()


def test_order_of_results() -> None:
    model = image_net()
    x = inputs(model, 2)
    for method in all_methods(model):
        alone = method.attribute(x, 1)
        assert isinstance(alone, np.ndarray)
        r, y = method.attribute(x, 1, return_output=True)
        assert same(r, alone)
        # Rules add up positive and negative parts apart, so that rounding differs.
        assert np.abs(y - model(x)).max() <= 1e-5 * np.abs(y).max()
        r, y, layers = method.attribute(x, 1, return_output=True, return_layers=True)
        assert same(r, alone)
        assert np.abs(y - model(x)).max() <= 1e-5 * np.abs(y).max()
        assert list(layers) == model.layers
        r, layers = method.attribute(x, 1, return_layers=["pool", "stem.relu"])
        assert list(layers) == ["pool", "stem.relu"]
        assert [v.shape for v in layers.values()] == [(2, 4, 3, 3), (2, 4, 6, 6)]
        assert method.attribute(x, 1, return_layers=[])[1] == {}


def test_relevance_at_layers() -> None:
    model = image_net()
    x = inputs(model, 2)
    lrp = rp.LRP(model, "alpha2_beta1")
    r, y, layers = lrp.attribute(x, 3, return_output=True, return_layers=True)
    assert same(layers["head.two"][:, 3], y[:, 3])
    assert same(layers["flat"].reshape(2, 4, 3, 3), layers["pool"])
    # What enters a layer is what leaves it: explaining from its output gives the same input.
    behind = rp.Model(model._source, "head.one")
    assert same(rp.LRP(behind, "alpha2_beta1").attribute(x, start=layers["head.one"]), r)
    several = lrp.attribute(x, [[3, 0], [3, 1]], return_layers=["pool"])[1]["pool"]
    assert several.shape == (2, 2, 4, 3, 3)
    assert same(several[:, 0], layers["pool"])


def test_masks_broadcast() -> None:
    model = image_net()
    x = inputs(model, 3)
    lrp = rp.LRP(model)
    channel = np.array([1, 0, 1, 1], bool)[:, None, None]
    full = np.broadcast_to(channel, (3, 4, 6, 6)).astype(np.float32)
    expected = lrp.attribute(x, 1, mask={"stem.conv": full})
    for mask in (channel, channel[None], channel.astype(int), channel.astype(float), full[:1],
                 full[0], np.broadcast_to(channel, (4, 6, 6))):  # fmt: skip
        assert same(lrp.attribute(x, 1, mask={"stem.conv": mask}), expected)
    assert not np.array_equal(expected, lrp.attribute(x, 1))
    # One per sample, in every order of slices.
    each = (np.arange(3) == 1).astype(np.float32).reshape(3, 1, 1, 1)
    r = lrp.attribute(x, 1, mask={"stem.conv": each})
    assert same(r[1], lrp.attribute(x, 1)[1])
    assert not r[[0, 2]].any()
    assert not lrp.attribute(x, 1, mask={"head.two": 0.0}).any()
    assert same(lrp.attribute(x, 1, mask={}), lrp.attribute(x, 1))


def test_exclude_parallel() -> None:
    model = image_net()
    x = inputs(model, 2)
    lrp = rp.LRP(model)
    mask = {"body/conv": np.zeros((4, 1, 1))}
    around = lrp.attribute(x, 1, mask=mask)
    assert around.any()  # through the skip connection
    assert not lrp.attribute(x, 1, mask=mask, exclude_parallel=True).any()


@pytest.mark.parametrize("n", [1, 15, 16, 17, 40])
def test_slices_give_the_same_bits(n: int, capsys: pytest.CaptureFixture[str]) -> None:
    model = vector_net()
    x = inputs(model, n)
    target = np.arange(n) % 3
    mask = {"block.hidden": values(1, n, 5)}
    for method in all_methods(model):
        whole = method.attribute(x, target, return_output=True, return_layers=True, mask=mask)
        sliced = method.attribute(
            x, target, return_output=True, return_layers=True, mask=mask, progress=True
        )
        assert same(sliced[0], whole[0])
        assert same(sliced[1], whole[1])
        assert all(np.array_equal(sliced[2][k], whole[2][k]) for k in whole[2])
        start = values(2, n, 2, 3)
        assert same(
            method.attribute(x, start=start, progress=True), method.attribute(x, start=start)
        )
    slices = -(-n // methods.SLICE)
    assert f"{slices}/{slices}" in capsys.readouterr().err


def test_n_threads_changes_nothing() -> None:
    model = image_net()
    x = inputs(model, 5)
    for n_threads in (1, 2, np.int64(3)):
        assert same(model(x, n_threads=n_threads), model(x))
        assert same(rp.LRP(model).attribute(x, n_threads=n_threads), rp.LRP(model).attribute(x))


RULES = [rp.Epsilon(0.01), rp.AlphaBeta(2, 1), "epsilon_plus_flat", rp.Gamma(bias="ignore")]


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("start", ["output", "one"])
def test_conservation(rule: Any, start: str) -> None:
    model = image_net()
    x = inputs(model, 4)
    lrp = rp.LRP(model, rule)
    report = lrp.conservation(x, [1, 2, 3, 4], start)
    relevance, y = lrp.attribute(x, [1, 2, 3, 4], start, return_output=True)
    begin = y[range(4), [1, 2, 3, 4]].sum(dtype=np.float64) if start == "output" else 4
    assert report.start == pytest.approx(begin, rel=1e-6)
    assert report.input == pytest.approx(relevance.sum(dtype=np.float64), rel=1e-6)
    flow = max(abs(layer.relevance_out) for layer in report.layers)
    rests = [abs(layer.rest) for layer in report.layers]
    assert max(rests) <= 1e-4 * max(flow, 1)
    explained = report.bias + report.epsilon + report.zero
    assert report.start - report.input - explained == pytest.approx(0, abs=1e-4 * max(flow, 1))
    assert report.layers[0].name == "head.two"
    assert {layer.op for layer in report.layers} >= {"conv", "dense", "add", "average_pool"}
    if not isinstance(rule, str) and rule.bias == "ignore":
        assert report.bias == 0


def test_conservation_report_as_text() -> None:
    text = str(rp.LRP(image_net()).conservation(inputs(image_net(), 2))).splitlines()
    assert text[0].split() == ["layer", "op", "out", "in", "bias", "epsilon", "zero", "rest"]
    assert text[1].split()[:2] == ["head.two", "dense"]
    assert text[-1].split()[0] == "total"
    assert len(text[-1].split()) == 7


def test_conservation_takes_what_attribute_takes() -> None:
    model = image_net()
    x = inputs(model, 2)
    lrp = rp.LRP(model)
    blocked = lrp.conservation(x, 1, mask={"head.one": 0.0})
    assert blocked.input == 0 != blocked.start
    start = values(1, 2, 3, 5)
    report = lrp.conservation(x, start=start)
    assert report.start == pytest.approx(start.sum(dtype=np.float64), rel=1e-5)
    assert report.input == pytest.approx(
        lrp.attribute(x, start=start).sum(dtype=np.float64), rel=1e-5
    )


def test_model() -> None:
    model = vector_net()
    assert model.input_shape == (4,)
    assert model.output_shape == (3,)
    assert model.output_names == ["logits", "block.relu"]
    assert model.layers == ["block.hidden", "block.relu", "logits"]
    assert model.parameter_count == 5 * 4 + 5 + 3 * 5 + 3 + 2 * 4
    assert repr(model) == "<relprop.Model (N, 4) -> 'logits'>"
    x = inputs(model, 2)
    expected = np.maximum(x @ values(1, 5, 4).T + values(2, 5), 0) @ values(3, 3, 5).T
    assert np.allclose(model(x), expected + values(4, 3), atol=1e-5)


@pytest.mark.parametrize("output", ["block.relu", "block.hidden"])
def test_another_output(output: str) -> None:
    model = rp.Model(vector_core(), output)
    assert model.output_names[0] == output
    assert model.layers[-1] == output
    assert model.output_shape == (5,)
    assert rp.LRP(model).attribute(inputs(model, 2), 4).shape == (2, 4)


def test_summary() -> None:
    text = image_net().summary()
    rows = {line.split()[0]: line for line in text.splitlines() if line}
    assert "conv" in rows["stem.conv"]
    assert "4x6x6" in rows["stem.conv"]
    assert "alpha_beta" in rows["stem.conv"]
    assert "epsilon" in rows["head.two"]
    assert "sign-partitioned" in rows["stem.conv"] or "zero-skipping" in rows["stem.conv"]
    assert f"output 'classes', instruction set {rp.info()['isa']}" in text
    assert "gamma" in image_net().summary(rp.Gamma())


def test_models_for_batches() -> None:
    core = _core.Model((70,), "features")
    hidden = core.add_activation("relu", core.add_dense("hidden", 0, values(1, 90, 70)), "relu")
    core.add_output("logits", core.add_dense("last", hidden, values(2, 60, 90)))
    model = rp.Model(core)
    many = model.for_batches_of(256)
    x = inputs(model, 300)
    assert "too few pixels" in model.summary()
    assert "too few pixels" not in many.summary()
    assert many.layers == model.layers
    for run in (
        lambda m: m(x),
        lambda m: rp.LRP(m, rp.AlphaBeta(2, 1)).attribute(x),
        lambda m: rp.Sensitivity(m).attribute(x),
    ):
        expected = run(model)
        assert np.abs(run(many) - expected).max() <= 1e-5 * np.abs(expected).max()


class OpenSource:
    """A network for any image size, as an ONNX file may describe it."""

    input_shape = (2, None, None)

    def __init__(self) -> None:
        self.outputs = ["y"]
        self.built: list[tuple[int, ...]] = []

    def build(self, sample_shape: tuple[int, ...], output: str | None = None) -> _core.Model:
        self.built.append(sample_shape)
        core = _core.Model(sample_shape, "image")
        at = core.add_conv("conv", 0, values(1, 3, 2, 3, 3))
        core.add_output("y", core.add_adaptive_average_pool("pool", at))
        return core


def test_open_sizes_come_from_the_input() -> None:
    source = OpenSource()
    model = rp.Model(source)
    assert source.built == []
    for read in (lambda: model.layers, model.summary, lambda: model.output_shape):
        with pytest.raises(ValueError, match=r"leaves sizes open, \(N, 2, any, any\)"):
            read()
    for size in ((5, 4), (8, 8), (5, 4)):
        assert model(values(1, 3, 2, *size)).shape == (3, 3, 1, 1)
        assert rp.LRP(model).attribute(values(1, 3, 2, *size)).shape == (3, 2, *size)
    assert source.built == [(2, 5, 4), (2, 8, 8)]
    assert model.layers == ["conv", "pool"]
    assert "3x7x8" in model.summary(sample_shape=(2, 9, 10))
    with pytest.raises(ValueError, match=r"x has shape \(1, 3, 5, 4\); accepted: \(N, 2, any, any"):
        model(values(1, 1, 3, 5, 4))


def test_plans_are_made_once_and_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model = vector_net()
    network = model.network((4,))
    first = model.plan(network, rp.composites.alpha2_beta1())
    assert model.plan(network, rp.composites.alpha2_beta1()) is first
    assert model.plan(network, rp.composites.alpha2_beta1(stabilizer=1e-3)) is not first
    assert model.plan(network, "gradient") is model.plan(network, "gradient") is not first
    monkeypatch.setenv("RELPROP_ISA", "reference")
    assert model.plan(network, rp.composites.alpha2_beta1()).isa == "reference"
    monkeypatch.undo()
    for k in range(model_module.KEPT_PLANS):
        model.plan(network, rp.composites.epsilon_plus(epsilon=k))
    assert model.plan(network, rp.composites.alpha2_beta1()) is not first
    assert len(model._plans) == model_module.KEPT_PLANS


def test_a_value_is_made_once_by_threads_that_meet() -> None:
    cache: Cache[object] = Cache(2)
    made = []

    def make() -> object:
        made.append(object())
        return made[-1]

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: cache.get("key", make), range(64)))
    assert len(made) == 1
    assert set(got) == set(made)


def test_values_in_turns_are_made_once() -> None:
    cache: Cache[list[int]] = Cache(2)
    made = []

    def make(key: int) -> list[int]:
        made.append(key)
        return [key]

    for key in [1, 1, 2, 1, 2, 2, 3, 3, 1]:
        assert cache.get(key, lambda key=key: make(key)) == [key]
    assert made == [1, 2, 3, 1]


def test_a_value_that_cannot_be_made_is_tried_again() -> None:
    cache: Cache[int] = Cache(2)
    with pytest.raises(ZeroDivisionError):
        cache.get("key", lambda: 1 // 0)
    assert cache.get("key", lambda: 5) == 5


def test_one_model_from_many_threads() -> None:
    model = image_net()
    rules: list[Any] = ["alpha2_beta1", "epsilon_plus", rp.Gamma(), rp.Epsilon(0.1)]
    x = inputs(model, 6)
    expected = {k: rp.LRP(image_net(), rule).attribute(x) for k, rule in enumerate(rules)}

    def work(k: int) -> bool:
        r = rp.LRP(model, rules[k % 4]).attribute(x, n_threads=1 + k % 2)
        return same(r, expected[k % 4]) and same(model(x), y)

    y = model(x)
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(40)))


def test_info() -> None:
    info = rp.info()
    assert list(info) == ["version", "isa", "isas", "threads", "openmp", "compiler"]
    assert info["version"] == rp.__version__
    assert info["isa"] in info["isas"]
    assert {"reference", "baseline"} <= set(info["isas"])
    assert info["threads"] >= 1
