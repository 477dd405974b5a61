"""relprop.evaluate: what is removed when, areas, continuity, and the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from PIL import Image

import relprop as rp
from onnx_files import small_network
from relprop import _core, evaluate
from relprop.cli import main
from relprop.evaluate._perturb import Regions, replacement

Array = npt.NDArray[Any]


def linear_model(shape: tuple[int, ...], weight: Array) -> rp.Model:
    """Logits are sums of weighted inputs: removing a pixel to zero takes its product away."""
    core = _core.Model(shape, "x")
    core.add_reshape("flat", 0, (int(np.prod(shape)),))
    core.add_dense("dense", 1, np.ascontiguousarray(weight, np.float32))
    core.add_output("y", 2)
    return rp.Model(core)


@pytest.fixture
def model(rng: np.random.Generator) -> rp.Model:
    return linear_model((2, 4, 6), rng.standard_normal((3, 48)))


@pytest.fixture
def x(rng: np.random.Generator) -> Array:
    return rng.standard_normal((5, 2, 4, 6)).astype(np.float32)


def by_hand(model: rp.Model, x: Array, order: Array, target: int, fill: float) -> Array:
    """The output of one sample as its pixels (y, x) become the fill in this order."""
    scores = [model(x[None])[0, target]]
    for y, column in order:
        x = x.copy()
        x[:, y, column] = fill
        scores.append(model(x[None])[0, target])
    return np.array(scores)


def pixels_by(relevance: Array) -> Array:
    flat = np.argsort(-relevance.sum(0).ravel(), kind="stable")
    return np.stack(np.unravel_index(flat, relevance.shape[1:]), 1)


def test_pixel_flipping_by_hand(model: rp.Model, x: Array, rng: np.random.Generator) -> None:
    relevance = rng.standard_normal(x.shape).astype(np.float32)
    for order, sign in (("most", 1), ("least", -1)):
        curve = evaluate.pixel_flipping(
            model, x, relevance, 1, order=order, fill=0.5, steps=24, n_threads=1
        )
        assert np.array_equal(curve.removed, np.arange(25) / 24)
        for i in range(len(x)):
            expected = by_hand(model, x[i], pixels_by(sign * relevance[i]), 1, 0.5)
            np.testing.assert_allclose(curve.scores[i], expected, atol=1e-5)
    area = np.trapezoid(curve.scores, curve.removed, axis=1)
    np.testing.assert_allclose(curve.area, area, rtol=1e-12)


def test_the_products_of_a_linear_model_are_its_best_order(model: rp.Model, x: Array) -> None:
    """Gradient times input orders pixels exactly by what removing them to zero takes away."""
    methods = {
        "product": rp.GradientTimesInput(model),
        "gradient": rp.Gradient(model),
        "given": rp.Gradient(model).attribute(x),
        "function": lambda x, target: rp.Gradient(model).attribute(x, target),
    }
    report = evaluate.compare(model, x, methods, fills=[0.0], steps=24)
    best = report.row("product")
    for row in report.rows:
        assert (best.most.area <= row.most.area + 1e-6).all()
        assert (best.least.area >= row.least.area - 1e-6).all()
    assert best.between > report.row("gradient").between
    for name in ("given", "function"):
        assert np.array_equal(report.row(name).most.scores, report.row("gradient").most.scores)
    assert str(report).count("constant") == 5
    most = evaluate.selectivity(model, x, rp.GradientTimesInput(model).attribute(x), region=2)
    assert most.shape == (5,)


def test_fractions_and_regions(model: rp.Model, x: Array) -> None:
    curve = evaluate.pixel_flipping(model, x, x, region=3, fraction=0.5, steps=9, fill=0.0)
    assert Regions(x.shape[1:], 3).grid == (2, 2)  # of 3 x 3 and, at the lower edge, 1 x 3
    assert np.array_equal(curve.removed, [0, 0.25, 0.5])
    sums = Regions(x.shape[1:], 3).sums(x)
    np.testing.assert_allclose(sums[:, 1], x[:, :, :3, 3:].sum((1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(sums[:, 2], x[:, :, 3:, :3].sum((1, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("shape", [(7,), (3, 10), (2, 6, 5)])
def test_all_kinds_of_samples(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    model = linear_model(shape, rng.standard_normal((3, int(np.prod(shape)))))
    x = rng.standard_normal((4, *shape)).astype(np.float32)
    for fill in ("background", "mean", "noise", *(["blur"] if len(shape) > 1 else [])):
        curve = evaluate.pixel_flipping(model, x, x, fill=fill, region=2, score="probability")
        assert ((curve.scores >= 0) & (curve.scores <= 1)).all()
        # In the end nothing is left but the fill.
        whole = np.ascontiguousarray(replacement(x, fill, 0))
        logits = model(whole).astype(np.float64)
        shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        target = model(x).argmax(1)
        np.testing.assert_allclose(curve.scores[:, -1], shares[range(4), target], rtol=1e-5)


def test_fills(x: Array) -> None:
    low, high = x.min((0, 2, 3)), x.max((0, 2, 3))
    assert np.array_equal(replacement(x, "background", 0)[3, :, 1, 2], low)
    np.testing.assert_allclose(replacement(x, "mean", 0)[0, :, 0, 0], x.mean((0, 2, 3)), rtol=1e-5)
    noise = replacement(x, "noise", 0)
    assert ((noise >= low[:, None, None]) & (noise <= high[:, None, None])).all()
    assert np.array_equal(noise[1:2], replacement(x, "noise", 0)[1:2])
    assert not np.array_equal(noise, replacement(x, "noise", 1))
    constant = replacement(x, np.array([[[1.0]], [[2.0]]]), 0)
    assert (constant[:, 0] == 1).all()
    assert (constant[:, 1] == 2).all()
    blurred = replacement(np.pad(x, ((0, 0), (0, 0), (4, 4), (4, 4))), "blur", 0)
    assert abs(blurred).max() < abs(x).max()
    flat = np.full((1, 1, 9, 9), 3, np.float32)
    np.testing.assert_allclose(replacement(flat, "blur", 0), flat, rtol=1e-6)


def test_ties_and_random_order_depend_on_the_seed_alone(model: rp.Model, x: Array) -> None:
    zeros = np.zeros_like(x)
    run = lambda **more: evaluate.pixel_flipping(model, x, zeros, fill=0.0, **more).scores  # noqa: E731
    assert np.array_equal(run(), run())
    assert not np.array_equal(run(), run(random_seed=1))
    assert np.array_equal(run(), run(order="random"))
    single = evaluate.pixel_flipping(model, x[:1], zeros[:1], fill=0.0).scores
    assert np.array_equal(single, run()[:1])


def test_continuity_by_hand(model: rp.Model, x: Array) -> None:
    """The gradient of a linear model never changes; gradient times input does as the input does."""
    assert np.array_equal(evaluate.continuity(rp.Gradient(model), x), np.zeros(5))
    method = rp.GradientTimesInput(model)
    target = model(x).argmax(1)
    ratios = []
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if (dy, dx) == (0, 0):
                continue
            padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
            moved = np.ascontiguousarray(padded[:, :, 1 - dy : 5 - dy, 1 - dx : 7 - dx])
            change = np.abs(method.attribute(moved, target) - method.attribute(x, target))
            step = np.sqrt(((moved - x) ** 2).sum((1, 2, 3)))
            ratios.append(change.sum((1, 2, 3)) / step)
    actual = evaluate.continuity(method, x)
    np.testing.assert_allclose(actual, np.max(ratios, axis=0), rtol=1e-4)
    relative = evaluate.continuity(method, x, relative=True)
    total = np.abs(method.attribute(x)).sum((1, 2, 3))
    np.testing.assert_allclose(relative, actual / total, rtol=1e-4)
    noisy = [evaluate.continuity(method, x, shift=0, noise=0.1, random_seed=s) for s in (0, 0, 1)]
    assert np.array_equal(noisy[0], noisy[1])
    assert not np.array_equal(noisy[0], noisy[2])


def bad_calls(model: rp.Model, x: Array) -> dict[str, tuple[Any, str]]:
    flip = lambda **more: evaluate.pixel_flipping(model, x, **{"relevance": x, **more})  # noqa: E731
    compare = lambda **more: evaluate.compare(model, x, **{"methods": {"x": x}, **more})  # noqa: E731
    return {
        "order": (lambda: flip(order="best"), "order = 'best'"),
        "score": (lambda: flip(score="logit"), "score = 'logit'"),
        "fill": (lambda: flip(fill="black"), "fill = 'black'"),
        "fill shape": (lambda: flip(fill=np.zeros(5)), "fill has shape (5,)"),
        "fraction": (lambda: flip(fraction=0), "fraction = 0"),
        "steps": (lambda: flip(steps=0), "steps = 0"),
        "region": (lambda: flip(region=1.5), "region = 1.5"),
        "relevance": (lambda: flip(relevance=x[:2]), "relevance has shape (2, 2, 4, 6)"),
        "target": (lambda: flip(target=3), "target = 3"),
        "targets": (lambda: flip(target=[[0, 1]] * 5), "several classes"),
        "empty": (lambda: evaluate.pixel_flipping(model, x[:0], x[:0]), "x has no samples"),
        "model": (lambda: evaluate.pixel_flipping("net", x, x), "a relprop.Model"),
        "methods": (lambda: compare(methods=[1]), "methods = [1]"),
        "name": (lambda: compare(methods={"random order": x}), "the baseline's name"),
        "regions": (lambda: compare(regions=[]), "regions = []"),
        "draws": (lambda: compare(random_draws=0), "random_draws = 0"),
        "row": (lambda: compare().row("y"), "no row for 'y'"),
        "method": (lambda: evaluate.continuity(x, x), "an object such as"),
        "noise": (lambda: evaluate.continuity(rp.LRP(model), x, noise=-1), "noise = -1"),
        "alone": (
            lambda: evaluate.continuity(rp.LRP(model), np.ones_like(x)),
            "x[0] equals all its neighbours",
        ),
    }


@pytest.mark.parametrize("name", list(bad_calls(None, np.zeros(1))))  # type: ignore[arg-type]
def test_bad_calls(name: str, model: rp.Model, x: Array) -> None:
    call, words = bad_calls(model, x)[name]
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert words in str(caught.value)


def test_lrp_is_ahead_of_sensitivity_on_the_ink_of_digits(data: Path) -> None:
    """The first fifth of the pixels is about the ink of a digit."""
    with np.load(data / "mnist_data/mnist_test10k.npz") as stored:
        x = stored["x"][:60, None].astype(np.float32) / 255
    net = rp.zoo.digits()
    methods = {
        "alpha2_beta1": rp.LRP(net, "alpha2_beta1"),
        "epsilon": rp.LRP(net, rp.Epsilon()),
        "sensitivity": rp.Sensitivity(net),
    }
    report = evaluate.compare(net, x, methods, fraction=0.2, steps=8, random_draws=1)
    height = {row.method: row.most.area.mean() for row in report.rows}
    assert max(height["alpha2_beta1"], height["epsilon"]) < 0.75 * height["sensitivity"]
    assert height["sensitivity"] < height["random order"]


def test_the_command(tmp_path: Path, capsys: Any, rng: np.random.Generator) -> None:
    onnx.save(small_network(), tmp_path / "net.onnx")
    for i in range(2):
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    picture = tmp_path / "curves.png"
    model, folder = str(tmp_path / "net.onnx"), str(tmp_path)
    options = ["--methods", "alpha_beta:2,1", "sensitivity", "--steps", "3", "--continuity"]
    fills = ["--fills", "blur", "0.5", "--mean", "0.5", "-o", str(picture)]
    assert main(["evaluate", model, folder, *options, *fills]) == 0
    lines = capsys.readouterr().out
    assert "2 samples" in lines
    assert lines.count("sensitivity") == 3
    with Image.open(picture) as image:
        assert image.format == "PNG"
    x, y = rng.integers(0, 256, (3, 28, 28), dtype=np.uint8), np.array([1, 2, 3])
    np.savez(tmp_path / "digits.npz", x=x, y=y)
    short = ["--methods", "epsilon", "--steps", "2", "--count", "2", "--target", "label"]
    assert main(["evaluate", "digits", str(tmp_path / "digits.npz"), *short]) == 0
    expected = evaluate.compare(
        rp.zoo.digits(),
        x[:2, None].astype(np.float32) / np.float32(255),
        {"epsilon": rp.LRP(rp.zoo.digits(), rp.Epsilon())},
        y[:2],
        steps=2,
    )
    assert capsys.readouterr().out.strip() == str(expected)


BAD_COMMANDS = {
    "missing": (["no.npz"], "no.npz"),
    "no x": (["other.npz"], "has the arrays ['z']"),
    "no archive": (["text.npz"], "text.npz"),
    "no pictures": (["empty"], "empty: no pictures"),
    "no labels": (["plain.npz", "--target", "label"], "plain.npz has no y"),
    "method": (["plain.npz", "--methods", "lime"], "no composite is called 'lime'"),
    "shape": (["wrong.npz"], "x has shape"),
}


@pytest.mark.parametrize("name", BAD_COMMANDS)
def test_bad_commands(name: str, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("text.npz").write_text("text")
    np.savez("other.npz", z=np.zeros(3))
    np.savez("plain.npz", x=np.zeros((2, 1, 28, 28), np.float32))
    np.savez("wrong.npz", x=np.zeros((2, 27, 28), np.float32))
    arguments, words = BAD_COMMANDS[name]
    assert main(["evaluate", "digits", *arguments]) == 2
    assert words in capsys.readouterr().err
