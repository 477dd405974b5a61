"""Several methods on the same samples: areas under their curves, continuity, a table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from relprop._arrays import Array, FloatArray, floats
from relprop._summary import table
from relprop.evaluate._continuity import continuity as continuity_of
from relprop.evaluate._flipping import Curve, pixel_flipping, targets_of
from relprop.model import Model

RANDOM = "random order"


@dataclass(frozen=True)
class Row:
    """One method under one region size and fill.

    Args:
        method: its name; "random order" for the baseline.
        region: side of the removed squares.
        fill: as in `pixel_flipping`; what is no name is called "constant".
        most, least: curves with the most and the least relevant regions first. The baseline's are
            the same.
    """

    method: str
    region: int
    fill: str
    most: Curve
    least: Curve

    @property
    def between(self) -> float:
        """The area between both curves, least minus most relevant first: higher is better."""
        return float(self.least.area.mean() - self.most.area.mean())


@dataclass(frozen=True)
class Report:
    """What `compare` found; ``print`` shows it as a table.

    Args:
        rows: by region size and fill, the random baseline first.
        continuity: per method and sample, where it was asked for; see `compare`.
        score: what the curves show.
    """

    rows: tuple[Row, ...]
    continuity: Mapping[str, npt.NDArray[np.float64]]
    score: str

    def row(self, method: str, region: int | None = None, fill: str | None = None) -> Row:
        """The first row of a method, of a region size and fill if given.

        Raises:
            ValueError: there is none.
        """
        for row in self.rows:
            if row.method == method and region in (None, row.region) and fill in (None, row.fill):
                return row
        known = sorted({row.method for row in self.rows})
        raise ValueError(f"no row for {method!r}, {region}, {fill}; methods: {', '.join(known)}")

    def draw(self, path: str | Path) -> None:
        """Writes the curves as PNG, one panel per region size and fill.

        Raises:
            ImportError: matplotlib is not installed.
            OSError: the file cannot be written.
        """
        from relprop.evaluate import _draw

        _draw.save(self, path)

    def __str__(self) -> str:
        most = self.rows[0].most
        first = most.mean[0]
        head = (
            f"{len(most.scores)} samples, mean {self.score} {first:.3f}; mean height of the curves "
            f"while the first {most.removed[-1]:.0%} of the regions are removed"
        )
        header = ["fill", "region", "method", "most first", "least first", "between"]
        rows = [
            [
                row.fill,
                str(row.region),
                row.method,
                f"{row.most.area.mean():.3f}",
                f"{row.least.area.mean():.3f}",
                "" if row.method == RANDOM else f"{row.between:.3f}",
            ]
            for row in self.rows
        ]
        parts = [head, "", table(header, rows)]
        if self.continuity:
            measured = [
                [name, f"{values.mean():.3f}", f"{np.median(values):.3f}"]
                for name, values in self.continuity.items()
            ]
            title = "continuity, max |R(x) - R(x')| / (|R(x)| |x - x'|)"
            parts += ["", table(["method", f"{title}: mean", "median"], measured)]
        return "\n".join(parts)


def compare(
    model: Model,
    x: Array,
    methods: Mapping[str, Any],
    target: Any = None,
    *,
    regions: Collection[int] = (1,),
    fills: Collection[Any] = ("background",),
    fraction: float = 1.0,
    steps: int = 20,
    score: str = "output",
    random_draws: int = 3,
    continuity: bool = False,
    random_seed: int = 0,
    n_threads: int | None = None,
) -> Report:
    """Pixel flipping of several methods, most and least relevant first, and of random order.

    Args:
        model: the network; its output must be classes.
        x: (N, *input_shape), float32.
        methods: by name, a method of relprop, such as ``rp.LRP(model, rule)``, a callable (x,
            target) -> relevance, or relevance of the shape of x.
        target: one class per sample, an int, or None for the largest output of x.
        regions, fills: every combination is run; see `pixel_flipping`.
        random_draws: how many random orders the baseline is averaged over.
        continuity: also the `continuity` of the methods, relative, under translations by one
            pixel; of methods of relprop only.

    The other arguments and the exceptions are those of `pixel_flipping`.
    """
    given = floats(x, "x").values
    targets = targets_of(model, given, target)
    _check(methods, regions, fills, random_draws)
    how = {"fraction": fraction, "steps": steps, "score": score, "n_threads": n_threads}

    def curve(relevance: FloatArray | None, order: str, seed: int, region: int, fill: Any) -> Curve:
        return pixel_flipping(
            model,
            given,
            relevance,
            targets,
            order=order,
            region=region,
            fill=fill,
            random_seed=seed,
            **how,  # type: ignore[arg-type]
        )

    settings = [(region, fill) for fill in fills for region in regions]
    baselines = []
    for region, fill in settings:
        draws = [curve(None, "random", random_seed + i, region, fill) for i in range(random_draws)]
        scores = np.mean([draw.scores for draw in draws], axis=0)
        baselines.append(Curve(draws[0].removed, scores))
    relevance = {name: explain(method)(given, targets) for name, method in methods.items()}
    rows = []
    for (region, fill), baseline in zip(settings, baselines, strict=True):
        label = fill if isinstance(fill, str) else "constant"
        rows.append(Row(RANDOM, region, label, baseline, baseline))
        for name, values in relevance.items():
            most, least = (
                curve(values, order, random_seed, region, fill) for order in ("most", "least")
            )
            rows.append(Row(name, region, label, most, least))
    measured = {
        name: continuity_of(method, given, targets, relative=True)
        for name, method in methods.items()
        if continuity and hasattr(method, "attribute")
    }
    return Report(tuple(rows), measured, score)


def explain(method: Any) -> Callable[[FloatArray, Any], FloatArray]:
    """A function of x and target for anything that `compare` takes as a method."""
    if hasattr(method, "attribute"):
        return lambda x, target: method.attribute(x, target)
    if callable(method):
        return lambda x, target: floats(method(x, target), "relevance").values
    return lambda x, target: floats(method, "relevance").values


def _check(methods: object, regions: Any, fills: Any, random_draws: int) -> None:
    if not isinstance(methods, Mapping) or not methods:
        raise TypeError(f"methods = {methods!r}; accepted: a mapping from name to method")
    if RANDOM in methods:
        raise ValueError(f"methods: '{RANDOM}' is the baseline's name; accepted: another one")
    for name, values in (("regions", regions), ("fills", fills)):
        if isinstance(values, str) or not isinstance(values, Collection) or not len(values):
            raise TypeError(f"{name} = {values!r}; accepted: a list with at least one entry")
    if isinstance(random_draws, bool) or not isinstance(random_draws, int) or random_draws < 1:
        raise ValueError(f"random_draws = {random_draws!r}; accepted: an int of at least 1")
