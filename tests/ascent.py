"""Networks, experts and what is climbed, once for relprop and once in torch, for any dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

import relprop as rp
from relprop import _core
from small import values

Array = npt.NDArray[Any]
Value = Callable[[Any], Any]  # x (1, ...) -> a scalar, in torch

SHAPE = (2, 6, 6)
CODE = (5,)

_CONV, _CONV_BIAS = values(1, 4, 2, 3, 3), values(2, 4)
_POINT, _POINT_BIAS = values(3, 4, 4, 1, 1), values(4, 4)
_HEAD, _HEAD_BIAS = values(5, 5, 36) / 4, values(6, 5)
_UP, _UP_BIAS = values(7, 18, 5) / 2, values(8, 18)


def core(*, softmax: bool = False) -> _core.Model:
    """Convolutions with a smooth and a broken activation, a skip connection, five classes."""
    model = _core.Model(SHAPE, "image")
    conv = model.add_conv("conv", 0, _CONV, _CONV_BIAS, pad_begin=(1, 1), pad_end=(1, 1))
    skip = model.add_activation("relu", conv, "relu")
    point = model.add_conv("point", skip, _POINT, _POINT_BIAS)
    smooth = model.add_activation("tanh", point, "tanh")
    merged = model.add_add("sum", [skip, smooth])
    pooled = model.add_average_pool("pool", merged, kernel=(2, 2), stride=(2, 2))
    flat = model.add_reshape("flat", pooled, (36,))
    out = model.add_dense("head", flat, _HEAD, _HEAD_BIAS)
    model.add_output("classes", model.add_softmax("softmax", out, 0) if softmax else out)
    return model


def model(*, softmax: bool = False) -> rp.Model:
    return rp.Model(core(softmax=softmax))


def generator() -> rp.Model:
    """5 -> 18 in (-1, 1), a picture (2, 3, 3)."""
    net = _core.Model(CODE, "z")
    net.add_output("y", net.add_activation("t", net.add_dense("d", 0, _UP, _UP_BIAS), "tanh"))
    return rp.Model(net)


def _like(a: Array, x: Any) -> Any:
    return torch.from_numpy(a).to(x.dtype)


def layers(x: Any) -> dict[str, Any]:
    """The values of all layers of `core`."""
    found = {}
    found["conv"] = F.conv2d(x, _like(_CONV, x), _like(_CONV_BIAS, x), padding=1)
    found["relu"] = F.relu(found["conv"])
    found["point"] = F.conv2d(found["relu"], _like(_POINT, x), _like(_POINT_BIAS, x))
    found["tanh"] = torch.tanh(found["point"])
    found["sum"] = found["relu"] + found["tanh"]
    found["pool"] = F.avg_pool2d(found["sum"], 2)
    found["head"] = F.linear(found["pool"].flatten(1), _like(_HEAD, x), _like(_HEAD_BIAS, x))
    return found


def picture(z: Any) -> Any:
    """What `generator` gives, resized to SHAPE and carried to [0, 1]."""
    y = torch.tanh(F.linear(z, _like(_UP, z), _like(_UP_BIAS, z))).reshape(-1, 2, 3, 3)
    return F.interpolate(y, size=(6, 6), mode="bilinear", align_corners=False) * 0.5 + 0.5


OBJECTIVES: dict[str, tuple[rp.objectives.Objective, Value]] = {
    "log_probability": (
        rp.objectives.LogProbability(2),
        lambda x: F.log_softmax(layers(x)["head"], 1)[0, 2],
    ),
    "logit": (rp.objectives.Logit(4), lambda x: layers(x)["head"][0, 4]),
    "neuron": (rp.objectives.Neuron("tanh", (1, 2, 3)), lambda x: layers(x)["tanh"][0, 1, 2, 3]),
    "fused": (rp.objectives.Neuron("conv", (3, 0, 5)), lambda x: layers(x)["conv"][0, 3, 0, 5]),
    "channel": (rp.objectives.Channel("pool", 1), lambda x: layers(x)["pool"][0, 1].mean()),
    "layer": (rp.objectives.Layer("relu"), lambda x: (layers(x)["relu"] ** 2).mean()),
}

_MEAN = values(10, *SHAPE)
_VARIANCE = np.abs(values(11, *SHAPE)) + np.float32(0.5)
_ROOT = values(12, 72, 72) / 12
_COVARIANCE = (_ROOT @ _ROOT.T + np.eye(72)).astype(np.float32)
RBM = {
    "W": values(13, 72, 20) / 4,
    "visible_bias": values(14, 72),
    "hidden_bias": values(15, 20),
    "sigma": np.abs(values(16, 72)) + np.float32(0.5),
}


def variation(x: Any, exponent: float) -> Any:
    right = F.pad(x[..., :, 1:] - x[..., :, :-1], (0, 1))
    below = F.pad(x[..., 1:, :] - x[..., :-1, :], (0, 0, 0, 1))
    square = right**2 + below**2
    return torch.where(square > 0, square, 1.0).pow(exponent / 2)[square > 0].sum()


def gaussian(x: Any, covariance: Array) -> Any:
    d = (x - _like(_MEAN, x)).flatten()
    return -0.5 * d @ torch.linalg.solve(_like(covariance, x), d)


def rbm_log_density(x: Any) -> Any:
    w, a, c, s = (_like(RBM[name], x) for name in ("W", "visible_bias", "hidden_bias", "sigma"))
    flat = x.flatten()
    return F.softplus(c + (flat / s) @ w).sum() - ((flat - a) ** 2 / (2 * s**2)).sum()


def quartic(x: Array) -> tuple[float, Array]:
    """A log-density as a user would write it."""
    return -float((x.astype(np.float64) ** 4).sum()), -4 * x**3


EXPERTS: dict[str, tuple[Any, Value]] = {
    "none": (None, lambda x: 0 * x.sum()),
    "l2": (rp.experts.L2(0.3), lambda x: -0.3 * (x**2).sum()),
    "l2_mean": (
        rp.experts.L2(0.3, _MEAN),
        lambda x: -0.3 * ((x - _like(_MEAN, x)) ** 2).sum(),
    ),
    "variation": (rp.experts.TotalVariation(0.2), lambda x: -0.2 * variation(x, 2)),
    "variation_1.5": (rp.experts.TotalVariation(0.2, 1.5), lambda x: -0.2 * variation(x, 1.5)),
    "variation_1": (rp.experts.TotalVariation(0.2, 1), lambda x: -0.2 * variation(x, 1)),
    "diagonal": (
        rp.experts.Gaussian(_MEAN, _VARIANCE, weight=0.5),
        lambda x: 0.5 * gaussian(x, np.diag(_VARIANCE.ravel())),
    ),
    "covariance": (
        rp.experts.Gaussian(_MEAN, covariance=_COVARIANCE),
        lambda x: gaussian(x, _COVARIANCE),
    ),
    "rbm": (rp.experts.GaussianRBM(**RBM), rbm_log_density),
    "callable": (quartic, lambda x: -(x**4).sum()),
    "product": (
        rp.experts.Product(
            [rp.experts.L2(0.1), quartic, rp.experts.GaussianRBM(**RBM)], [1, 0.5, 2]
        ),
        lambda x: -0.1 * (x**2).sum() - 0.5 * (x**4).sum() + 2 * rbm_log_density(x),
    ),
}


def autograd(value: Value, x: Array) -> Array:
    """The gradient of one sample's value, in x's dtype."""
    at = torch.from_numpy(x[None].copy()).requires_grad_()
    value(at).backward()
    assert at.grad is not None
    return at.grad[0].numpy()


def finite_differences(value: Value, x: Array, h: float = 1e-6) -> Array:
    """Central differences in float64."""
    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        sides = []
        for step in (h, -h):
            moved = x.astype(np.float64)[None]
            moved[(0, *index)] += step
            sides.append(float(value(torch.from_numpy(moved))))
        gradient[index] = (sides[0] - sides[1]) / (2 * h)
    return gradient
