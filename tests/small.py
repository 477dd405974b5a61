"""Small networks written down by hand, without ONNX, for tests of the Python side."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import relprop as rp
from relprop import _core

Array = npt.NDArray[Any]


def values(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def inputs(model: rp.Model, count: int, seed: int = 0) -> Array:
    return values(seed, count, *(size or 6 for size in model.input_shape))


def vector_core() -> _core.Model:
    """4 -> 5 -> 3 with two outputs: the logits, and the hidden layer."""
    core = _core.Model((4,), "features")
    hidden = core.add_dense("block.hidden", 0, values(1, 5, 4), values(2, 5))
    relu = core.add_activation("block.relu", hidden, "relu")
    core.add_output("logits", core.add_dense("logits", relu, values(3, 3, 5), values(4, 3)))
    core.add_output("block.relu", relu)
    core.add_dense("unused", 0, values(5, 2, 4))
    return core


def image_core() -> _core.Model:
    """Two convolutions with a skip connection, pooling, two dense layers."""
    core = _core.Model((2, 6, 6), "image")
    at = core.add_conv("stem.conv", 0, values(1, 4, 2, 3, 3), values(2, 4), pad_begin=(1, 1),
                       pad_end=(1, 1))  # fmt: skip
    at = core.add_batch_norm("stem.norm", at, values(3, 4), values(4, 4))
    skip = core.add_activation("stem.relu", at, "relu")
    at = core.add_conv("body/conv", skip, values(5, 4, 4, 1, 1), values(6, 4))
    at = core.add_activation("body/relu", at, "relu")
    at = core.add_add("sum", [skip, at])
    at = core.add_average_pool("pool", at, kernel=(2, 2), stride=(2, 2))
    at = core.add_reshape("flat", at, (36,))
    at = core.add_dense("head.one", at, values(7, 8, 36), values(8, 8))
    at = core.add_activation("head.relu", at, "relu")
    core.add_output("classes", core.add_dense("head.two", at, values(9, 5, 8), values(10, 5)))
    return core


def map_core() -> _core.Model:
    """A convolution: its output is a map (2, 4, 4)."""
    core = _core.Model((3, 6, 6), "image")
    core.add_output("map", core.add_conv("conv", 0, values(1, 2, 3, 3, 3), values(2, 2)))
    return core


def softmax_core() -> _core.Model:
    core = _core.Model((4,), "features")
    at = core.add_dense("logits", 0, values(1, 3, 4), values(2, 3))
    core.add_output("probabilities", core.add_softmax("softmax", at, 0))
    return core


def vector_net() -> rp.Model:
    return rp.Model(vector_core())


def image_net() -> rp.Model:
    return rp.Model(image_core())


def map_net() -> rp.Model:
    return rp.Model(map_core())


def softmax_net() -> rp.Model:
    return rp.Model(softmax_core())
