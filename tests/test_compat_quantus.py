"""relprop.compat.quantus: the contract of explain_func, and inside Quantus itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import relprop as rp

torch = pytest.importorskip("torch", reason="torch is not installed")

from dropin_networks import VggLike, seeded  # noqa: E402
from quantus_stub import import_quantus  # noqa: E402
from relprop.compat.quantus import explain  # noqa: E402


@pytest.fixture(scope="module")
def module() -> Any:
    return seeded(VggLike(1))


@pytest.fixture
def x(rng: np.random.Generator) -> Any:
    return rng.standard_normal((4, 1, 16, 16))


def test_the_contract(module: Any, x: Any) -> None:
    targets = np.array([0, 3, 1, 4])
    single = x.astype(np.float32)
    model = rp.from_torch(module, torch.from_numpy(single))
    for arguments, method, start in (
        ({}, rp.LRP(model, "epsilon_plus"), "one"),
        ({"rule": rp.Gamma(), "start": "output"}, rp.LRP(model, rp.Gamma()), "output"),
        ({"method": "Sensitivity"}, rp.Sensitivity(model), None),
        ({"method": "Gradient", "device": "cpu"}, rp.Gradient(model), None),
        ({"method": "InputXGradient"}, rp.GradientTimesInput(model), None),
    ):
        expected = method.attribute(single, targets, start)
        for given in (module, model):
            actual = explain(given, x, targets, **arguments)
            assert actual.dtype == np.float32
            assert np.array_equal(actual, expected)
    saliency = explain(module, x, targets, method="Saliency", normalise=True)
    gradient = np.abs(rp.Gradient(model).attribute(single, targets))
    assert np.array_equal(saliency, gradient / gradient.max((1, 2, 3), keepdims=True))
    assert np.array_equal(
        explain(module, x, targets.astype(np.float64)), explain(module, x, targets)
    )


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "method": ({"method": "IG"}, "method = 'IG'"),
    "device": ({"device": "cuda"}, "device = 'cuda'"),
    "rule": ({"rule": "lime"}, "no composite is called 'lime'"),
    "targets": ({"targets": [0.5, 0, 0, 0]}, "targets = [0.5"),
    "range": ({"targets": [5, 0, 0, 0]}, "5"),
    "argument": ({"abs": True}, "abs"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(name: str, module: Any, x: Any) -> None:
    arguments, words = BAD[name]
    with pytest.raises((TypeError, ValueError)) as caught:
        explain(module, x, **{"targets": [0, 0, 0, 0], **arguments})
    assert words in str(caught.value)


@pytest.fixture(scope="module")
def quantus() -> Any:
    try:
        return import_quantus()
    except ImportError as problem:
        pytest.skip(f"quantus does not import: {problem}")


def torch_gradients(model: Any, inputs: Any, targets: Any, **_: Any) -> Any:
    variable = torch.tensor(np.asarray(inputs, np.float32), requires_grad=True)
    chosen = model(variable)[range(len(inputs)), torch.as_tensor(targets)]
    return torch.autograd.grad(chosen.sum(), variable)[0].abs().numpy()


@pytest.mark.filterwarnings("ignore")
def test_metrics_of_quantus_take_it(quantus: Any, module: Any, x: Any) -> None:
    """Two metrics that explain perturbed inputs again, and one on given relevance."""
    single = x.astype(np.float32)
    batch = {
        "model": module,
        "x_batch": single,
        "y_batch": module(torch.from_numpy(single)).argmax(1).numpy(),
        "a_batch": None,
        "device": "cpu",
    }
    more = {"disable_warnings": True, "display_progressbar": False}
    metrics = {
        "flipping": quantus.PixelFlipping(features_in_step=32, perturb_baseline="black", **more),
        "sensitivity": quantus.MaxSensitivity(nr_samples=2, **more),
        "complexity": quantus.Complexity(**more),
    }
    for name, metric in metrics.items():
        results = []
        for function, arguments in ((torch_gradients, {}), (explain, {"method": "Saliency"})):
            np.random.seed(0)  # noqa: NPY002 - Quantus draws from the global generator
            scores = metric(**batch, explain_func=function, explain_func_kwargs=arguments)
            results.append(np.asarray(scores, np.float64))
        np.testing.assert_allclose(results[1], results[0], rtol=1e-4, err_msg=name)
    rules = {"rule": "epsilon_alpha2_beta1_flat"}
    scores = metrics["sensitivity"](**batch, explain_func=explain, explain_func_kwargs=rules)
    assert np.isfinite(scores).all()
