"""The shipped network and digits are what the model card and the report say."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from relprop import zoo

FILES = resources.files(zoo)
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def share(data: Path) -> float:
    """Share of the 10,000 test digits that the network names correctly."""
    with np.load(data / "mnist_data" / "mnist_test10k.npz") as file:
        x, y = file["x"], file["y"]
    assert x.shape == (10_000, 28, 28)
    output = zoo.digits()(x[:, None].astype(np.float32) / np.float32(255))
    return float((output.argmax(axis=1) == y).mean())


def test_accuracy(share: float) -> None:
    assert share >= 0.985


def test_card_and_report_state_the_accuracy(share: float) -> None:
    card = (FILES / "MODEL_CARD.md").read_text(encoding="utf-8")
    stated = re.search(r"([0-9.]+) % of the 10,000 MNIST test digits \((\d+) wrong\)", card)
    assert stated
    # A digit or two may lie so near a boundary that another instruction set decides otherwise.
    assert abs(int(stated[2]) - 10_000 * (1 - share)) <= 2.5
    assert float(stated[1]) == pytest.approx(100 - int(stated[2]) / 100)
    report = (ROOT / "demo" / "sections.py").read_text(encoding="utf-8")
    assert f"{float(stated[1]):.1f} % of the" in report


def test_size_and_parameters() -> None:
    assert len((FILES / "digits.onnx").read_bytes()) < 1_000_000
    card = (FILES / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"{zoo.digits().parameter_count:,} parameters" in card


def test_model_has_the_promised_interface() -> None:
    model = zoo.digits()
    assert model.input_shape == (1, 28, 28)
    assert model.output_shape == (10,)
    assert {"conv1", "conv4", "dense5", "dense6"} <= set(model.layers)
    assert zoo.digits() is model


def test_network_agrees_with_onnxruntime() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    x, _ = zoo.sample_digits()
    session = onnxruntime.InferenceSession((FILES / "digits.onnx").read_bytes())
    (expected,) = session.run(None, {"image": x})
    error = np.abs(zoo.digits()(x) - expected).max()
    # Both sum products of at most 576 terms, six layers deep; 1e-5 is the bar for whole networks.
    assert error <= 1e-5 * np.abs(expected).max()


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
