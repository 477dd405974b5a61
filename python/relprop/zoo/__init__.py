"""What relprop ships, trained on MNIST. MODEL_CARD.md says how, on what, and how good it is."""

from __future__ import annotations

from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt

from relprop.experts import GaussianRBM
from relprop.model import Model, from_onnx

__all__ = ["digits", "digits_decoder", "digits_judge", "digits_rbm", "sample_digits"]


@cache
def digits() -> Model:
    """A small convolutional network for handwritten digits, trained on MNIST.

    Returns:
        The model: (N, 1, 28, 28) in [0, 1], white ink on black, to 10 logits. Loaded at the first
        call; every caller gets the same one.

    Raises:
        ImportError: the package onnx is not installed (``pip install relprop[onnx]``).
    """
    return _model("digits.onnx")


@cache
def digits_judge() -> Model:
    """A second network for handwritten digits, to judge what was made to please the first.

    It shares nothing with `digits()` but the training digits: other layers, seed and distortions.

    Returns:
        The model: (N, 1, 28, 28) in [0, 1], white ink on black, to 10 logits. Loaded at the first
        call; every caller gets the same one.

    Raises:
        ImportError: the package onnx is not installed (``pip install relprop[onnx]``).
    """
    return _model("digits_judge.onnx")


@cache
def digits_rbm() -> GaussianRBM:
    """A density of handwritten digits, trained on MNIST: 784 visible and 400 hidden units.

    Returns:
        The expert, for pictures (1, 28, 28) in [0, 1], white ink on black. Its log-densities differ
        by a few hundred nats between digits and noise, and the log-probability of a class by a few:
        a weight of 0.015 in `experts.Product` balances them. Loaded at the first call; every
        caller gets the same one.
    """
    with resources.as_file(resources.files(__name__) / "digits_rbm.npz") as path:
        return GaussianRBM.load(path)


@cache
def digits_decoder() -> Model:
    """The decoder of a variational autoencoder of handwritten digits: codes to pictures.

    Returns:
        The model: codes (N, 24), z ~ N(0, I) for digits like those of MNIST, to pictures
        (N, 1, 28, 28) in [0, 1], white ink on black. Loaded at the first call; every caller gets
        the same one.

    Raises:
        ImportError: the package onnx is not installed (``pip install relprop[onnx]``).
    """
    return _model("digits_decoder.onnx")


def sample_digits() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """One MNIST test digit per class (Y. LeCun, C. Cortes; CC BY-SA 3.0).

    Returns:
        Images, float32 (10, 1, 28, 28) in [0, 1], and their classes, int64 (10,).
    """
    with (
        (resources.files(__name__) / "sample_digits.npz").open("rb") as file,
        np.load(file) as data,
    ):
        image, label = data["image"], data["label"]
    return image[:, None].astype(np.float32) / np.float32(255), label.astype(np.int64)


def _model(name: str) -> Model:
    return from_onnx((resources.files(__name__) / name).read_bytes())
