"""The methods that explain a prediction: relevance propagation, sensitivity, gradients."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from relprop import _core
from relprop._arrays import Array, FloatArray, Floats, floats
from relprop._conditional import conditional
from relprop._progress import bar
from relprop._request import Call, Request, request
from relprop.composites import Composite, LayerRules, as_composite
from relprop.conservation import Conservation, LayerConservation
from relprop.model import How, Model, Network
from relprop.rules import Rule

# With a progress bar, batches run in slices of this many samples.
SLICE = 16

Target = Any
Start = Any

_STARTS = ("output", "one")
_NOTHING = np.empty(0, np.float32)


class _Method:
    """What the methods share: one engine call, or several under a progress bar."""

    def __init__(self, model: Model, how: How) -> None:
        given: object = model
        if not isinstance(given, Model):
            raise TypeError(f"model is of type {type(given).__name__}; accepted: a relprop.Model")
        self.model = model
        self._how = how

    def _request(
        self, x: Array, target: Target, start: Start, call: Call
    ) -> tuple[Floats, Network, Request]:
        given = floats(x, "x", cast=call.cast)
        network = self.model.network(self.model.sample_shape(given.values))
        return given, network, request(network, given.values, target, start, call)

    def _attribute(
        self,
        x: Array,
        target: Target,
        start: Start,
        call: Call,
        *,
        return_output: bool,
        progress: bool,
    ) -> Any:
        given, network, asked = self._request(x, target, start, call)
        layers = call.return_layers is not False
        return self._results(
            given, network, asked, return_output=return_output, layers=layers, progress=progress
        )

    def _results(
        self,
        given: Floats,
        network: Network,
        asked: Request,
        *,
        return_output: bool,
        layers: bool,
        progress: bool = False,
    ) -> Any:
        plan = self.model.plan(network, self._how)
        if progress:
            slices = max(-(-len(asked.x) // SLICE), 1)
            parts = bar(asked.parts(SLICE), total=slices, unit="slice")
            results = [_run(plan, part, return_output) for part in parts]
            relevance, output, *inner = (np.concatenate(v) for v in zip(*results, strict=True))
        else:
            relevance, output, *inner = _run(plan, asked, return_output)

        def result(values: FloatArray) -> Array:
            return given.restore(values if asked.seed.several else values[:, 0])

        returned: list[Any] = [result(relevance)]
        if return_output:
            returned.append(given.restore(output))
        if layers:
            named = zip(asked.layers, inner, strict=True)
            returned.append({name: result(values) for name, values in named})
        return returned[0] if len(returned) == 1 else tuple(returned)


def _run(plan: _core.Plan, request: Request, want_output: bool) -> list[FloatArray]:
    relevance, output, layers, _ = request.run(plan, want_output=want_output)
    return [relevance, _NOTHING if output is None else output, *layers]


class LRP(_Method):
    """Layer-wise relevance propagation (Bach et al. 2015).

    Args:
        model: the network.
        rule: one rule for every linear layer, a Composite, or a composite's name.

    Raises:
        TypeError, ValueError: no rule, or no composite of this name.
    """

    def __init__(
        self, model: Model, rule: Rule | Composite | LayerRules | str = "epsilon_alpha2_beta1"
    ) -> None:
        super().__init__(model, as_composite(rule))

    def attribute(
        self,
        x: Array,
        target: Target = None,
        start: Start = "output",
        *,
        return_output: bool = False,
        return_layers: bool | Collection[str] = False,
        mask: Mapping[str, Array] | None = None,
        exclude_parallel: bool = False,
        n_threads: int | None = None,
        progress: bool = False,
        cast: bool = False,
    ) -> Any:
        """The relevance of every input value for a target.

        Args:
            x: (N, *input_shape), float32, a NumPy array or a CPU torch tensor.
            target: the class: an int, one int per sample, an (N, T) integer array for T targets per
                sample that share the forward pass, or None for the largest output of each sample.
                For outputs that are maps, positions (c, y, x) take the place of the ints.
            start: what the relevance of the target is at the output: "output", the value there, so
                that relevance sums up to it; "one"; or an array (N, *output_shape) or
                (N, T, *output_shape) of relevance at the output, and no target. A softmax at the
                end is left out: the output is then its input.
            return_output: also return the network's output (of `model(x)` up to rounding: rules
                add up positive and negative parts apart).
            return_layers: also return the relevance at the output of all layers, or of those named.
            mask: by layer name, factors for the relevance at the layer's output; arrays that
                broadcast to it, with or without the batch dimension. 0 blocks the flow.
            exclude_parallel: of the relevance in front of masked layers, leave only what went
                through them, so that a mask cuts branches that go around its layer as well.
            n_threads: default: all cores that the process may use, or OMP_NUM_THREADS.
            progress: run in slices under a progress bar (needs tqdm). The results are the same.
            cast: round float64 or float16 input to float32 instead of refusing it.

        Returns:
            The relevance (N, *input_shape), or (N, T, *input_shape) for an (N, T) target. With
            return_output or return_layers a tuple: relevance, output (N, *output_shape), and a dict
            of relevance by layer name. All of the kind of x.

        Raises:
            TypeError: x or target of another type or dtype.
            ValueError: another shape, NaN or infinite values, a target out of range, an unknown
                layer name, a mask that does not fit.
        """
        call = Call(_STARTS, mask, return_layers, exclude_parallel, n_threads, cast)
        return self._attribute(
            x, target, start, call, return_output=return_output, progress=progress
        )

    def attribute_conditional(
        self,
        x: Array,
        conditions: Sequence[Mapping[str, Iterable[int]]],
        target: Target = None,
        start: Start = "output",
        *,
        exclude_parallel: bool = True,
        return_output: bool = False,
        return_layers: bool | Collection[str] = False,
        n_threads: int | None = None,
        cast: bool = False,
    ) -> Any:
        """One heatmap per condition on channels, for one forward pass (Achtibat et al. 2023).

        Args:
            x: as for `attribute`.
            conditions: each keeps, by layer name, the relevance of these channels at the layer's
                output and blocks the layer's others; ``[{"fire9": [3]}, {"fire9": [5, 7]}]``. An
                empty one keeps all.
            target: as for `attribute`; an (N, T) array gives each of T conditions its own target.
            start: as for `attribute`; an array may be (N, T, *output_shape).
            exclude_parallel: leave only what went through the layers, so that branches that go
                around them are cut as well; False leaves those alone.

        Returns:
            The relevance (N, conditions, *input_shape), and what else was asked for as by
            `attribute`, layers as (N, conditions, *shape).

        Raises:
            TypeError, ValueError: as `attribute`; a channel that the layer does not have, no
                condition at all, another number of targets than of conditions, or with
                exclude_parallel a condition on layers of parallel branches.
        """
        call = Call(_STARTS, None, return_layers, exclude_parallel, n_threads, cast)
        given, network, asked = self._request(x, target, start, call)
        asked = conditional(asked, network, conditions)
        layers = return_layers is not False
        return self._results(given, network, asked, return_output=return_output, layers=layers)

    def conservation(
        self,
        x: Array,
        target: Target = None,
        start: Start = "output",
        *,
        mask: Mapping[str, Array] | None = None,
        exclude_parallel: bool = False,
        n_threads: int | None = None,
        cast: bool = False,
    ) -> Conservation:
        """Where the relevance went: for every layer, what it lost to bias, stabilizer and zeros.

        Takes what `attribute` takes; ``print`` shows the report as a table.
        """
        call = Call(_STARTS, mask, False, exclude_parallel, n_threads, cast)
        _, network, asked = self._request(x, target, start, call)
        plan = self.model.plan(network, self._how)
        relevance, _, _, accounts = asked.run(plan, conservation=True)
        layers = []
        for account in accounts:
            name, op, _, _ = network.nodes[account.pop("node")]
            layers.append(LayerConservation(name, op, **account))
        total = float(relevance.sum(dtype=np.float64))
        return Conservation(tuple(layers), layers[0].relevance_out if layers else total, total)


class Gradient(_Method):
    """The gradient ∂f/∂x of the target's output f.

    Args:
        model: the network.
        of: "logit", the output itself (behind a softmax at the end: its input); or "log_prob", the
            logarithm of the softmax of the outputs.
        times_input: multiply by the input: the first-order Taylor expansion at 0, exact for
            networks of ReLUs without biases (Montavon, Samek, Müller 2017, section 4.2).
    """

    _square = False

    def __init__(
        self,
        model: Model,
        of: Literal["logit", "log_prob"] = "logit",
        *,
        times_input: bool = False,
    ) -> None:
        super().__init__(model, "gradient")
        if of not in ("logit", "log_prob"):
            raise ValueError(f"of = {of!r}; accepted: 'logit' or 'log_prob'")
        self._start = "one" if of == "logit" else "log_prob"
        self._times_input = times_input

    def attribute(
        self,
        x: Array,
        target: Target = None,
        start: Start = None,
        *,
        return_output: bool = False,
        return_layers: bool | Collection[str] = False,
        mask: Mapping[str, Array] | None = None,
        exclude_parallel: bool = False,
        n_threads: int | None = None,
        progress: bool = False,
        cast: bool = False,
    ) -> Any:
        """The gradient at every input value, (N, *input_shape) or (N, T, *input_shape).

        Args:
            start: an array to be multiplied by the Jacobian from the left, (N, *output_shape) or
                (N, T, *output_shape), and no target; default: one at the target.

        The other arguments, results and exceptions are those of `LRP.attribute`; layers give the
        gradient at their outputs, masks multiply it there.
        """
        call = Call(
            (self._start,),
            mask,
            return_layers,
            exclude_parallel,
            n_threads,
            cast,
            self._square,
            self._times_input,
        )
        start = self._start if start is None else start
        return self._attribute(
            x, target, start, call, return_output=return_output, progress=progress
        )


class GradientTimesInput(Gradient):
    """Gradient times input: ``Gradient(model, of, times_input=True)``."""

    def __init__(self, model: Model, of: Literal["logit", "log_prob"] = "logit") -> None:
        super().__init__(model, of, times_input=True)


class Sensitivity(Gradient):
    """Sensitivity analysis: (∂f/∂x_i)² (Montavon, Samek, Müller 2017, section 4.1).

    No absolute value and no scaling; relevance at layers is the gradient there, not squared.

    Args:
        model, of: as for `Gradient`.
    """

    _square = True

    def __init__(self, model: Model, of: Literal["logit", "log_prob"] = "logit") -> None:
        super().__init__(model, of)
