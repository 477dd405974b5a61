"""What a caller asks of an explanation, checked and in the engine's terms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from relprop import _core
from relprop._arrays import FloatArray, floats, is_tensor, real_values, tensor_values
from relprop.composites import upstream
from relprop.model import Network, checked_threads

IntArray = npt.NDArray[np.int64]
Mask = tuple[int, FloatArray, bool]

_TARGETS = "accepted: None (the largest output), an int, one int per sample or an (N, T) array"


# Named tuples: of a call on a small network, making frozen dataclasses is a noticeable part.


class Seed(NamedTuple):
    """Where the backward pass starts. several: results keep an axis for targets."""

    start: str | FloatArray
    targets: IntArray | None
    several: bool

    def part(self, which: slice) -> Seed:
        """That of some samples."""
        start = self.start if isinstance(self.start, str) else self.start[which]
        targets = None if self.targets is None else self.targets[which]
        return self._replace(start=start, targets=targets)


class Call(NamedTuple):
    """Arguments that need no look at the network. starts: those that a string may name."""

    starts: tuple[str, ...]
    mask: object = None
    return_layers: object = False
    exclude_parallel: bool = False
    n_threads: int | None = None
    cast: bool = False
    square: bool = False
    times_input: bool = False


class Request(NamedTuple):
    """One explanation of a batch; layers are nodes by name."""

    x: FloatArray
    seed: Seed
    masks: list[Mask]
    layers: dict[str, int]
    options: dict[str, Any]
    mask_targets: tuple[int, ...] = ()

    def run(
        self, plan: _core.Plan, *, want_output: bool = False, conservation: bool = False
    ) -> tuple[FloatArray, FloatArray | None, list[FloatArray], list[dict[str, Any]]]:
        """The engine's results: relevance, output, relevance at layers, conservation."""
        return plan.relevance(
            self.x,
            start=self.seed.start,
            targets=self.seed.targets,
            masks=self.masks,
            mask_targets=self.mask_targets,
            layers=list(self.layers.values()),
            want_output=want_output,
            conservation=conservation,
            **self.options,
        )

    def parts(self, size: int) -> Iterator[Request]:
        """Slices of the batch; one empty slice of an empty batch."""
        for begin in range(0, max(len(self.x), 1), size):
            which = slice(begin, begin + size)
            masks = [
                (node, values[which] if per_sample else values, per_sample)
                for node, values, per_sample in self.masks
            ]
            yield self._replace(x=self.x[which], seed=self.seed.part(which), masks=masks)


def request(network: Network, x: FloatArray, target: object, start: object, call: Call) -> Request:
    """What a call asks for a batch x that the network takes.

    Raises:
        TypeError, ValueError: as `LRP.attribute` says.
    """
    options = {
        "exclude_parallel": bool(call.exclude_parallel),
        "square": bool(call.square),
        "times_input": bool(call.times_input),
        "n_threads": checked_threads(call.n_threads),
    }
    return Request(
        x,
        seed(network, len(x), target, start, call),
        masks(network, len(x), call.mask),
        layers(network, call.return_layers),
        options,
    )


def seed(network: Network, n: int, target: object, start: object, call: Call) -> Seed:
    """The start of the backward pass of n samples."""
    if isinstance(start, str):
        named = call.starts
        if start not in named:
            accepted = ", ".join(map(repr, named))
            raise ValueError(f"start = {start!r}; accepted: {accepted} or an array")
        return _target_seed(network, n, target, start)
    if target is not None:
        raise ValueError("target and an array as start exclude each other: start says it all")
    values = floats(start, "start", cast=call.cast).values
    shape = network.output_shape
    several = values.ndim == len(shape) + 2
    if values.shape[several + 1 :] != shape or len(values) != n or values.ndim < len(shape) + 1:
        sizes = ", ".join(map(str, shape))
        raise ValueError(
            f"output '{network.output_name}': start has shape {values.shape}; "
            f"accepted: ({n}, {sizes}), or ({n}, T, {sizes}) for T starts per sample"
        )
    if several and values.shape[1] == 0:
        raise ValueError(f"start has shape {values.shape}; accepted: at least one per sample")
    return Seed(values if several else values[:, None], None, several)


def _target_seed(network: Network, n: int, target: object, start: str) -> Seed:
    shape = network.output_shape
    label = f"output '{network.output_name}'"
    if any(size != 1 for size in shape[1:]):
        return _position_seed(shape, label, n, target, start)
    if target is None:
        return Seed(start, None, False)
    given = _integers(target, f"{label}: target", _TARGETS)
    if given.ndim == 0:
        given = np.full(n, given)
    if given.ndim > 2 or len(given) != n or given.shape[1:] == (0,):
        raise ValueError(
            f"{label}: target has shape {given.shape} for {n} samples; "
            f"accepted: an int, ({n},), or ({n}, T) for T targets per sample"
        )
    _check_range(given, shape[0], f"{label}: target")
    several = given.ndim == 2
    indices = np.ascontiguousarray(given if several else given[:, None], np.int64)
    return Seed(start, indices, several)


def _position_seed(shape: tuple[int, ...], label: str, n: int, target: object, start: str) -> Seed:
    """For outputs such as maps, where a target is a position."""
    rank = len(shape)
    accepted = (
        f"accepted: a position as a tuple of {rank} ints, one such tuple per sample, or "
        f"start= an array of shape ({n}, {', '.join(map(str, shape))})"
    )
    if target is None:
        raise ValueError(f"{label} has shape {shape} per sample, not classes; {accepted}")
    given = _integers(target, f"{label}: target", accepted)
    if given.shape == (rank,):
        given = np.broadcast_to(given, (n, rank))
    fits = given.ndim in (2, 3) and (len(given), given.shape[-1]) == (n, rank)
    if not fits or 0 in given.shape[1:]:
        raise ValueError(
            f"{label} has shape {shape} per sample: target has shape {given.shape}; {accepted}"
        )
    for axis, size in enumerate(shape):
        _check_range(given[..., axis], size, f"{label}: target on axis {axis}")
    several = given.ndim == 3
    axes = tuple(np.moveaxis(given.astype(np.int64), -1, 0))
    flat = np.asarray(np.ravel_multi_index(axes, shape), np.int64)
    return Seed(start, np.ascontiguousarray(flat if several else flat[:, None]), several)


def _integers(target: Any, what: str, accepted: str) -> npt.NDArray[Any]:
    if isinstance(target, list | tuple) and any(isinstance(t, bool | np.bool_) for t in target):
        raise TypeError(f"{what} holds bools; {accepted}")
    if is_tensor(target):
        given = tensor_values(target, what)
    else:
        try:
            given = np.asarray(target)
        except ValueError as error:  # rows of different lengths
            raise ValueError(f"{what} is not rectangular; {accepted}") from error
    if given.dtype.kind not in "iu" and not (isinstance(target, list | tuple) and not given.size):
        kind = given.dtype if given.ndim or is_tensor(target) else type(target).__name__
        raise TypeError(f"{what} is of type {kind}; {accepted}")
    return given


def _check_range(given: npt.NDArray[Any], size: int, what: str) -> None:
    wrong = given[(given < 0) | (given >= size)]
    if wrong.size:
        raise ValueError(f"{what} = {wrong.flat[0]}; accepted: 0 to {size - 1}")


def masks(network: Network, n: int, mask: object) -> list[Mask]:
    """Factors for the relevance at the outputs of layers, by name."""
    if mask is None:
        return []
    if not isinstance(mask, Mapping):
        raise TypeError(
            f"mask is of type {type(mask).__name__}; accepted: a mapping from layer name to array"
        )
    result: list[Mask] = []
    for name, given in mask.items():
        node = network.node(name)
        shape = network.nodes[node][3]
        values = real_values(given, f"mask of layer '{name}'")
        per_sample = values.ndim == len(shape) + 1 and len(values) != 1
        full = (n if per_sample else 1, *shape)
        try:
            values = np.ascontiguousarray(np.broadcast_to(values, full))
        except ValueError as error:
            sizes = ", ".join(map(str, shape))
            raise ValueError(
                f"mask of layer '{name}' has shape {values.shape}; accepted: what broadcasts to "
                f"the layer's output ({sizes}) or, one per sample, to ({n}, {sizes})"
            ) from error
        result.append((node, values, per_sample))
    return result


def layers(network: Network, wanted: object) -> dict[str, int]:
    """The nodes whose relevance is wanted, by name: all for True, none for False."""
    if isinstance(wanted, bool):
        used = upstream(network.nodes, network.output)[1:] if wanted else []
        return {network.nodes[node][0]: node for node in used}
    if isinstance(wanted, str) or not isinstance(wanted, list | tuple | set | frozenset):
        raise TypeError(f"return_layers = {wanted!r}; accepted: True, False or a list of names")
    return {name: network.node(name) for name in wanted}
