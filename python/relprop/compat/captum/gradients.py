"""Captum's gradient methods as batched calls of the fast gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import relprop as rp
from relprop._core import UnsupportedError
from relprop.compat.captum._arguments import (
    Tensor,
    expanded,
    formatted,
    model_of,
    resolved_target,
    selected,
    single_input,
)

# Steps and noisy copies run in batches of about so many examples.
BATCH = 32


class _GradientMethod:
    """What the methods share.

    Args:
        forward_func: a torch module in evaluation mode with one input, or a relprop.Model.
    """

    _times_input = False

    def __init__(self, forward_func: Any) -> None:
        self.forward_func = forward_func

    def _gradient(self, x: Tensor, target: Any) -> Tensor:
        model, network = model_of(self.forward_func, x)
        where = resolved_target(target, network, len(x))
        method = rp.Gradient(model, times_input=self._times_input)
        result: Tensor = method.attribute(x, where)
        return result


class Saliency(_GradientMethod):
    """|∂f/∂x|; for the squared gradient see `relprop.Sensitivity`."""

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        abs: bool = True,
        additional_forward_args: Any = None,
    ) -> Any:
        """The gradient, or its absolute value, of the inputs' shape.

        Arguments and exceptions are those of `LRP.attribute`.
        """
        x, in_tuple = single_input(inputs, additional_forward_args)
        gradient = self._gradient(x, target)
        return formatted(gradient.abs() if abs else gradient, in_tuple)


class InputXGradient(_GradientMethod):
    """x ∂f/∂x."""

    _times_input = True

    def attribute(
        self, inputs: Any, target: Any = None, additional_forward_args: Any = None
    ) -> Any:
        """Gradient times input, of the inputs' shape.

        Arguments and exceptions are those of `LRP.attribute`.
        """
        x, in_tuple = single_input(inputs, additional_forward_args)
        return formatted(self._gradient(x, target), in_tuple)


class IntegratedGradients(_GradientMethod):
    """The path integral of the gradient from a baseline (Sundararajan et al. 2017).

    Args:
        multiply_by_inputs: multiply by inputs - baseline.
    """

    def __init__(self, forward_func: Any, multiply_by_inputs: bool = True) -> None:
        super().__init__(forward_func)
        self.multiplies_by_inputs = multiply_by_inputs

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
    ) -> Any:
        """The integral, of the inputs' shape.

        Args:
            baselines: a number or a tensor that broadcasts to the inputs; None: zero.
            n_steps: how many gradients.
            method: "gausslegendre", "riemann_left", "riemann_right", "riemann_middle" or
                "riemann_trapezoid".
            internal_batch_size: examples per pass; default: 32.
            return_convergence_delta: also Σ attributions - (f(inputs) - f(baselines)), (N,).

        The other arguments and exceptions are those of `LRP.attribute`.
        """
        x, in_tuple = single_input(inputs, additional_forward_args)
        base = baselines[0] if isinstance(baselines, tuple) else baselines
        start = torch.zeros_like(x) if base is None else torch.as_tensor(base).to(x).expand_as(x)
        x = x.detach()
        weights, alphas = _quadrature(method, n_steps)
        count = max((internal_batch_size or BATCH) // max(len(x), 1), 1)
        total = torch.zeros_like(x)
        for begin in range(0, n_steps, count):
            part = alphas[begin : begin + count]
            path = torch.cat([start + alpha * (x - start) for alpha in part])
            gradient = self._gradient(path, expanded(target, len(part), interleave=False))
            scale = torch.tensor(weights[begin : begin + count], dtype=torch.float32)
            shaped = gradient.reshape(len(part), *x.shape)
            total += (shaped * scale.reshape(-1, *(1 for _ in x.shape))).sum(0)
        result = total * (x - start) if self.multiplies_by_inputs else total
        if not return_convergence_delta:
            return formatted(result, in_tuple)
        model, network = model_of(self.forward_func, x)
        where = resolved_target(target, network, len(x))
        change = selected(model(x), where) - selected(model(start.contiguous()), where)
        return formatted(result, in_tuple), result.reshape(len(x), -1).sum(1) - change


class NoiseTunnel:
    """Smoothing over noisy copies of the inputs (Smilkov et al. 2017; Adebayo et al. 2018).

    Args:
        attribution_method: any object of this package with attribute().
    """

    def __init__(self, attribution_method: Any) -> None:
        if not callable(getattr(attribution_method, "attribute", None)):
            raise TypeError(
                f"attribution_method is of type {type(attribution_method).__name__}; accepted: an "
                "object such as Saliency(model)"
            )
        self.attribution_method = attribution_method

    def attribute(
        self,
        inputs: Any,
        nt_type: str = "smoothgrad",
        nt_samples: int = 5,
        nt_samples_batch_size: int | None = None,
        stdevs: Any = 1.0,
        draw_baseline_from_distrib: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The smoothed attributions, of the inputs' shape.

        Args:
            nt_type: "smoothgrad", the mean; "smoothgrad_sq", the mean square; or "vargrad", the
                variance.
            nt_samples: noisy copies per example.
            nt_samples_batch_size: copies per example and pass; default: all.
            stdevs: standard deviation of the noise, from torch's generator in Captum's order.
            draw_baseline_from_distrib: only False.
            kwargs: what the method's own attribute() takes, but no convergence delta.
        """
        if draw_baseline_from_distrib or kwargs.get("return_convergence_delta"):
            raise UnsupportedError(
                "draw_baseline_from_distrib, return_convergence_delta; supported: False"
            )
        if nt_type not in ("smoothgrad", "smoothgrad_sq", "vargrad"):
            raise ValueError(
                f"nt_type = {nt_type!r}; accepted: 'smoothgrad', 'smoothgrad_sq' or 'vargrad'"
            )
        x, in_tuple = single_input(inputs, None)
        x, deviation = x.detach(), stdevs[0] if isinstance(stdevs, tuple) else stdevs
        total, squares, left = torch.zeros_like(x), torch.zeros_like(x), nt_samples
        while left > 0:
            count = min(left, nt_samples_batch_size or nt_samples)
            shape = (len(x) * count, *x.shape[1:])
            noise = torch.normal(0, torch.tensor(float(deviation)).repeat(shape))
            copies = x.repeat_interleave(count, dim=0) + noise
            more = {**kwargs, "target": expanded(kwargs.get("target"), count, interleave=True)}
            parts = self.attribution_method.attribute(copies, **more)
            parts = parts.reshape(len(x), count, *x.shape[1:])
            total += parts.sum(1)
            squares += (parts**2).sum(1)
            left -= count
        mean, square = total / nt_samples, squares / nt_samples
        kinds = {"smoothgrad": mean, "smoothgrad_sq": square, "vargrad": square - mean**2}
        return formatted(kinds[nt_type], in_tuple)


def _quadrature(method: str, n: int) -> tuple[list[float], list[float]]:
    """Weights and positions in [0, 1]."""
    if isinstance(n, bool) or not isinstance(n, int) or n < 2:
        raise ValueError(f"n_steps = {n!r}; accepted: an int of at least 2")
    if method == "gausslegendre":
        points, weights = np.polynomial.legendre.leggauss(n)
        return (weights / 2).tolist(), ((1 + points) / 2).tolist()
    spans = {
        "riemann_left": (0, 1 - 1 / n),
        "riemann_right": (1 / n, 1),
        "riemann_middle": (1 / (2 * n), 1 - 1 / (2 * n)),
        "riemann_trapezoid": (0, 1),
    }
    if method not in spans:
        accepted = ", ".join(map(repr, ("gausslegendre", *spans)))
        raise ValueError(f"method = {method!r}; accepted: {accepted}")
    sizes = [1 / n] * n
    if method == "riemann_trapezoid":
        sizes[0] = sizes[-1] = 0.5 / n
    return sizes, np.linspace(*spans[method], n).tolist()
