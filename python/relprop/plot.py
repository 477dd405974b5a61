"""Relevance in notebooks. Needs matplotlib: ``pip install relprop[plot]``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from relprop import images


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("relprop.plot needs matplotlib: pip install relprop[plot]") from error
    return plt


def show(
    relevance: npt.ArrayLike,
    image: npt.ArrayLike | None = None,
    *,
    ax: Any = None,
    title: str | None = None,
    percentile: float | None = None,
) -> Any:
    """Draws the heatmap of one sample, over the image if one is given.

    Args:
        relevance: (C, H, W) or (H, W).
        image: see `relprop.images.grey`.
        ax: matplotlib axes; a new figure if None.
        title: written above.
        percentile: see `relprop.images.normalised`.

    Returns:
        The axes.
    """
    if ax is None:
        ax = _pyplot().subplots()[1]
    if image is None:
        picture = images.heatmap(relevance, percentile=percentile)
    else:
        picture = images.overlay(relevance, image, percentile=percentile)
    ax.imshow(picture, interpolation="nearest")
    ax.set_axis_off()
    if title is not None:
        ax.set_title(title)
    return ax


def show_grid(
    rows: Sequence[Sequence[npt.ArrayLike]],
    *,
    titles: Sequence[str] | None = None,
    size: float = 2.0,
    percentile: float | None = None,
) -> Any:
    """Draws rows of heatmaps.

    Args:
        rows: relevance of one sample each; rows may be short.
        titles: one per column.
        size: inches per heatmap.
        percentile: see `relprop.images.normalised`.

    Returns:
        The matplotlib figure.
    """
    columns = max(len(row) for row in rows)
    figure, axes = _pyplot().subplots(
        len(rows), columns, figsize=(size * columns, size * len(rows)), squeeze=False
    )
    for i, row in enumerate(rows):
        for j in range(columns):
            axes[i][j].set_axis_off()
            if j >= len(row):
                continue
            title = titles[j] if titles and i == 0 else None
            show(row[j], ax=axes[i][j], title=title, percentile=percentile)
    return figure
