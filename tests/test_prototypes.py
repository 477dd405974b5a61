"""Prototypes of real networks, three ways: the maximised network is sure, a second one agrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import relprop as rp
from networks import GAN_GENERATOR, LENET
from relprop import zoo
from relprop.code_space import interpolation

Array = npt.NDArray[Any]

CLASSES = range(10)


def probability(model: rp.Model, x: Array) -> Array:
    y = model(np.ascontiguousarray(x)).astype(np.float64)
    e = np.exp(y - y.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def resized(x: Array) -> Array:
    weight = interpolation(28, 32)
    return np.einsum("ai,ncij,bj->ncab", weight, x, weight).astype(np.float32)


def certain(found: rp.Prototypes) -> bool:
    return bool((found.probability >= 0.99).all())


@pytest.fixture(scope="module")
def simple() -> rp.Prototypes:
    return rp.ActivationMaximization(zoo.digits()).maximize(CLASSES, n_threads=1)


@pytest.fixture(scope="module")
def with_expert() -> rp.Prototypes:
    prior = rp.experts.Product([zoo.digits_rbm()], [0.015])
    return rp.ActivationMaximization(zoo.digits(), prior).maximize(
        CLASSES, box=(0, 1), noise=0.5, restarts=8, n_threads=1
    )


def test_simple_prototypes_please_their_own_network(simple: rp.Prototypes) -> None:
    assert certain(simple)


def test_an_expert_makes_prototypes_that_another_network_knows(
    simple: rp.Prototypes, with_expert: rp.Prototypes
) -> None:
    judged = probability(zoo.digits_judge(), with_expert.prototypes).argmax(1)
    assert (judged == np.arange(10)).sum() >= 9
    rbm = zoo.digits_rbm()
    assert (rbm.log_density(with_expert.prototypes) > rbm.log_density(simple.prototypes)).all()


def test_code_space_of_the_shipped_decoder() -> None:
    space = rp.CodeSpace(zoo.digits_decoder(), 0.001)
    found = rp.ActivationMaximization(zoo.digits(), space).maximize(CLASSES, n_threads=1)
    assert certain(found)
    assert (probability(zoo.digits_judge(), found.prototypes).argmax(1) == np.arange(10)).all()


def test_code_space_of_a_gan(data: Path) -> None:
    """The digits network is maximised and LeNet, which reads 32 x 32 pixels, is asked."""
    generator = rp.from_onnx(data / GAN_GENERATOR.file)
    space = rp.CodeSpace(generator, 0.02, 0.5, 0.5)
    found = rp.ActivationMaximization(zoo.digits(), space).maximize(
        CLASSES, restarts=16, steps=150, n_threads=1
    )
    assert certain(found)
    pictures = generator(found.codes).reshape(10, 1, 28, 28) * np.float32(0.5) + np.float32(0.5)
    assert np.allclose(found.prototypes, pictures, atol=1e-6)
    lenet = rp.from_onnx(data / LENET.file)
    assert (probability(lenet, resized(found.prototypes)).argmax(1) == np.arange(10)).all()


def test_a_generator_of_another_size(data: Path) -> None:
    """LeNet behind the generator and a bilinear resize."""
    lenet = rp.from_onnx(data / LENET.file)
    generator = rp.from_onnx(data / GAN_GENERATOR.file)
    space = rp.CodeSpace(generator, 0.01, 0.5, 0.5, picture=(1, 28, 28))
    found = rp.ActivationMaximization(lenet, space).maximize([3, 7], steps=5, n_threads=1)
    pictures = generator(found.codes).reshape(-1, 1, 28, 28) * np.float32(0.5) + np.float32(0.5)
    assert np.allclose(found.prototypes, resized(pictures), atol=1e-5)
    assert np.allclose(found.probability, probability(lenet, found.prototypes)[[0, 1], [3, 7]],
                       atol=1e-4)  # fmt: skip


def test_an_rbm_is_saved_loaded_and_fitted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = (rng.random((200, 1, 4, 4)) < np.linspace(0.1, 0.9, 16).reshape(4, 4)).astype(np.float32)
    rbm = rp.experts.GaussianRBM.fit(x, 6, epochs=5)
    assert rbm.W.shape == (16, 6)
    rbm.save(tmp_path / "rbm.npz")
    loaded = rp.experts.GaussianRBM.load(tmp_path / "rbm.npz")
    assert np.array_equal(loaded.log_density(x), rbm.log_density(x))
    u = (x.reshape(200, 16) / rbm.sigma).astype(np.float64) @ rbm.W + rbm.hidden_bias
    z = (x.reshape(200, 16) - rbm.visible_bias) / rbm.sigma
    assert np.allclose(rbm.log_density(x), np.logaddexp(0, u).sum(1) - (z**2).sum(1) / 2, rtol=1e-5)
    assert rbm.log_density(x).mean() > rbm.log_density(rng.permuted(x, axis=0)[:, :, ::-1]).mean()


def test_files_that_are_no_rbm(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rp.experts.GaussianRBM.load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(ValueError, match=r"text\.npz: not a readable"):
        rp.experts.GaussianRBM.load(tmp_path / "text.npz")
    np.savez(tmp_path / "half.npz", W=np.ones((2, 3)))
    with pytest.raises(ValueError, match="no visible_bias, hidden_bias, sigma; accepted: W"):
        rp.experts.GaussianRBM.load(tmp_path / "half.npz")
    np.savez(tmp_path / "wrong.npz", W=np.ones((2, 3)), visible_bias=np.ones(2),
             hidden_bias=np.ones(3), sigma=np.zeros(2))  # fmt: skip
    with pytest.raises(ValueError, match=r"wrong\.npz: GaussianRBM: sigma holds 0"):
        rp.experts.GaussianRBM.load(tmp_path / "wrong.npz")
    with pytest.raises(ValueError, match=r"x has shape \(2, 5\); accepted: \(N, ...\) with 784"):
        zoo.digits_rbm().log_density(np.zeros((2, 5), np.float32))
