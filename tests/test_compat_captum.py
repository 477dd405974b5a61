"""relprop.compat.captum against Captum itself, in float64, on small modules."""

from __future__ import annotations

import copy
from typing import Any

import pytest

import relprop as rp

torch = pytest.importorskip("torch", reason="torch is not installed")
captum = pytest.importorskip("captum.attr", reason="captum is not installed")

from captum.attr._utils import lrp_rules as theirs  # noqa: E402
from captum.attr._utils.custom_modules import Addition_Module  # noqa: E402

from dropin_networks import ResNetLike, VggLike, error, seeded  # noqa: E402
from relprop.compat import captum as ours  # noqa: E402

nn = torch.nn
pytestmark = pytest.mark.filterwarnings("ignore")

# Of the sum of absolute attributions.
RELATIVE = 2e-5
# One sum close to zero decides the error of a small network: either side may be ahead by this.
FACTOR = 4.0
TARGET = torch.tensor([2, 0, 4])


class Vgg(VggLike):
    """Without nn.Flatten, which Captum has no rule for."""

    def forward(self, x: Any) -> Any:
        return self.classifier[1:](torch.flatten(self.features(x), 1))


class ResNet(ResNetLike):
    """As Captum wants it: sums as modules, nothing used twice, no nn.Flatten."""

    def __init__(self) -> None:
        super().__init__(Addition_Module)

    def forward(self, x: Any) -> Any:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(self.avgpool(self.layer1(x)), 1))


def network(make: Any) -> Any:
    module = seeded(make())
    if isinstance(module, Vgg):
        module.classifier[0] = nn.Dropout()
    else:
        del module.flatten
    return module.eval()


@pytest.fixture
def x() -> Any:
    torch.manual_seed(1)
    return torch.randn(3, 3, 16, 16)


def rules(module: Any, package: Any, which: str) -> None:
    """Rules on the linear layers, the batch norms and a pool, of ours or of Captum's."""
    for name, layer in module.named_modules():
        if hasattr(layer, "rule"):
            del layer.rule
        first = name in ("features.0", "conv1")
        if isinstance(layer, nn.BatchNorm2d) and which == "identity":
            layer.rule = package.IdentityRule()
        elif isinstance(layer, nn.AvgPool2d) and which == "epsilon":
            layer.rule = package.EpsilonRule(epsilon=0.05)
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            kinds = {
                "epsilon": lambda: package.EpsilonRule(epsilon=0.1),
                "gamma": lambda: package.GammaRule(gamma=0.5),
                "gamma no bias": lambda: package.GammaRule(set_bias_to_zero=True),
                "alpha1_beta0": lambda: package.Alpha1_Beta0_Rule(),
                "alpha1_beta0 no bias": lambda: package.Alpha1_Beta0_Rule(set_bias_to_zero=True),
                "identity": lambda: package.EpsilonRule(),
                "mixed": lambda first=first: package.GammaRule() if first else None,
            }
            if which != "default" and kinds[which]() is not None:
                layer.rule = kinds[which]()


def captums(module: Any, which: str, x: Any, dtype: Any) -> tuple[Any, Any]:
    """Captum's relevance and delta in this type."""
    own = copy.deepcopy(module).to(dtype)
    rules(own, theirs, which)
    result = captum.LRP(own).attribute(x.to(dtype), TARGET, return_convergence_delta=True)
    return tuple(value.detach() for value in result)


RULES = ("default", "epsilon", "gamma", "gamma no bias", "alpha1_beta0", "alpha1_beta0 no bias")


@pytest.mark.parametrize("make", [Vgg, ResNet])
@pytest.mark.parametrize("which", [*RULES, "identity", "mixed"])
def test_lrp(x: Any, make: Any, which: str) -> None:
    """As close to Captum in float64 as Captum's own float32 result is, where it is far off: its
    rules divide by sums of both signs, and one that is close to zero amplifies any rounding."""
    module = network(make)
    relevance, delta = captums(module, which, x, torch.float64)
    single, _ = captums(module, which, x, torch.float32)
    bound = max(RELATIVE, FACTOR * error(single, relevance))
    for package in (ours, theirs):
        rules(module, package, which)
        actual = ours.LRP(module).attribute(x, TARGET, return_convergence_delta=True)
        assert error(actual[0], relevance) < bound
        scale = relevance.abs().sum((1, 2, 3)).max()
        assert ((actual[1] - delta).abs() <= bound * scale).all()


@pytest.mark.parametrize("at_input", [False, True])
def test_layer_lrp(x: Any, at_input: bool) -> None:
    module = network(ResNet)
    names = ["conv1", "bn1", "maxpool", "layer1.1.conv2", "avgpool", "fc"]
    exact = copy.deepcopy(module).double()
    for name in names:
        layer = captum.LayerLRP(exact, exact.get_submodule(name))
        relevance = layer.attribute(x.double(), TARGET, attribute_to_layer_input=at_input)
        relevance = relevance[0] if isinstance(relevance, tuple) else relevance
        mine = ours.LayerLRP(module, module.get_submodule(name))
        actual = mine.attribute(x, TARGET, attribute_to_layer_input=at_input)
        assert error(actual, relevance.reshape(actual.shape)) < RELATIVE, name
    several = ours.LayerLRP(module, [module.conv1, module.fc])
    (first, last), deltas = several.attribute(x, TARGET, return_convergence_delta=True)
    assert first.shape == (3, 8, 8, 8)
    assert last.shape == (3, 5)
    f = module(x).detach()[range(3), TARGET]
    assert torch.allclose(deltas[1], f - last.sum(1), atol=1e-5)


METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "saliency": ("Saliency", {}),
    "gradient": ("Saliency", {"abs": False}),
    "input x gradient": ("InputXGradient", {}),
    "integrated": ("IntegratedGradients", {"n_steps": 7}),
    "trapezoid": (
        "IntegratedGradients",
        {"n_steps": 6, "method": "riemann_trapezoid", "baselines": 0.25, "internal_batch_size": 4},
    ),
}


@pytest.mark.parametrize("name", METHODS)
def test_gradient_methods(x: Any, name: str) -> None:
    module = network(ResNet)
    kind, arguments = METHODS[name]
    exact = copy.deepcopy(module).double()
    more = {"return_convergence_delta": True} if kind == "IntegratedGradients" else {}
    values = getattr(captum, kind)(exact).attribute(x.double(), target=TARGET, **arguments, **more)
    actual = getattr(ours, kind)(module).attribute(x, target=TARGET, **arguments, **more)
    if more:
        assert torch.allclose(actual[1], values[1].float(), atol=1e-4)
        values, actual = values[0], actual[0]
    assert error(actual, values) < RELATIVE


@pytest.mark.parametrize("nt_type", ["smoothgrad", "smoothgrad_sq", "vargrad"])
def test_noise_tunnel(x: Any, nt_type: str) -> None:
    """The same draws under one seed; Captum runs in float32 here."""
    module = network(Vgg)
    results = []
    for package in (captum, ours):
        torch.manual_seed(5)
        tunnel = package.NoiseTunnel(package.InputXGradient(module))
        arguments = {"nt_type": nt_type, "nt_samples": 5, "nt_samples_batch_size": 2}
        results.append(tunnel.attribute(x, stdevs=0.2, target=TARGET, **arguments))
    assert error(results[1], results[0].detach()) < 10 * RELATIVE


def test_rules_stay_and_tuples_come_back(x: Any) -> None:
    """Captum deletes the rules of the user at the first call."""
    module = network(Vgg)
    module.features[0].rule = ours.GammaRule()
    lrp = ours.LRP(module)
    (first,) = lrp.attribute((x,), target=2)
    again = lrp.attribute(x, target=torch.tensor(2))
    assert torch.equal(first, again)
    assert torch.equal(first, lrp.attribute(x, target=[2, 2, 2]))


class Own(theirs.PropagationRule):
    def _manipulate_weights(self, module: Any, inputs: Any, outputs: Any) -> None:
        pass


def refusals() -> dict[str, tuple[Any, str]]:
    def on(path: str, rule: Any) -> Any:
        def call() -> None:
            module = network(Vgg)
            module.get_submodule(path).rule = rule
            ours.LRP(module).attribute(torch.zeros(1, 3, 16, 16), target=0)

        return call

    x, module = torch.zeros(2, 3, 16, 16), network(Vgg)
    lrp = ours.LRP(module)
    return {
        "no rule": (on("features.0", "gamma"), "'features.0': rule is of type str"),
        "own rule": (on("features.0", Own()), "'features.0': rule Own"),
        "batch norm": (
            on("features.1", ours.GammaRule()),
            "'features.1' (BatchNorm2d): rule Gamma",
        ),
        "pool": (on("features.6", ours.IdentityRule()), "'features.6' (average_pool)"),
        "max pool": (on("features.3", ours.EpsilonRule(0.1)), "'features.3' (max_pool)"),
        "relu": (on("features.2", ours.EpsilonRule()), "'features.2' (relu)"),
        "container": (on("features", ours.EpsilonRule()), "'features' (Sequential)"),
        "target": (lambda: lrp.attribute(x), "target is None"),
        "range": (lambda: lrp.attribute(x, target=5), "target = 5"),
        "inputs": (lambda: lrp.attribute((x, x), target=0), "2 inputs"),
        "more": (lambda: lrp.attribute(x, 0, additional_forward_args=1), "models of one input"),
        "layer": (
            lambda: ours.LayerLRP(module, nn.ReLU()).attribute(x, 0),
            "layer ReLU is no submodule",
        ),
        "container layer": (
            lambda: ours.LayerLRP(module, module.features).attribute(x, 0),
            "'features' is not one layer",
        ),
        "steps": (lambda: ours.IntegratedGradients(module).attribute(x, n_steps=1), "n_steps = 1"),
        "noise": (
            lambda: ours.NoiseTunnel(ours.Saliency(module)).attribute(x, nt_type="mean"),
            "nt_type = 'mean'",
        ),
        "model": (lambda: ours.LRP("net"), "str"),
    }


@pytest.mark.parametrize("name", list(refusals()))
def test_refusals(name: str) -> None:
    call, words = refusals()[name]
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert words in str(caught.value)


def test_the_rule_behind_gamma_and_alpha1_beta0_by_hand(rng: Any) -> None:
    """Reweighted on one dense layer with inputs of both signs, in float64."""
    x, w, b, r = (rng.standard_normal(shape) for shape in ((4, 9), (6, 9), (6,), (4, 6)))
    for p, n in ((1.5, 1.0), (1.0, 0.0), (0.25, 2.0)):
        for bias in ("absorb", "ignore"):
            changed = w.clip(0) * p + w.clip(None, 0) * n
            z = x @ changed.T + (b if bias == "absorb" else 0)
            st = z + 0.5 * (2 * (z >= 0) - 1)
            rule = rp.Reweighted(p, n, stabilizer=0.5, bias=bias)
            arrays = [a.astype("float32") for a in (x, w, b, r)]
            actual = rp.functional.dense_relevance(*arrays, rule)
            assert error(actual, x * ((r / st) @ changed)) < 1e-6
