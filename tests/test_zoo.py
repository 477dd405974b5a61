"""What is shipped is what the model card and the report say."""

from __future__ import annotations

import re
from dataclasses import fields
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from relprop import _rbm, zoo

FILES = resources.files(zoo)
ROOT = Path(__file__).resolve().parents[1]

AGREEMENT = 0.7


@pytest.fixture(scope="module")
def test_digits(data: Path) -> tuple[np.ndarray, np.ndarray]:
    """The 10,000 test digits, (N, 1, 28, 28) in [0, 1], and their classes."""
    with np.load(data / "mnist_data" / "mnist_test10k.npz") as file:
        x, y = file["x"], file["y"]
    assert x.shape == (10_000, 28, 28)
    return x[:, None].astype(np.float32) / np.float32(255), y


@pytest.fixture(scope="module", params=["digits", "digits_judge"])
def classifier(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def share(classifier: str, test_digits: tuple[np.ndarray, np.ndarray]) -> float:
    """Share of the test digits that a network names correctly."""
    x, y = test_digits
    return float((getattr(zoo, classifier)()(x).argmax(axis=1) == y).mean())


def card(name: str) -> str:
    """The part of the model card about one file."""
    text = (FILES / "MODEL_CARD.md").read_text(encoding="utf-8")
    parts = [part for part in re.split(r"^## ", text, flags=re.M) if part.startswith(f"`{name}")]
    assert len(parts) == 1, name
    return parts[0]


def test_accuracy(share: float) -> None:
    assert share >= 0.985


def test_card_and_report_state_the_accuracy(share: float, classifier: str) -> None:
    stated = re.search(
        r"([0-9.]+) % of the 10,000 MNIST test digits \((\d+) wrong\)", card(f"{classifier}()")
    )
    assert stated
    # A digit or two may lie so near a boundary that another instruction set decides otherwise.
    assert abs(int(stated[2]) - 10_000 * (1 - share)) <= 2.5
    assert float(stated[1]) == pytest.approx(100 - int(stated[2]) / 100)
    if classifier == "digits":
        report = (ROOT / "demo" / "sections.py").read_text(encoding="utf-8")
        assert f"{float(stated[1]):.1f} % of the" in report


@pytest.mark.parametrize(
    ("name", "limit"),
    [("digits", 1_000_000), ("digits_judge", 1_000_000), ("digits_decoder", 1_500_000)],
)
def test_size_and_parameters(name: str, limit: int) -> None:
    assert len((FILES / f"{name}.onnx").read_bytes()) < limit
    assert f"{getattr(zoo, name)().parameter_count:,} parameters" in card(f"{name}()")


def test_model_has_the_promised_interface() -> None:
    model = zoo.digits()
    assert model.input_shape == (1, 28, 28)
    assert model.output_shape == (10,)
    assert {"conv1", "conv4", "dense5", "dense6"} <= set(model.layers)
    assert zoo.digits() is model


def test_judge_and_decoder_have_the_promised_interface() -> None:
    judge, decoder = zoo.digits_judge(), zoo.digits_decoder()
    assert (judge.input_shape, judge.output_shape) == ((1, 28, 28), (10,))
    assert (decoder.input_shape, decoder.output_shape) == ((24,), (1, 28, 28))
    assert zoo.digits_judge() is judge
    assert zoo.digits_decoder() is decoder


@pytest.mark.parametrize("name", ["digits", "digits_judge", "digits_decoder"])
def test_network_agrees_with_onnxruntime(name: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    x, _ = zoo.sample_digits()
    if name == "digits_decoder":
        x = codes(32)
    session = onnxruntime.InferenceSession((FILES / f"{name}.onnx").read_bytes())
    (expected,) = session.run(None, {session.get_inputs()[0].name: x})
    error = np.abs(getattr(zoo, name)()(x) - expected).max()
    # Both sum products of at most 1,024 terms, six layers deep; 1e-5 is the bar for networks.
    assert error <= 1e-5 * np.abs(expected).max()


def codes(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 24), np.float32)


def test_decoder_draws_digits_of_every_class() -> None:
    pictures = zoo.digits_decoder()(codes(500))
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    # Ink of a digit: MNIST's mean is 0.13.
    assert 0.08 < pictures.mean() < 0.18
    named, judged = (network(pictures).argmax(1) for network in (zoo.digits(), zoo.digits_judge()))
    assert np.bincount(named, minlength=10).min() >= 10
    # Chance is 0.1; the two networks agree on pictures that are clearly some digit.
    assert (named == judged).mean() >= AGREEMENT


def test_density_prefers_every_real_digit_to_its_shuffled_self(
    test_digits: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> None:
    x = test_digits[0].reshape(10_000, 784)
    rbm = density()
    assert (rbm.log_density(x) > rbm.log_density(rng.permuted(x, axis=1))).all()


def density() -> _rbm.RBM:
    with (FILES / "digits_rbm.npz").open("rb") as file, np.load(file) as arrays:
        assert set(arrays) == {"W", "visible_bias", "hidden_bias", "sigma"}
        return _rbm.RBM(**arrays)


def test_expert_is_the_density_of_the_file() -> None:
    x, _ = zoo.sample_digits()
    expected = density().log_density(x.reshape(10, 784))
    # The expert sums 784 terms per hidden unit in float32; the largest activations are about 50.
    assert zoo.digits_rbm().log_density(x) == pytest.approx(expected, abs=1e-3)
    assert zoo.digits_rbm() is zoo.digits_rbm()


def test_density_is_a_machine_of_the_stated_size() -> None:
    rbm = density()
    assert len((FILES / "digits_rbm.npz").read_bytes()) < 1_500_000
    assert rbm.W.shape == (784, 400)
    assert rbm.sigma.shape == rbm.visible_bias.shape == (784,)
    assert rbm.hidden_bias.shape == (400,)
    assert all(getattr(rbm, field.name).dtype == np.float32 for field in fields(rbm))
    assert np.all(rbm.sigma == np.float32(0.28))


def test_card_states_the_likelihood(test_digits: tuple[np.ndarray, np.ndarray]) -> None:
    stated = re.search(
        r"log Z ≈ (-?[0-9.]+) nats.*?mean (-?[0-9.]+) nats", card("digits_rbm()"), re.S
    )
    assert stated
    score = density().log_density(test_digits[0].reshape(10_000, 784)).mean()
    assert score - float(stated[1]) == pytest.approx(float(stated[2]), abs=0.1)


def test_samples_are_one_digit_per_class_and_named_correctly() -> None:
    x, label = zoo.sample_digits()
    assert x.shape == (10, 1, 28, 28)
    assert x.dtype == np.float32
    assert label.dtype == np.int64
    assert label.tolist() == list(range(10))
    assert x.min() == 0
    assert x.max() == 1
    assert zoo.digits()(x).argmax(axis=1).tolist() == label.tolist()


def test_samples_are_the_test_digits_they_claim_to_be(data: Path) -> None:
    with (FILES / "sample_digits.npz").open("rb") as file, np.load(file) as samples:
        index, image, label = samples["test_index"], samples["image"], samples["label"]
        assert "CC BY-SA 3.0" in str(samples["licence"])
    with np.load(data / "mnist_data" / "mnist_test10k.npz") as file:
        assert np.array_equal(file["x"][index], image)
        assert np.array_equal(file["y"][index], label)


def test_every_caller_gets_samples_of_its_own() -> None:
    x, label = zoo.sample_digits()
    x[:], label[:] = 0, 0
    again, labels = zoo.sample_digits()
    assert again.max() == 1
    assert labels[9] == 9


def test_without_onnx_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in [n for n in sys.modules if n == "onnx" or n.startswith(("onnx.", "relprop._onnx"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delattr("relprop._onnx", raising=False)
    zoo.digits.cache_clear()
    with pytest.raises(ImportError, match=r"pip install relprop\[onnx\]"):
        zoo.digits()
    zoo.digits.cache_clear()
