"""Conditions on channels as masks, one set of masks per heatmap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from relprop._arrays import FloatArray
from relprop._request import Mask, Request, Seed
from relprop.model import Network


def conditional(request: Request, network: Network, conditions: Any) -> Request:
    """The request with one target per condition, each behind the masks of its condition.

    Raises:
        TypeError, ValueError: as `LRP.attribute_conditional` says.
    """
    if isinstance(conditions, Mapping | str) or not isinstance(conditions, Sequence):
        raise TypeError(
            f"conditions is of type {type(conditions).__name__}; accepted: a list of mappings from "
            "layer name to channels"
        )
    if not conditions:
        raise ValueError("conditions is empty; accepted: at least one")
    masks: list[Mask] = []
    targets: list[int] = []
    for index, condition in enumerate(conditions):
        if not isinstance(condition, Mapping):
            raise TypeError(
                f"conditions[{index}] is of type {type(condition).__name__}; accepted: a mapping "
                "from layer name to channels"
            )
        for name, channels in condition.items():
            node = network.node(name)
            masks.append((node, _mask(name, channels, network.nodes[node][3]), False))
            targets.append(index)
    seed = _repeated(request.seed, len(request.x), len(conditions))
    return request._replace(seed=seed, masks=masks, mask_targets=tuple(targets))


def _mask(name: str, channels: Iterable[int], shape: tuple[int, ...]) -> FloatArray:
    given = list(channels)
    chosen = np.asarray(given) if given else np.empty(0, np.int64)
    if chosen.dtype.kind not in "iu" or chosen.ndim != 1:
        raise TypeError(f"condition on layer '{name}': channels {channels!r}; accepted: ints")
    wrong = chosen[(chosen < 0) | (chosen >= shape[0])]
    if wrong.size:
        raise ValueError(
            f"condition on layer '{name}': channel {wrong[0]}; accepted: 0 to {shape[0] - 1}"
        )
    mask = np.zeros((1, *shape), np.float32)
    mask[:, chosen] = 1
    return mask


def _repeated(seed: Seed, n: int, count: int) -> Seed:
    """The start once per condition, unless there is one for each already."""
    given: Any = seed.start if not isinstance(seed.start, str) else seed.targets
    if given is None:  # the largest output
        return seed._replace(targets=np.full((n, count), -1, np.int64), several=True)
    if not seed.several:
        given = np.ascontiguousarray(given.repeat(count, axis=1))
    if given.shape[1] != count:
        raise ValueError(
            f"target or start has {given.shape[1]} entries per sample for {count} conditions; "
            "accepted: one, or one per condition"
        )
    if isinstance(seed.start, str):
        return seed._replace(targets=given, several=True)
    return seed._replace(start=given, several=True)
