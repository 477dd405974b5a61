"""An explanation function for Quantus, as ``explain_func=relprop.compat.quantus.explain``.

Quantus calls it again and again on perturbed inputs; models are compiled once and kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import relprop as rp
from relprop.compat._modules import compiled
from relprop.model import Model

METHODS = {
    "LRP": rp.LRP,
    "Gradient": rp.Gradient,
    "Saliency": rp.Gradient,
    "GradientTimesInput": rp.GradientTimesInput,
    "InputXGradient": rp.GradientTimesInput,
    "Sensitivity": rp.Sensitivity,
}


def explain(
    model: Any,
    inputs: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    method: str = "LRP",
    rule: Any = "epsilon_plus",
    start: str = "one",
    normalise: bool = False,
    device: Any = None,
) -> npt.NDArray[np.float32]:
    """Attributions as Quantus wants them from its explain_func.

    Args:
        model: a torch module in evaluation mode, or a relprop.Model.
        inputs: (N, *input_shape); rounded to float32.
        targets: the classes, (N,) ints, or an int.
        method: "LRP", "Sensitivity", "Gradient" (also called "Saliency", of which the absolute
            value is taken) or "GradientTimesInput" (also "InputXGradient").
        rule: of LRP: a rule, a composite or a composite's name.
        start: of LRP: "one" at the target, as in Quantus' own explanations, or its "output".
        normalise: divide each sample by its largest absolute value.
        device: only the CPU.

    Returns:
        float32, of the inputs' shape.

    Raises:
        TypeError, ValueError: an argument of another kind, a target out of range.
        UnsupportedError: a layer that relprop does not have.
    """
    if device is not None and str(device) != "cpu":
        raise ValueError(f"device = {device!r}; accepted: 'cpu'")
    if method not in METHODS:
        raise ValueError(f"method = {method!r}; accepted: {', '.join(map(repr, METHODS))}")
    x = np.ascontiguousarray(inputs, np.float32)
    network = model if isinstance(model, Model) else compiled(model, torch.from_numpy(x))
    target = np.asarray(targets)
    chosen = target.astype(np.int64) if target.dtype.kind in "biuf" and target.size else targets
    if np.any(np.asarray(chosen) != target):
        raise ValueError(f"targets = {targets!r}; accepted: ints")
    if method == "LRP":
        result = rp.LRP(network, rule).attribute(x, chosen, start)
    else:
        result = METHODS[method](network).attribute(x, chosen)
    values: npt.NDArray[np.float32] = np.abs(result) if method == "Saliency" else result
    if normalise:
        largest = np.abs(values).reshape(len(values), -1).max(axis=1)
        scale = np.where(largest > 0, largest, 1).astype(np.float32)
        values = values / scale.reshape(-1, *(1 for _ in x.shape[1:]))
    return values
