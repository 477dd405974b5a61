"""The network oracle against recorded outputs, torch's autograd and zennit, all in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import oracle
from networks import (
    EFFICIENTNET,
    GAN_DISCRIMINATOR,
    GAN_GENERATOR,
    LENET,
    NETWORKS,
    SQUEEZENET,
    VGG,
    NetworkCase,
)
from oracle_ops import AdaptiveAverage
from zennit_stub import import_zennit

torch = pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture(scope="module")
def zennit() -> Any:
    try:
        return import_zennit()
    except ImportError as error:
        pytest.skip(f"zennit does not import: {error}")


def assert_same(actual: Any, expected: Any, tolerance: float = 1e-11) -> None:
    largest = np.abs(expected).max()
    assert largest > 0
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= tolerance * largest


def test_outputs_are_the_recorded_ones(data: Path) -> None:
    """Recorded from the unrounded inputs, so they differ by the rounding of float32 inputs."""
    for case, key in [(LENET, "logits_float64"), (GAN_GENERATOR, "image_float64")]:
        y = oracle.Network(data / case.file).forward(case.inputs(data, 32))
        assert_same(y, case.reference(data)[key][:32], 2e-8)
    for case in (SQUEEZENET, EFFICIENTNET):
        y = oracle.Network(data / case.file).forward(case.inputs(data, 2))
        assert_same(y, case.reference(data)["logits_float64"][:2], 1e-7)


def one_target(y: np.ndarray) -> np.ndarray:
    """f at the largest output of each sample, zero elsewhere."""
    flat = y.reshape(len(y), -1)
    chosen = np.arange(flat.shape[1]) == flat.argmax(1)[:, None]
    return np.where(chosen, flat, 0).reshape(y.shape)


@pytest.mark.parametrize("case", NETWORKS, ids=lambda case: case.id)
def test_gradients_are_torchs(case: NetworkCase, data: Path) -> None:
    from torch_networks import TorchNetwork

    network = oracle.Network(data / case.file, output=case.output)
    module, x = TorchNetwork(network), case.inputs(data, 1).astype(np.float64)
    variable = torch.from_numpy(x).requires_grad_()
    y = module(variable)
    start = one_target(y.detach().numpy())
    (gradient,) = torch.autograd.grad(y, variable, torch.from_numpy(start))
    explained = network.explain(x, start, oracle.GRADIENT)
    assert_same(explained.output, y.detach().numpy())
    assert_same(explained.relevance, gradient.numpy())


ZENNIT_RULES = {
    "epsilon": oracle.Rule("epsilon"),
    "alpha2_beta1": oracle.Rule("alpha_beta", alpha=2, beta=1),
    "gamma": oracle.Rule("gamma"),
    "w_square": oracle.Rule("w_square"),
}


@pytest.mark.parametrize("name", ZENNIT_RULES)
@pytest.mark.parametrize(
    "case", [LENET, SQUEEZENET, EFFICIENTNET, VGG, GAN_DISCRIMINATOR], ids=lambda case: case.id
)
def test_relevance_is_zennits(case: NetworkCase, name: str, data: Path, zennit: Any) -> None:
    from test_oracle import zennit_rule
    from torch_networks import TorchNetwork

    rule = ZENNIT_RULES[name]
    if case is EFFICIENTNET and rule.kind == "w_square":
        pytest.skip("zennit sees the cells of an asymmetric padding as input, which w² counts")
    network = oracle.Network(data / case.file, output=case.output)
    module, x = TorchNetwork(network, zennit.layer.Sum), case.inputs(data, 1).astype(np.float64)
    types = zennit.types
    composite = zennit.composites.LayerMapComposite(
        [
            (types.Activation, zennit.rules.Pass()),
            ((types.AvgPool, zennit.layer.Sum), zennit.rules.Norm()),
            (types.Linear, zennit_rule(zennit, rule)),
        ]
    )
    variable = torch.from_numpy(x).requires_grad_()
    with composite.context(module) as hooked:
        y = hooked(variable)
        start = one_target(y.detach().numpy())
        (relevance,) = torch.autograd.grad(y, variable, torch.from_numpy(start))
    assert_same(network.explain(x, start, rule).relevance, relevance.numpy(), 1e-9)


def one_node(
    kind: str, shape: tuple[int, ...], constants: dict[str, Any], **attributes: Any
) -> Any:
    """A model of one node; constants follow the input."""
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", *constants], ["y"], name="node", **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["N", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


F = torch.nn.functional
NODES = {
    "elu": (one_node("Elu", (3, 5), {}, alpha=0.75), lambda x: F.elu(x, 0.75)),
    "gelu": (one_node("Gelu", (3, 5), {}), F.gelu),
    "gelu-tanh": (
        one_node("Gelu", (3, 5), {}, approximate="tanh"),
        lambda x: F.gelu(x, approximate="tanh"),
    ),
    "clip": (
        one_node("Clip", (4, 6), {"low": -0.5, "high": 1.0}),
        lambda x: F.hardtanh(x, -0.5, 1.0),
    ),
    "max-pool": (
        one_node(
            "MaxPool", (3, 8, 9), {}, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]
        ),
        lambda x: F.max_pool2d(x, 3, 2, 1),
    ),
    "max-pool-ceil-dilated": (
        one_node(
            "MaxPool", (3, 8, 9), {}, kernel_shape=[2, 2], strides=[3, 3], dilations=[2, 2],
            ceil_mode=1,
        ),
        lambda x: F.max_pool2d(x, 2, 3, 0, 2, ceil_mode=True),
    ),
    "average-pool": (
        one_node("AveragePool", (3, 8, 9), {}, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
    ),
    "average-pool-ceil": (
        one_node(
            "AveragePool", (3, 8, 10), {}, kernel_shape=[3, 3], strides=[2, 2],
            pads=[1, 1, 1, 1], ceil_mode=1, count_include_pad=1,
        ),
        lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=True),
    ),
    "average-pool-1d": (
        one_node("AveragePool", (3, 8), {}, kernel_shape=[3], strides=[2]),
        lambda x: F.avg_pool1d(x, 3, 2),
    ),
    "pad": (
        one_node("Pad", (3, 4, 5), {"pads": np.array([0, 0, 1, -1, 0, 0, 2, 1]), "value": 0.5}),
        lambda x: F.pad(x, (-1, 1, 1, 2), value=0.5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NODES)
def test_nodes_are_torchs(name: str, rng: np.random.Generator) -> None:
    model, function = NODES[name]
    network = oracle.Network(model)
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    x = rng.standard_normal((2, *shape))
    variable = torch.from_numpy(x).requires_grad_()
    y = function(variable)
    start = rng.standard_normal(y.shape)
    (gradient,) = torch.autograd.grad(y, variable, torch.from_numpy(start))
    explained = network.explain(x, start, oracle.GRADIENT)
    assert_same(explained.output, y.detach().numpy())
    assert_same(explained.relevance, gradient.numpy())


@pytest.mark.parametrize("output", [(1, 1), (2, 3), (5, 4), (7, 9)])
def test_adaptive_average_is_torchs(output: tuple[int, int], rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 7, 9))
    variable = torch.from_numpy(x).requires_grad_()
    y = F.adaptive_avg_pool2d(variable, output)
    g = rng.standard_normal(y.shape)
    (gradient,) = torch.autograd.grad(y, variable, torch.from_numpy(g))
    op = AdaptiveAverage(output)
    assert_same(op.forward(x), y.detach().numpy())
    assert_same(op.gradient([x], y.detach().numpy(), g)[0], gradient.numpy())


def test_batch_norms_fold_to_the_same_function(rng: np.random.Generator) -> None:
    """Behind a convolution, behind a transposed one with groups, ahead of one, and alone."""
    constants: dict[str, Any] = {
        "w1": rng.standard_normal((4, 3, 3, 3)),
        "w2": rng.standard_normal((4, 3, 2, 2)),
        "w3": rng.standard_normal((5, 6, 1, 1)),
    }
    channels = {"a": 4, "b": 6, "c": 6, "d": 5, "e": 3}
    norms = {}
    for name, count in channels.items():
        norms[name] = [f"{name}{i}" for i in range(4)]
        for key in norms[name]:
            constants[key] = rng.uniform(0.5, 1.5, count)
    node = helper.make_node
    nodes = [
        node("BatchNormalization", ["x", *norms["e"]], ["x1"], name="alone"),
        node("Relu", ["x1"], ["x2"], name="relu0"),
        node("Conv", ["x2", "w1"], ["y1"], name="conv", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["y1", *norms["a"]], ["y2"], name="bn_a"),
        node("ConvTranspose", ["y2", "w2"], ["y3"], name="up", group=2, strides=[2, 2]),
        node("BatchNormalization", ["y3", *norms["b"]], ["y4"], name="bn_b"),
        node("Relu", ["y4"], ["y5"], name="relu"),
        node("BatchNormalization", ["y5", *norms["c"]], ["y6"], name="bn_c"),
        node("Conv", ["y6", "w3"], ["y7"], name="pointwise"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["N", 3, 6, 5])],
        [helper.make_tensor_value_info("y7", TensorProto.DOUBLE, None)],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    network = oracle.Network(model)
    assert network.linear_layers == [
        ("alone", "Affine"),
        ("conv", "Conv"),
        ("up", "ConvTranspose"),
        ("pointwise", "Conv"),
    ]
    x = rng.standard_normal((2, 3, 6, 5))
    c = {key: torch.from_numpy(value) for key, value in constants.items()}

    def norm(t: Any, name: str) -> Any:
        scale, shift, mean, variance = (c[key] for key in norms[name])
        return F.batch_norm(t, mean, variance, scale, shift, eps=np.float32(1e-5))

    t = norm(torch.from_numpy(x), "e").relu()
    t = norm(F.conv2d(t, c["w1"], padding=1), "a")
    t = norm(F.conv_transpose2d(t, c["w2"], stride=2, groups=2), "b").relu()
    expected = F.conv2d(norm(t, "c"), c["w3"]).numpy()
    assert_same(network.forward(x), expected)
    explained = network.explain(x, one_target, oracle.Rule("epsilon"))
    assert np.array_equal(explained.layers["conv"], explained.layers["bn_a"])
