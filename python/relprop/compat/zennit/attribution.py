"""Zennit's attributors: called with an input, they return the output and the relevance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from types import TracebackType
from typing import Any

import torch

import relprop as rp
from relprop._core import UnsupportedError
from relprop.compat._modules import compiled, network_of
from relprop.compat.zennit._accelerate import accelerate
from relprop.compat.zennit._resolve import resolve
from relprop.compat.zennit.composites import Composite

# Noisy copies and steps of a path run in batches of about so many samples.
BATCH = 32

Tensor = torch.Tensor
OutputFunction = Callable[[Tensor], Tensor]
AttrOutput = Tensor | OutputFunction | None


class Attributor:
    """What the attributors share.

    Args:
        model: a torch module in evaluation mode that takes one tensor and returns logits. It is
            compiled at the first call for each input size, and again when its weights changed.
        composite: one of `relprop.compat.zennit.composites`, one made with Zennit itself, or None
            for the plain gradient.
        attr_output: where the relevance starts: a tensor of the output's shape, a function of the
            output, or None for the output itself.
    """

    def __init__(
        self, model: torch.nn.Module, composite: Any = None, attr_output: AttrOutput = None
    ) -> None:
        self.model = model
        self.composite = None if composite is None else accelerate(composite)
        self.attr_output = attr_output

    def __enter__(self) -> Attributor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    @contextmanager
    def inactive(self) -> Iterator[Any]:
        """Nothing: no hook is ever attached."""
        yield self.composite

    def __call__(self, input: Tensor, attr_output: AttrOutput = None) -> tuple[Tensor, Tensor]:
        """The output (N, ...) and the relevance of the input's shape, both detached.

        Raises:
            TypeError, ValueError: input is no finite float32 CPU tensor, or attr_output does not
                have the output's shape.
            UnsupportedError: a layer or a rule that relprop does not have.
        """
        if not isinstance(input, Tensor):
            kind = type(input).__name__
            raise TypeError(f"input is of type {kind}; accepted: a float32 torch tensor")
        given = self.attr_output if attr_output is None else attr_output
        return self.forward(input, given)

    def forward(self, input: Tensor, attr_output: AttrOutput) -> tuple[Tensor, Tensor]:
        """What the call does, with the default of attr_output filled in."""
        raise NotImplementedError

    def _method(self, input: Tensor) -> rp.LRP | rp.Gradient:
        return method(self.model, self.composite, input)


class Gradient(Attributor):
    """The gradient, or with a composite the relevance.

    Args:
        model, composite, attr_output: see `Attributor`.
        create_graph, retain_graph: only False; relevance has no graph here.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        composite: Any = None,
        attr_output: AttrOutput = None,
        create_graph: bool = False,
        retain_graph: bool | None = None,
    ) -> None:
        super().__init__(model, composite, attr_output)
        if create_graph or retain_graph:
            raise UnsupportedError(
                "create_graph or retain_graph: relevance has no graph here; supported: False"
            )

    def forward(self, input: Tensor, attr_output: AttrOutput) -> tuple[Tensor, Tensor]:
        """One pass if attr_output is a tensor; the forward pass once more if it is a function."""
        return self.grad(input.detach(), attr_output)

    def grad(self, input: Tensor, attr_output: AttrOutput) -> tuple[Tensor, Tensor]:
        """Output and relevance of a batch."""
        explain = self._method(input)
        if isinstance(attr_output, Tensor):
            start = attr_output
            relevance, output = explain.attribute(input, start=start, return_output=True)
            return output, relevance
        output = explain.model(input)
        start = output if attr_output is None else attr_output(output)
        return output, explain.attribute(input, start=start.detach())

    def _mean(
        self, copies: Iterator[Tensor], count: int, attr_output: AttrOutput
    ) -> tuple[Tensor, Tensor]:
        """The last copy's output and the mean relevance; copies run in batches."""
        output: Tensor | None = None
        total: Tensor | None = None
        waiting: list[Tensor] = []
        for index, copy in enumerate(copies):
            waiting.append(copy)
            if index + 1 < count and (len(waiting) + 1) * len(copy) <= BATCH:
                continue
            outputs, relevance = self.grad(
                torch.cat(waiting), _repeated(attr_output, len(waiting), len(copy))
            )
            part = relevance.reshape(len(waiting), *copy.shape).sum(0)
            total = part if total is None else total + part
            output, waiting = outputs[len(outputs) - len(copy) :], []
        assert output is not None
        assert total is not None
        return output, total / count


class SmoothGrad(Gradient):
    """The mean over noisy copies of the input (Smilkov et al. 2017).

    Args:
        noise_level: standard deviation of the noise over each sample's range of values.
        n_iter: how many copies; the last one has no noise.

    The other arguments are those of `Gradient`. Draws come from torch's generator in Zennit's
    order: under one seed both see the same noise.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        composite: Any = None,
        attr_output: AttrOutput = None,
        create_graph: bool = False,
        retain_graph: bool | None = None,
        noise_level: float = 0.1,
        n_iter: int = 20,
    ) -> None:
        super().__init__(model, composite, attr_output, create_graph, retain_graph)
        self.noise_level = noise_level
        self.n_iter = _count(n_iter)

    def forward(self, input: Tensor, attr_output: AttrOutput) -> tuple[Tensor, Tensor]:
        """The output of the input itself, and the mean."""
        input = input.detach()
        axes = tuple(range(1, input.ndim))
        spread = input.amax(axes, keepdim=True) - input.amin(axes, keepdim=True)
        scale = self.noise_level * spread

        def copies() -> Iterator[Tensor]:
            for _ in range(self.n_iter - 1):
                yield input + torch.randn_like(input) * scale
            yield input

        return self._mean(copies(), self.n_iter, attr_output)


class IntegratedGradients(Gradient):
    """The path integral from a baseline (Sundararajan et al. 2017), by right Riemann sums.

    Args:
        baseline_fn: the baseline as a function of the input; default: zeros.
        n_iter: how many steps.

    The other arguments are those of `Gradient`.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        composite: Any = None,
        attr_output: AttrOutput = None,
        create_graph: bool = False,
        retain_graph: bool | None = None,
        baseline_fn: OutputFunction | None = None,
        n_iter: int = 20,
    ) -> None:
        super().__init__(model, composite, attr_output, create_graph, retain_graph)
        self.baseline_fn = baseline_fn or torch.zeros_like
        self.n_iter = _count(n_iter)

    def forward(self, input: Tensor, attr_output: AttrOutput) -> tuple[Tensor, Tensor]:
        """The output of the input itself, and the integral."""
        input = input.detach()
        baseline = self.baseline_fn(input)
        steps = torch.linspace(1.0 / self.n_iter, 1.0, self.n_iter)
        copies = (baseline + step * (input - baseline) for step in steps)
        output, mean = self._mean(copies, self.n_iter, attr_output)
        return output, mean * (input - baseline)


class Occlusion(Attributor):
    """The score that is left when all but a sliding window is occluded.

    Args:
        occlusion_fn: (input, mask) -> occluded input, mask being True inside the window; default:
            zero outside.
        window, stride: an int for all axes of a sample, or a tuple for the last axes.

    The other arguments are those of `Attributor`; the composite changes nothing.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        composite: Any = None,
        attr_output: AttrOutput = None,
        occlusion_fn: Callable[[Tensor, Tensor], Tensor] | None = None,
        window: int | tuple[int, ...] = 8,
        stride: int | tuple[int, ...] = 8,
    ) -> None:
        super().__init__(model, composite, attr_output)
        for name, value in (("window", window), ("stride", stride)):
            sizes = value if isinstance(value, tuple) else (value,)
            if not all(isinstance(size, int) and size > 0 for size in sizes):
                raise TypeError(f"{name} = {value!r}; accepted: an int or a tuple of ints above 0")
        self.occlusion_fn = occlusion_fn or (lambda input, mask: input * mask)
        self.window = window
        self.stride = stride

    def forward(self, input: Tensor, attr_output: AttrOutput) -> tuple[Tensor, Tensor]:
        """The output of the input itself, and for every value the scores of its windows, added."""
        input = input.detach()
        model = compiled(self.model, input)
        network_of(model, input)
        window, stride = (_sizes(v, input) for v in (self.window, self.stride))
        root = torch.zeros_like(input, dtype=torch.bool)
        root[tuple(slice(0, size) for size in window)] = True
        result = torch.zeros_like(input)
        offsets = [range(0, size, step) for size, step in zip(input.shape, stride, strict=True)]
        for offset in product(*offsets):
            mask = root.roll(offset, tuple(range(input.ndim)))
            output = model(self.occlusion_fn(input, mask))
            score = _started(attr_output, output).sum(tuple(range(1, output.ndim)))
            result += mask * score[(slice(None),) + (None,) * (input.ndim - 1)]
        return model(input), result


def method(
    module: torch.nn.Module, composite: Composite | None, input: Tensor
) -> rp.LRP | rp.Gradient:
    """The method of relprop that explains samples like input."""
    model = compiled(module, input)
    network = network_of(model, input)
    if composite is None:
        return rp.Gradient(model)
    return rp.LRP(model, resolve(composite, module, network))


def explained(module: torch.nn.Module, composite: Composite) -> Callable[[Tensor], Tensor]:
    """The module as a function whose gradient with respect to its input is the relevance."""

    def forward(input: Tensor) -> Tensor:
        output: Tensor = _Explained.apply(input, module, composite)  # type: ignore[no-untyped-call]
        return output

    return forward


class _Explained(torch.autograd.Function):
    """The model's output forward, relevance backward."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, module: torch.nn.Module, composite: Composite) -> Tensor:
        ctx.save_for_backward(input)
        ctx.explain = method(module, composite, input)
        output: Tensor = ctx.explain.model(input)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (input,) = ctx.saved_tensors
        return ctx.explain.attribute(input, start=gradients[0].contiguous()), None, None


def _started(attr_output: AttrOutput, output: Tensor) -> Tensor:
    if attr_output is None:
        return output
    return attr_output if isinstance(attr_output, Tensor) else attr_output(output)


def _repeated(attr_output: AttrOutput, times: int, n: int) -> AttrOutput:
    """attr_output for several copies of a batch of n samples at once."""
    if isinstance(attr_output, Tensor):
        return attr_output.repeat(times, *(1 for _ in attr_output.shape[1:]))
    if attr_output is None:
        return None
    function = attr_output
    return lambda outputs: torch.cat([function(part) for part in torch.split(outputs, n)])


def _count(n_iter: int) -> int:
    if isinstance(n_iter, bool) or not isinstance(n_iter, int) or n_iter < 1:
        raise ValueError(f"n_iter = {n_iter!r}; accepted: an int of at least 1")
    return n_iter


def _sizes(given: int | tuple[int, ...], input: Tensor) -> tuple[int, ...]:
    """One size per axis, the batch's included."""
    if isinstance(given, int):
        given = tuple(min(given, size) for size in input.shape[1:])
    return (*input.shape[: input.ndim - len(given)], *given)
