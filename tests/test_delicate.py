"""Numerically delicate spots, each against the float64 oracle on a small torch module."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import oracle
import relprop as rp
from cases import RULES
from public import method, public_rule

torch = pytest.importorskip("torch", reason="torch is not installed")

from oracle_torch import TorchNetwork  # noqa: E402

nn, F = torch.nn, torch.nn.functional
Array = npt.NDArray[Any]

RELATIVE = 1e-5
NUDGES = 4
CHOSEN = {name: RULES[name] for name in RULES if name not in ("norm", "z_box")}
CHOSEN["gradient"] = oracle.GRADIENT


# By name: for the oracle, and for relprop.
Rules = dict[str, tuple[Any, Any]]
EVERY: Rules = {name: (rule, rule) for name, rule in CHOSEN.items()}


def check(module: Any, x: Array, start: Array | None = None, rules: Rules = EVERY) -> None:
    """Output and relevance of every rule are the oracle's.

    Where a sum nearly cancels, float32 is off whoever computes it. How far is measured, by rounding
    the values of the network to float32 and by moving the input within its own rounding, and ten
    times that is allowed.
    """
    network = TorchNetwork(module.eval(), torch.from_numpy(x))
    rounded = network.rounded()
    nudges = np.random.default_rng(1).choice([-1.0, 1.0], (NUDGES, *x.shape)) * 2.0**-24
    model = rp.from_torch(module.eval(), torch.from_numpy(x))
    y = network.forward(x)
    assert np.abs(model(x) - y).max() <= RELATIVE * np.abs(y).max()
    start = y.astype(np.float32) if start is None else start
    for name, (rule, public) in rules.items():
        expected = network.explain(x, start, rule).relevance
        moved = [network.explain(x * (1 + nudge), start, rule) for nudge in nudges]
        unavoidable = max(
            np.abs(other.relevance - expected).max()
            for other in (rounded.explain(x, start, rule), *moved)
        )
        actual = method(model, public).attribute(x, start=start)
        allowed = RELATIVE * np.abs(expected).max() + 10 * unavoidable
        assert np.abs(actual - expected).max() <= allowed, name


def kernel_layers(module: Any, x: Array) -> list[str]:
    """Names of the layers that are contractions of their own, after folding."""
    model = rp.from_torch(module.eval(), torch.from_numpy(x))
    network = model.network(x.shape[1:])
    plan = model.plan(network, rp.Composite())
    return [layer["name"] for layer in plan.layers if layer["op"] == "linear"]


def norm(channels: int) -> Any:
    layer = nn.BatchNorm2d(channels)
    nn.init.uniform_(layer.weight, -1.5, 1.5)
    nn.init.uniform_(layer.bias, -0.5, 0.5)
    layer.running_mean.uniform_(-0.5, 0.5)
    layer.running_var.uniform_(0.5, 1.5)
    return layer


class AcrossMerges(nn.Module):
    """Batch norms around a sum (ResNet) or a concatenation (DenseNet).

    a's is folded back into its convolution, that of the sum or concatenation forward into the next
    convolution where this has no padding; between a merge and a ReLU none can be folded.
    """

    def __init__(self, merge: str, last: str) -> None:
        super().__init__()
        self.merge, self.last = merge, last
        self.conv_a, self.norm_a = nn.Conv2d(3, 8, 3, padding=1), norm(8)
        self.conv_b = nn.Conv2d(3, 8, 1, bias=False)
        width = 16 if merge == "cat" else 8
        self.norm = norm(width)
        padding = 1 if last == "padded" else 0
        self.conv = nn.Conv2d(width, 5, 3, padding=padding)

    def forward(self, x: Any) -> Any:
        a, b = self.norm_a(self.conv_a(x)), self.conv_b(x)
        x = self.norm(torch.cat([a, b], 1) if self.merge == "cat" else a + b)
        return self.conv(torch.relu(x) if self.last == "relu" else x)


@pytest.mark.parametrize("last", ["plain", "padded", "relu"])
@pytest.mark.parametrize("merge", ["add", "cat"])
def test_batch_norms_around_merges(merge: str, last: str, rng: np.random.Generator) -> None:
    torch.manual_seed(5)
    module = AcrossMerges(merge, last)
    x = rng.standard_normal((2, 3, 7, 6)).astype(np.float32)
    own = ["conv_a", "conv_b", "conv"] if last == "plain" else ["conv_a", "conv_b", "norm", "conv"]
    assert kernel_layers(module, x) == own
    check(module, x)


@pytest.mark.parametrize("activation", ["leaky_relu", "elu", "tanh", "gelu", "none"])
def test_negative_activations(activation: str, rng: np.random.Generator) -> None:
    """Inputs of either sign: both halves of both sums are there."""
    torch.manual_seed(5)
    between = {"leaky_relu": nn.LeakyReLU(0.3), "elu": nn.ELU(), "tanh": nn.Tanh(),
               "gelu": nn.GELU(), "none": nn.Identity()}[activation]  # fmt: skip
    module = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), between, nn.Conv2d(16, 8, 3), nn.Flatten(), nn.Linear(96, 4)
    )
    check(module, rng.standard_normal((2, 3, 6, 5)).astype(np.float32))


class Twice(nn.Module):
    def forward(self, x: Any) -> Any:
        return torch.cat([x, 2 * x], 1)


def integers(rng: np.random.Generator, *shape: int) -> Any:
    return torch.from_numpy(rng.integers(-2, 3, shape).astype(np.float32))


def test_a_relu_at_exactly_zero(rng: np.random.Generator) -> None:
    """Integers: sums that cancel are zero exactly, in every order of summation.

    The derivative at zero is zero, as torch's is; Gamma drops relevance that arrives there, the
    others divide by their stabilizer only where all contributions are zero.
    """
    module = nn.Sequential(nn.Conv2d(2, 12, 3, bias=False), nn.ReLU(), nn.Conv2d(12, 4, 1))
    with torch.no_grad():
        module[0].weight.copy_(integers(rng, 12, 2, 3, 3))
        module[0].weight[3] = 0
        module[2].weight.copy_(integers(rng, 4, 12, 1, 1))
        module[2].bias.copy_(torch.tensor([1.0, -1.0, 2.0, 0.0]))
    x = integers(rng, 2, 2, 7, 7).numpy()
    hidden = module[0](torch.from_numpy(x))
    share = float((hidden == 0).float().mean())
    assert 1 / 12 < share < 0.5
    start = rng.integers(-3, 4, (2, 4, 5, 5)).astype(np.float32)
    check(module, x, start)


@pytest.mark.parametrize("between", ["nothing", "pool", "cat"])
@pytest.mark.parametrize("behind", ["flat", "w_square", "alpha2_beta1", "z_plus"])
def test_rules_that_give_relevance_to_zeros(
    behind: str, between: str, rng: np.random.Generator
) -> None:
    """What a ReLU made zero has a denominator of its own, the sum in front of the ReLU."""
    torch.manual_seed(5)
    layers = {
        "nothing": [nn.Conv2d(8, 3, 2)],
        "pool": [nn.MaxPool2d(2, 1), nn.Conv2d(8, 3, 2)],
        "cat": [Twice(), nn.Conv2d(16, 3, 2)],
    }[between]
    module = nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), *layers)
    x = rng.standard_normal((2, 2, 7, 7)).astype(np.float32)
    assert float((module[:2](torch.from_numpy(x)) == 0).float().mean()) > 0.1
    last, second = str(len(module) - 1), RULES[behind]
    rules: Rules = {}
    for name in ("epsilon", "gamma"):
        for first in (RULES[name], replace(RULES[name], stabilizer=0.0),
                      replace(RULES[name], absorb_bias=False)):  # fmt: skip
            composite = rp.Composite(names={"0": public_rule(first), last: public_rule(second)})
            rules[str(first)] = (
                lambda layer, kind, first=first: first if layer == "conv2d" else second,
                composite,
            )
    check(module, x, rules=rules)


@pytest.mark.parametrize("pool", ["max", "average", "average without padding", "max of ties"])
def test_windows_that_overlap(pool: str, rng: np.random.Generator) -> None:
    """A value in several windows gets a share from each; of equal maxima the first wins."""
    torch.manual_seed(5)
    pools = {"max": nn.MaxPool2d(3, 2, 1), "average": nn.AvgPool2d(3, 1, 1),
             "average without padding": nn.AvgPool2d(3, 2, 1, count_include_pad=False),
             "max of ties": nn.MaxPool2d(3, 1)}  # fmt: skip
    module = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), pools[pool], nn.Conv2d(6, 3, 2))
    x = rng.standard_normal((2, 1, 10, 9)).astype(np.float32)
    if pool == "max of ties":
        with torch.no_grad():
            module[0].weight.copy_(integers(rng, 6, 1, 3, 3))
            module[0].bias.zero_()
        x = integers(rng, 2, 1, 10, 9).numpy()
    check(module, x)


@pytest.mark.parametrize("how", ["convolution", "pad", "transposed"])
def test_padding_larger_than_needed(how: str, rng: np.random.Generator) -> None:
    """Windows that see nothing but padding: their outputs are the bias alone."""
    torch.manual_seed(5)
    first = {
        "convolution": nn.Conv2d(2, 8, 3, padding=5),
        "pad": nn.Sequential(nn.ZeroPad2d((4, 3, 6, 5)), nn.Conv2d(2, 8, 3)),
        "transposed": nn.ConvTranspose2d(2, 8, 2, stride=4, output_padding=1),
    }[how]
    module = nn.Sequential(first, nn.ReLU(), nn.Conv2d(8, 3, 3, padding=4))
    x = rng.standard_normal((2, 2, 5, 4)).astype(np.float32)
    bias = (first[1] if how == "pad" else first).bias.detach().numpy()
    corner = first(torch.from_numpy(x)).detach().numpy()[:, :, -1, -1]
    assert np.array_equal(corner, np.broadcast_to(bias, corner.shape))
    check(module, x)
