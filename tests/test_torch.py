"""rp.from_torch: names, modes, snapshots, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import relprop as rp

torch = pytest.importorskip("torch", reason="torch is not installed")
nn, F = torch.nn, torch.nn.functional

RELATIVE = 1e-5  # of the largest output


class Block(nn.Module):
    """Convolutions, an activation module used twice, an in-place sum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(6, 3, 3, padding="same")

    def forward(self, x: Any) -> Any:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.conv2(y)
        y += x
        return self.relu(y)


class Network(nn.Module):
    """Modules and functional calls side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(Block(), Block())
        self.drop = nn.Dropout()
        self.head = nn.Linear(6, 4)

    def forward(self, x: Any) -> Any:
        x = F.relu(self.body(x) - 0.25)
        x = torch.cat([x.mean([2, 3]), torch.flatten(F.adaptive_max_pool2d(x, 1), 1)], 1)
        return self.head(self.drop(x))


def seeded(make: Any) -> Any:
    """A module in evaluation mode with weights and statistics away from their defaults."""
    torch.manual_seed(0)
    module = make().eval()
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if "bn" in name and value.is_floating_point():
                value.uniform_(0.5, 1.5)
    return module


def assert_same_outputs(module: Any, model: rp.Model, x: Any) -> None:
    with torch.no_grad():
        expected = module(x).numpy()
    actual = model(x).numpy()
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= RELATIVE * np.abs(expected).max()


def test_outputs_and_names() -> None:
    module = seeded(Network)
    model = rp.from_torch(module, torch.zeros(1, 3, 8, 8))
    assert_same_outputs(module, model, torch.randn(5, 3, 8, 8))
    assert model.output_names == ["output"]
    assert model.layers == [
        "body.0.conv1", "body.0.bn1", "body.0.relu", "body.0.conv2", "body.0.add", "body.0.relu#2",
        "body.1.conv1", "body.1.bn1", "body.1.relu", "body.1.conv2", "body.1.add", "body.1.relu#2",
        "sub", "relu", "mean/pool", "mean", "adaptive_max_pool2d", "flatten", "cat", "drop", "head",
    ]  # fmt: skip


def test_any_batch_and_numpy_arrays() -> None:
    module = seeded(Network)
    model = rp.from_torch(module, torch.zeros(4, 3, 8, 8))
    x = torch.randn(9, 3, 8, 8)
    whole = model(x.numpy())
    assert isinstance(whole, np.ndarray)
    for count in (1, 4, 7):
        assert np.array_equal(model(x[:count]).numpy(), whole[:count])


def test_training_mode_is_refused_where_it_matters() -> None:
    example = torch.zeros(1, 3, 8, 8)
    module = seeded(Network)
    module.body[1].bn1.train()
    with pytest.raises(
        rp.UnsupportedError, match=r"^node 'body\.1\.bn1' \(batch_norm\): it uses .* module\.eval"
    ):
        rp.from_torch(module, example)
    module.eval().drop.train()
    with pytest.raises(rp.UnsupportedError, match=r"^node 'drop' \(dropout\): training mode; "):
        rp.from_torch(module, example)
    module.drop.p = 0.0
    assert module.drop.training
    assert_same_outputs(module, rp.from_torch(module, example), torch.randn(2, 3, 8, 8))


def test_the_module_is_not_changed() -> None:
    module = seeded(Network)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    needs = [p.requires_grad for p in module.parameters()]
    rp.from_torch(module, torch.zeros(1, 3, 8, 8))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert [p.requires_grad for p in module.parameters()] == needs
    assert not module.training


def test_the_model_is_a_snapshot() -> None:
    """Later changes of the weights, in place too, reach no plan, not even one made afterwards."""
    module, x = seeded(Network), torch.randn(2, 3, 8, 8)
    model, other = (rp.from_torch(module, x) for _ in range(2))
    y, relevance = model(x), rp.LRP(model).attribute(x)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2)
    assert torch.equal(model(x), y)
    assert torch.equal(other(x), y)
    assert torch.equal(rp.LRP(other).attribute(x), relevance)
    assert not torch.equal(rp.from_torch(module, x)(x), y)


def test_rules_by_module_path() -> None:
    """A path stands for all that the module contains, and for every use of it."""
    model = rp.from_torch(seeded(Network), torch.zeros(1, 3, 8, 8))
    x = torch.randn(2, 3, 8, 8)
    flat = rp.LRP(model, rp.Composite(names={"body.0": rp.Flat()})).attribute(x)
    both = {"body.0.conv1": rp.Flat(), "body.0.conv2": rp.Flat()}
    assert torch.equal(flat, rp.LRP(model, rp.Composite(names=both)).attribute(x))


class Twice(nn.Module):
    """One convolution used twice: two layers with the same weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Any) -> Any:
        return torch.flatten(self.conv(torch.relu(self.conv(x))), 1)


def test_modules_used_twice() -> None:
    module, x = seeded(Twice), torch.randn(2, 3, 4, 4)
    model = rp.from_torch(module, x)
    assert model.layers == ["conv", "relu", "conv#2", "flatten"]
    assert_same_outputs(module, model, x)
    rules = [
        rp.Composite(names=names)
        for names in ({"conv": rp.WSquare()}, {"conv": rp.WSquare(), "conv#2": rp.Flat()})
    ]
    once, apart = (rp.LRP(model, rule).attribute(x, target=1) for rule in rules)
    every = rp.LRP(model, rp.WSquare()).attribute(x, target=1)
    assert torch.equal(once, every)
    assert not torch.equal(apart, every)


class Outputs(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.a, self.output = kind, nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, x: Any) -> Any:
        a = self.a(x)
        b = self.output(torch.relu(a))
        return {"tuple": (a, [b]), "dict": {"hidden": a, "logits": b}, "one": b}[self.kind]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("tuple", ["output.0", "output.1.0"]),
        ("dict", ["output.hidden", "output.logits"]),
        ("one", ["output"]),
    ],
)
def test_outputs_by_name(kind: str, names: list[str]) -> None:
    torch.manual_seed(0)
    module, x = Outputs(kind), torch.randn(5, 4)
    assert rp.from_torch(module, x).output_names == names
    hidden = module.a(x).detach()
    last = module.output(torch.relu(hidden)).detach()
    for name in [*names, "a", "relu"]:
        model = rp.from_torch(module, x, output=name)
        expected = {"a": hidden, "relu": hidden.relu(), names[-1]: last}.get(name, hidden)
        assert model.output_names == [name]
        assert torch.allclose(model(x), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(
        ValueError, match=r"^no output or layer is called 'rellu'; near names: 'rel"
    ):
        rp.from_torch(module, x, output="rellu")


class Called(nn.Module):
    """One function of x (N, 6, 8, 8), or of the shape given, as a module."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


IMAGE, SIGNAL, TOKENS, VECTOR = (6, 8, 8), (6, 9), (5, 6), (6,)
CONSTANT = torch.linspace(-1, 1, 64).reshape(8, 8)

FUNCTIONS: dict[str, tuple[tuple[int, ...], Any]] = {
    "add a number": (IMAGE, lambda x: torch.relu(2 * x + 1)),
    "add with alpha": (IMAGE, lambda x: torch.add(x, torch.relu(x), alpha=0.5)),
    "subtract from a number": (IMAGE, lambda x: 1 - x),
    "rsub": (IMAGE, lambda x: torch.rsub(x, 3.0, alpha=2)),
    "subtract a map": (IMAGE, lambda x: (x - CONSTANT) / (CONSTANT + 3)),
    "subtract layers": (IMAGE, lambda x: torch.relu(x) - torch.tanh(x)),
    "negate": (IMAGE, lambda x: -x),
    "in place": (IMAGE, lambda x: (x * 2).add_(1).relu_()),
    "in place on a branch": (IMAGE, lambda x: (lambda y: y.relu_() + y)(x * 2)),
    "broadcast sum": (IMAGE, lambda x: x + x.mean((2, 3), keepdim=True)),
    "broadcast product": (IMAGE, lambda x: x * torch.sigmoid(x.mean(1, keepdim=True))),
    "gelu": (IMAGE, lambda x: F.gelu(F.gelu(x), approximate="tanh")),
    "activations": (VECTOR, lambda x: F.mish(F.softplus(F.silu(x)) + F.hardswish(2 * x))),
    "selu and celu": (VECTOR, lambda x: F.celu(F.selu(x), 0.5)),
    "clamps": (VECTOR, lambda x: x.clamp(-0.5, 1).clamp(min=-0.2).clamp_max(0.9)),
    "relu6": (VECTOR, lambda x: F.relu6(4 * x) + F.hardtanh(x) + F.hardsigmoid(x)),
    "softplus with beta": (VECTOR, lambda x: F.softplus(x, beta=2.0)),
    "gated linear unit": (IMAGE, lambda x: F.glu(x, 1)),
    "views": (IMAGE, lambda x: x.view(x.size(0), 3, -1).unflatten(2, (4, 32)).reshape(-1, 12, 32)),
    "squeeze": (SIGNAL, lambda x: x.mean(-1, keepdim=True).squeeze(-1).unsqueeze(1)),
    "transpose": (IMAGE, lambda x: x.transpose(1, -1).permute(0, 2, 3, 1).contiguous()),
    "move axes": (IMAGE, lambda x: x.movedim(1, 3).flip(2).roll(3, 1)),
    "slices": (IMAGE, lambda x: x[:, 1:5, ::2, -6:]),
    "select": (TOKENS, lambda x: x[:, 0] + x.select(1, -1)),
    "split": (IMAGE, lambda x: torch.cat([*x.split([1, 3, 2], 1)[::-1], *x.chunk(2, 1)], 1)),
    "unbind": (TOKENS, lambda x: torch.stack(x.unbind(1)[1:3], 2)),
    "repeat": (SIGNAL, lambda x: x.repeat(1, 2, 1)),
    "expand": (VECTOR, lambda x: x[:, :, None].expand(-1, -1, 4)),
    "pixel shuffle": (IMAGE, lambda x: F.pixel_unshuffle(F.pixel_shuffle(x[:, :4], 2), 2)),
    "channel shuffle": (IMAGE, lambda x: F.channel_shuffle(x, 3)),
    "zero padding": (IMAGE, lambda x: F.pad(x, (1, 2, -1, 0), value=0.5)),
    "reflection": (IMAGE, lambda x: F.pad(x, (1, 2, 2, 1), mode="reflect")),
    "replication": (SIGNAL, lambda x: F.pad(x, (3, 1), mode="replicate")),
    "shortcut of strides": (IMAGE, lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))),
    "pooling": (IMAGE, lambda x: F.avg_pool2d(F.max_pool2d(x, 3, 2, 1), 2, ceil_mode=True)),
    "pooling 1-d": (SIGNAL, lambda x: F.max_pool1d(F.avg_pool1d(x, 3, 1, 1), 2)),
    "adaptive pooling": (IMAGE, lambda x: F.adaptive_avg_pool2d(x, (3, 5))),
    "global maximum": (IMAGE, lambda x: F.adaptive_max_pool2d(x, 1) + x.amax((2, 3), True)),
    "mean of tokens": (TOKENS, lambda x: x.mean(1)),
    "sums": (IMAGE, lambda x: x.sum(2) + x.mean(3) * x.mean([1])[:, :6]),
    "nearest": (IMAGE, lambda x: F.interpolate(x, scale_factor=2)),
    "nearest size": (SIGNAL, lambda x: F.interpolate(x, size=14)),
    "bilinear": (IMAGE, lambda x: F.interpolate(x, scale_factor=1.5, mode="bilinear")),
    "corners": (IMAGE, lambda x: F.interpolate(x, (5, 11), mode="bilinear", align_corners=True)),
    "bicubic": (IMAGE, lambda x: F.interpolate(x, (12, 7), mode="bicubic")),
    "linear": (SIGNAL, lambda x: F.interpolate(x, size=20, mode="linear")),
    "layer norm": (TOKENS, lambda x: F.layer_norm(x, (6,)) + F.layer_norm(x, (5, 6))),
    "group norm": (IMAGE, lambda x: F.group_norm(x, 2, torch.arange(6.0))),
    "instance norm": (IMAGE, lambda x: F.instance_norm(x)),
    "matrices": (TOKENS, lambda x: (x @ CONSTANT[:6]) @ CONSTANT.t()),
    "constants": (VECTOR, lambda x: F.linear(x, torch.cumsum(CONSTANT, 1)[:, :6] * 0.1)),
    "no gradient": (VECTOR, lambda x: torch.relu(x).detach().clone().float()),
    "softmax": (VECTOR, lambda x: F.softmax(x, -1)),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    shape, function = FUNCTIONS[name]
    torch.manual_seed(0)
    module, x = Called(function), torch.randn(3, *shape)
    model = rp.from_torch(module, x[:1])
    assert_same_outputs(module, model, x)
    if name in ("softmax", "no gradient"):
        return
    variable = x.clone().requires_grad_()
    y = module(variable)
    start = torch.randn(y.shape)
    (expected,) = torch.autograd.grad(y, variable, start)
    actual = rp.Gradient(model).attribute(x, start=start)
    assert (actual - expected).abs().max() <= RELATIVE * expected.abs().max()


GATES: dict[str, tuple[Any, list[float]]] = {
    "sigmoid": (lambda a, b: torch.sigmoid(b) * a, [1, 0]),
    "sigmoid of a wide value": (lambda a, b: a[:, :, :1] * torch.sigmoid(b), [1, 0]),
    "broadcast": (lambda a, b: b.mean((2, 3), keepdim=True) * a, [1, 0]),
    "broadcast after a ReLU6": (lambda a, b: F.relu6(a) * b.mean((2, 3), keepdim=True), [1, 0]),
    "written out": (lambda a, b: a * F.relu6(b + 3) / 6, [1, 0]),
    "neither": (lambda a, b: torch.tanh(a) * b, [0.5, 0.5]),
    "both": (lambda a, b: torch.sigmoid(a) * torch.sigmoid(b), [0.5, 0.5]),
}


@pytest.mark.parametrize("name", GATES)
def test_which_factor_is_the_gate(name: str) -> None:
    """The shares of the relevance that the first and the second half of the channels get."""
    function, shares = GATES[name]
    torch.manual_seed(0)
    module, x = Called(lambda x: function(x[:, :3], x[:, 3:])), torch.rand(2, *IMAGE) + 0.5
    model = rp.from_torch(module, x)
    relevance = rp.LRP(model).attribute(x, start=torch.ones_like(model(x)))
    parts = torch.stack([relevance[:, :3].sum(), relevance[:, 3:].sum()]) / relevance.sum()
    assert torch.allclose(parts, torch.tensor(shares).float(), rtol=0, atol=1e-5)


def in_place_view(x: Any) -> Any:
    y = x * 2
    part = y[:, :3]
    part.relu_()
    return y


UNSUPPORTED: dict[str, tuple[tuple[int, ...], Any, str]] = {
    "operator": (
        VECTOR,
        lambda x: torch.cumsum(x, 1),
        r"node 'cumsum' \(cumsum\): no such operator; supported: .*conv2d, .*relu",
    ),
    "attention": (
        TOKENS,
        lambda x: x @ x.transpose(1, 2),
        r"node 'matmul' \(matmul\): the second factor depends",
    ),
    "quotient": (VECTOR, lambda x: x / (1 + x.exp()), r"node 'exp' \(exp\): no such operator"),
    "quotient of layers": (
        VECTOR,
        lambda x: x / torch.sigmoid(x),
        r"node 'div' \(div\): both operands depend on",
    ),
    "constant quotient": (VECTOR, lambda x: 1 / torch.sigmoid(x), r"node '(reciprocal|div)'"),
    "batch mixed": (
        IMAGE,
        lambda x: x.view(-1, 8),
        r"node 'view' \(view\): result of shape .* mixes the samples of a batch",
    ),
    "mean of the batch": (
        IMAGE,
        lambda x: x - x.mean(0, keepdim=True),
        r"node 'mean' \(mean\): it works along the batch axis",
    ),
    "batch reversed": (
        VECTOR,
        lambda x: x.flip(0),
        r"node 'flip' \(flip\): it mixes the samples of a batch",
    ),
    "no axis left": (
        VECTOR,
        lambda x: x.sum(1),
        r"node 'sum' \(sum\): result of shape \('N',\) mixes .* or leaves no axis",
    ),
    "volume": (
        (2, 4, 4, 4),
        lambda x: F.max_pool3d(x, 2),
        r"node 'max_pool3d' \(max_pool3d\): no such operator",
    ),
    "softmax inside": (
        VECTOR,
        lambda x: F.softmax(x, 1) * 2,
        r"layer 'mul' \(scale_shift\): it reads the softmax",
    ),
    "log-softmax": (
        VECTOR,
        lambda x: F.log_softmax(x * 2, 1),
        r"node 'log_softmax' \(log_softmax\): explain its input instead: output='mul'",
    ),
    "view changed in place": (
        IMAGE,
        in_place_view,
        r"node 'relu_' \(aten\.relu_\.default\) changes a tensor in place of which the view",
    ),
    "control flow": (
        VECTOR,
        lambda x: x if x.sum() > 0 else -x,
        r"torch\.export cannot trace Called for samples of shape \(6,\): ",
    ),
    "casts": (
        VECTOR,
        lambda x: x.int().float(),
        r"node 'to' \(to\): cast to torch\.int32; supported: between float types",
    ),
    "constant output": (
        VECTOR,
        lambda x: CONSTANT * 2,
        r"output 'output' does not depend on the module's input",
    ),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_unsupported_is_named(name: str) -> None:
    shape, function, message = UNSUPPORTED[name]
    with pytest.raises(rp.UnsupportedError, match=rf"^{message}"):
        rp.from_torch(Called(function), torch.zeros(1, *shape))


@pytest.mark.parametrize(
    ("module", "example", "exception", "message"),
    [
        ("resnet", torch.zeros(1, 4), TypeError, r"module is of type str; accepted: a torch\.nn"),
        (nn.Linear(4, 2), np.zeros((1, 4)), TypeError, "example is of type float64; accepted"),
        (nn.Linear(4, 2), torch.zeros(1, 4).int(), TypeError, "example is of type torch.int32; "),
        (nn.Linear(4, 2), torch.zeros(4), ValueError, r"example has shape \(4,\); accepted: \(N"),
        (nn.Linear(4, 2), torch.zeros(1, 5), ValueError, "torch.export cannot trace Linear for "),
        (nn.Linear(4, 2), torch.zeros(1, 0), ValueError, r"example has shape \(1, 0\); accepted"),
        (nn.Bilinear(4, 4, 2), torch.zeros(1, 4), ValueError, "torch.export cannot trace Bilinear"),
    ],
    ids=["module", "array", "integers", "no batch", "another size", "empty", "two inputs"],
)
def test_bad_arguments(module: Any, example: Any, exception: Any, message: str) -> None:
    with pytest.raises(exception, match=rf"^{message}"):
        rp.from_torch(module, example)


def test_weights_that_are_not_finite() -> None:
    module = nn.Sequential(nn.Linear(3, 2))
    with torch.no_grad():
        module[0].weight[1, 2] = float("nan")
    with pytest.raises(ValueError, match=r"^layer '0' \(dense\): weight is nan at index 5"):
        rp.from_torch(module, torch.zeros(1, 3))


def test_double_precision_modules_are_rounded() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    x = torch.randn(4, 3)
    model = rp.from_torch(module, x.double())
    expected = module(x.double()).detach().numpy()
    assert np.abs(model(x).numpy() - expected).max() <= RELATIVE * np.abs(expected).max()


def test_importing_relprop_imports_no_torch() -> None:
    code = (
        "import sys, relprop\n"
        "try:\n    relprop.from_torch(1, 2)\n"
        "except TypeError as error:\n    assert str(error).startswith('module is of type int')\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_old_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    with pytest.raises(
        ImportError, match=r"^torch is 2\.5\.1\+cpu; from_torch needs 2\.6 or newer$"
    ):
        rp.from_torch(nn.Linear(2, 2), torch.zeros(1, 2))
