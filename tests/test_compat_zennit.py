"""relprop.compat.zennit against Zennit itself, in float64, on small modules."""

from __future__ import annotations

import copy
from typing import Any

import pytest

import relprop as rp
from zennit_stub import import_zennit

torch = pytest.importorskip("torch", reason="torch is not installed")

from architectures import ARCHITECTURES  # noqa: E402
from dropin_networks import ResNetLike, VggLike, error, seeded  # noqa: E402
from relprop.compat import zennit as ours  # noqa: E402

nn = torch.nn

# Of the sum of absolute relevance. Zennit's own float32 result is up to 3e-6 off.
RELATIVE = 2e-5


@pytest.fixture(scope="module")
def zennit() -> Any:
    try:
        return import_zennit()
    except ImportError as problem:
        pytest.skip(f"zennit does not import: {problem}")


@pytest.fixture
def x() -> Any:
    torch.manual_seed(1)
    return torch.randn(3, 3, 16, 16)


def merging(zennit: Any, kind: str) -> Any:
    """A canonizer of Zennit that leaves no eps behind in the merged batch norm."""

    class Merge(getattr(zennit.canonizers, kind)):
        def register(self, linears: Any, batch_norm: Any) -> None:
            super().register(linears, batch_norm)
            batch_norm.eps = 0.0

    return Merge


def canonizers(zennit: Any) -> list[Any]:
    """Merged batch norm, without the eps that Zennit leaves behind, and sums as modules."""

    class Joins(zennit.canonizers.AttributeCanonizer):
        def __init__(self) -> None:
            super().__init__(self.attributes)

        @staticmethod
        def attributes(name: str, module: Any) -> dict[str, Any] | None:
            if not hasattr(module, "join"):
                return None
            total = zennit.layer.Sum()

            def forward(self: Any, x: Any) -> Any:
                y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
                return self.relu2(self.canonizer_sum(torch.stack([y, x], -1)))

            return {"forward": forward.__get__(module), "canonizer_sum": total}

    return [
        zennit.canonizers.CompositeCanonizer(
            [Joins(), merging(zennit, "SequentialMergeBatchNorm")()]
        )
    ]


def expected(zennit: Any, module: Any, composite: Any, x: Any, start: Any = None) -> Any:
    """Zennit's output and relevance in float64."""
    exact = copy.deepcopy(module).double()
    start = start.double() if isinstance(start, torch.Tensor) else start
    with zennit.attribution.Gradient(model=exact, composite=composite) as attributor:
        return attributor(x.double(), start)


def one_hot(output: Any) -> Any:
    return nn.functional.one_hot(output.argmax(1), output.shape[1]).to(output)


BOUNDS = {"low": torch.tensor(-4.0), "high": torch.tensor(4.0)}
COMPOSITES = [
    "epsilon_plus",
    "epsilon_plus_flat",
    "epsilon_alpha2_beta1",
    "epsilon_alpha2_beta1_flat",
    "epsilon_gamma_box",
    "excitation_backprop",
]


@pytest.mark.parametrize("make", [VggLike, ResNetLike])
@pytest.mark.parametrize("name", COMPOSITES)
def test_composites(zennit: Any, x: Any, make: Any, name: str) -> None:
    module = seeded(make())
    bounds = BOUNDS if name == "epsilon_gamma_box" else {}
    theirs = zennit.composites.COMPOSITES[name](canonizers=canonizers(zennit), **bounds)
    output, relevance = expected(zennit, module, theirs, x, one_hot)
    made = ours.composites.COMPOSITES[name](canonizers=[object()], **bounds)
    for composite in (made, theirs, ours.accelerate(theirs)):
        with ours.attribution.Gradient(model=module, composite=composite) as attributor:
            actual = attributor(x, one_hot)
        assert error(actual[0], output) < RELATIVE
        assert error(actual[1], relevance) < RELATIVE


def rules(package: Any) -> dict[str, Any]:
    r = package.rules
    return {
        "epsilon": r.Epsilon(epsilon=0.1),
        "epsilon no bias": r.Epsilon(0.1, zero_params="bias"),
        "z plus": r.ZPlus(stabilizer=1e-4, zero_params=["bias"]),
        "alpha beta": r.AlphaBeta(alpha=3, beta=2, stabilizer=1e-3),
        "alpha beta no bias": r.AlphaBeta(2, 1, zero_params="bias"),
        "gamma": r.Gamma(gamma=0.5),
        "w square": r.WSquare(zero_params="bias"),
        "flat": r.Flat(zero_params="bias"),
        "box": r.ZBox(low=torch.full((1, 3, 1, 1), -4.0), high=torch.full((1, 3, 16, 16), 4.0)),
    }


@pytest.mark.parametrize("name", list(rules(ours)))
def test_rules_by_name_and_type(zennit: Any, x: Any, name: str) -> None:
    """The rule on the first layer by name, others by type, in a mixed composite."""
    module = seeded(VggLike())

    def composite(package: Any) -> Any:
        c, types = package.composites, package.types
        layers = [
            (types.Activation, package.rules.Pass()),
            (types.AvgPool, package.rules.Norm()),
            (types.BatchNorm, package.rules.Pass()),
            (types.Linear, package.rules.Epsilon(epsilon=0.25)),
        ]
        named = c.NameMapComposite(name_map=[(["features.0"], rules(package)[name])])
        special = c.SpecialFirstLayerMapComposite(layers, [(nn.ReLU, package.rules.Pass())])
        return c.MixedComposite([named, special], canonizers=canonizers(zennit))

    _, relevance = expected(zennit, module, composite(zennit), x)
    for made in (composite(ours), composite(zennit)):
        _, actual = ours.attribution.Gradient(module, made)(x)
        assert error(actual, relevance) < RELATIVE


ATTRIBUTORS: dict[str, tuple[str, dict[str, Any]]] = {
    "gradient": ("Gradient", {}),
    "smooth": ("SmoothGrad", {"noise_level": 0.2, "n_iter": 4}),
    "integrated": ("IntegratedGradients", {"n_iter": 5}),
    "occlusion": ("Occlusion", {"window": (8, 8), "stride": (4, 8)}),
}


@pytest.mark.parametrize("name", ATTRIBUTORS)
@pytest.mark.parametrize("composite", [None, "epsilon_plus"])
def test_attributors(zennit: Any, name: str, composite: str | None) -> None:
    """The same draws of noise under one seed: Zennit runs in float32 here."""
    torch.manual_seed(2)
    x = torch.randn(2, 3, 16, 16)
    module = seeded(VggLike())
    kind, arguments = ATTRIBUTORS[name]
    results = []
    for package in (zennit, ours):
        made = None
        if composite:
            made = package.composites.COMPOSITES[composite](canonizers=canonizers(zennit))
        torch.manual_seed(3)
        attributor = getattr(package.attribution, kind)(module, made, one_hot, **arguments)
        results.append(attributor(x.clone()))
    for expected_value, actual in zip(*results, strict=True):
        assert error(actual, expected_value) < 10 * RELATIVE


def test_a_tensor_starts_the_relevance_and_batches_are_as_singles(zennit: Any, x: Any) -> None:
    module = seeded(ResNetLike())
    start = torch.eye(5)[[3, 0, 3]]
    theirs = zennit.composites.EpsilonPlus(canonizers=canonizers(zennit))
    output, relevance = expected(zennit, module, theirs, x, start)
    smooth = ours.attribution.SmoothGrad(module, ours.composites.EpsilonPlus(), n_iter=1)
    actual = smooth(x, start)
    assert error(actual[0], output) < RELATIVE
    assert error(actual[1], relevance) < RELATIVE
    single = ours.attribution.Gradient(module, ours.composites.EpsilonPlus())(x[1:2], start[1:2])
    assert torch.equal(single[1][0], actual[1][1])


def test_context_makes_relevance_the_gradient(x: Any) -> None:
    module, composite = seeded(VggLike()), ours.composites.EpsilonAlpha2Beta1()
    variable = x.clone().requires_grad_()
    with composite.context(module) as explained:
        y = explained(variable)
        (relevance,) = torch.autograd.grad(y, variable, one_hot(y))
    _, direct = ours.attribution.Gradient(module, composite)(x, one_hot)
    assert torch.equal(relevance, direct)


def test_changed_weights_are_noticed(x: Any) -> None:
    module = seeded(VggLike())
    attributor = ours.attribution.Gradient(module, ours.composites.EpsilonPlus())
    before, _ = attributor(x)
    with torch.no_grad():
        module.classifier[1].weight.mul_(2)
    module.features[0].bias = nn.Parameter(torch.zeros(8))
    after, _ = attributor(x)
    assert not torch.allclose(before, after)
    with torch.no_grad():
        assert error(after, module(x)) < RELATIVE


PLAIN = {
    "relu": lambda: ResNetLike(),
    "leaky relu": lambda: nn.Sequential(nn.Conv2d(3, 5, 3), nn.LeakyReLU(0.3), nn.Conv2d(5, 2, 14)),
    "clip": lambda: nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU6(), nn.Conv2d(5, 2, 14)),
}


def within_rounding(module: Any, seed: int) -> Any:
    """The module in float64, its weights moved by no more than float32 rounds them."""
    torch.manual_seed(seed)
    moved = copy.deepcopy(module).double()
    with torch.no_grad():
        for p in moved.parameters():
            p.mul_(1 + 2**-24 * (2 * torch.rand_like(p) - 1))
    return moved


@pytest.mark.parametrize("sums", [False, True])
@pytest.mark.parametrize("name", PLAIN)
def test_modules_without_a_hook_have_the_plain_gradient(
    zennit: Any, x: Any, name: str, sums: bool
) -> None:
    """A layer map for convolutions, perhaps for sums; activations and the rest have none."""
    # Without the first image: the branches of one of its sums cancel so nearly that a unit in the
    # last place of either is 6e-5 of the relevance, whoever computes it.
    x = x[1:]
    module = seeded(PLAIN[name]())

    def composite(package: Any) -> Any:
        r = package.rules
        layers = [(package.types.Convolution, r.ZPlus())]
        layers += [(package.layer.Sum, r.Norm())] if sums else []
        return package.composites.LayerMapComposite(layers, canonizers=canonizers(zennit))

    _, relevance = expected(zennit, module, composite(zennit), x)
    # Where branches of a sum nearly cancel, float32 is further off: as far as Zennit's is, or
    # as the exact relevance of weights that were moved within their rounding.
    with zennit.attribution.Gradient(copy.deepcopy(module), composite(zennit)) as attributor:
        _, theirs = attributor(x)
    moved = [
        expected(zennit, within_rounding(module, k), composite(zennit), x)[1] for k in range(4)
    ]
    _, actual = ours.attribution.Gradient(module, composite(ours))(x)
    unknown = max(error(other, relevance) for other in (theirs, *moved))
    assert error(actual, relevance) < max(RELATIVE, 3 * unknown)


@pytest.mark.parametrize("name", ["densenet", "mobilenet-v3", "shufflenet-v2"])
def test_architectures(zennit: Any, name: str) -> None:
    """Functional calls and layers that Zennit has no rule for have the gradient, here as there."""
    (case,) = (case for case in ARCHITECTURES if case.id == name)
    module, x = case.module(), case.inputs(2)
    names = [name for name, _ in module.named_modules()]
    # In order of registration, DenseNet's batch norms would be merged into the wrong layers.
    pairs = [([n.replace("norm2", "conv1")], n) for n in names if n.endswith("norm2")]
    merge = merging(zennit, "NamedMergeBatchNorm")([*pairs, (["stem.0.0"], "stem.0.1")])
    if name != "densenet":
        merge = merging(zennit, "SequentialMergeBatchNorm")()

    def composite(package: Any) -> Any:
        t, r = package.types, package.rules
        layers = [
            (t.Activation, r.Pass()),
            (t.AvgPool, r.Norm()),
            (t.BatchNorm, r.Pass()),
            (t.Convolution, r.ZPlus()),
            (nn.Linear, r.Epsilon(epsilon=0.01)),
        ]
        return package.composites.LayerMapComposite(layers, canonizers=[merge])

    output, relevance = expected(zennit, module, composite(zennit), x)
    actual = ours.attribution.Gradient(module, composite(ours))(x)
    assert error(actual[0], output) < RELATIVE
    assert error(actual[1], relevance) < RELATIVE


def refusals() -> dict[str, tuple[Any, str]]:
    r, c, t = ours.rules, ours.composites, ours.types
    module = VggLike().eval()

    def explain(layers: Any, module: Any = module, input: Any = None) -> Any:
        x = torch.zeros(1, 3, 16, 16) if input is None else input
        return ours.attribution.Gradient(module, c.LayerMapComposite(layers))(x)

    softmax = nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)).eval()
    four = torch.zeros(1, 4)
    return {
        "stabilizer": (lambda: r.ZPlus(stabilizer=torch.sign), "stabilizer is a callable"),
        "epsilon": (lambda: r.Epsilon(epsilon=torch.sign), "epsilon is a callable"),
        "weights zeroed": (lambda: r.Epsilon(zero_params="weight"), "supported: None or 'bias'"),
        "gamma": (lambda: r.Gamma(zero_params="bias"), "sign that chooses"),
        "guided": (lambda: c.GuidedBackprop(), "GuidedBackprop changes the gradient"),
        "deconvnet": (lambda: c.DeconvNet(), "DeconvNet changes the gradient"),
        "smooth": (lambda: r.ReLUBetaSmooth(), "ReLUBetaSmooth changes the gradient"),
        "register": (lambda: c.EpsilonPlus().register(module), "composite.context"),
        "graph": (lambda: ours.attribution.Gradient(module, create_graph=True), "supported: False"),
        "pool": (lambda: explain([(t.MaxPool, r.Norm())]), "'features.3' (max_pool): hook Norm"),
        "container": (lambda: explain([(nn.Sequential, r.Pass())]), "'features' (Sequential)"),
        "relu": (lambda: explain([(nn.ReLU, r.Epsilon())]), "'features.2' (relu): hook Epsilon"),
        "softmax": (lambda: explain([], softmax, four), "'1' (softmax)"),
        "type": (lambda: explain([], module, [1.0]), "list"),
        "training": (lambda: explain([], VggLike()), "training mode"),
        "composite": (lambda: ours.accelerate("epsilon_plus"), "str"),
        "bounds": (lambda: r.ZBox(torch.tensor([[0.0], [1.0]]), 2.0), "differs between samples"),
    }


@pytest.mark.parametrize("name", list(refusals()))
def test_refusals(name: str) -> None:
    call, words = refusals()[name]
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert words in str(caught.value)


def test_hooks_of_zennit_that_are_refused(zennit: Any, x: Any) -> None:
    module = seeded(VggLike())
    clip = zennit.rules.Epsilon(zennit.core.Stabilizer(epsilon=0.1, clip=True))
    own = zennit.rules.Epsilon(lambda z: z + 1)
    for composite, words in (
        (zennit.composites.GuidedBackprop(), "ReLUGuidedBackprop changes the gradient"),
        (zennit.composites.LayerMapComposite([(nn.Linear, clip)]), "Epsilon with the stabilizer"),
        (zennit.composites.LayerMapComposite([(nn.Linear, own)]), "Epsilon with the stabilizer"),
    ):
        with pytest.raises(rp.UnsupportedError, match=words):
            ours.attribution.Gradient(module, composite)(x)
