"""Relevance as pictures, and pictures as model input.

Rendering needs NumPy only; reading and writing files needs Pillow
(``pip install relprop[images]``).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from relprop._inputs import InputSpec, load_image, pillow, spec_path

__all__ = [
    "InputSpec",
    "colour",
    "colour_key",
    "enlarge",
    "grey",
    "grid",
    "heatmap",
    "load_image",
    "normalised",
    "overlay",
    "png_bytes",
    "save_png",
    "spec_path",
]

Pixels = npt.NDArray[np.uint8]

# Blue (negative), white (zero), red (positive): the map of the LRP literature. The ends are dark,
# so that large values differ from half as large ones.
_COLOURS = np.array(
    [[0, 0, 110], [30, 80, 230], [255, 255, 255], [230, 40, 30], [110, 0, 0]], np.float64
)
_POSITIONS = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])


def colour(values: npt.ArrayLike) -> Pixels:
    """RGB of values in [-1, 1]: -1 dark blue, 0 white, 1 dark red.

    Args:
        values: any shape; what lies outside [-1, 1] is clipped.

    Returns:
        uint8, (*shape, 3).
    """
    clipped = np.clip(np.asarray(values, np.float64), -1, 1)
    channels = [np.interp(clipped, _POSITIONS, _COLOURS[:, k]) for k in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def normalised(
    relevance: npt.ArrayLike, percentile: float | None = None
) -> npt.NDArray[np.float64]:
    """Relevance summed over channels and divided by its largest absolute value.

    Args:
        relevance: (C, H, W) or (H, W), one sample.
        percentile: divide by this percentile of the absolute values instead, in (0, 100]; what is
            larger becomes ±1, so that one outlier does not bleach the rest.

    Returns:
        float64 (H, W) in [-1, 1]; zeros stay exactly zero.

    Raises:
        ValueError: another shape, NaN or infinite values, a percentile out of range.
    """
    if percentile is not None and not 0 < percentile <= 100:
        raise ValueError(f"percentile = {percentile}; accepted: above 0, up to 100")
    plane = _plane(relevance)
    magnitude = np.abs(plane)
    if not magnitude.any():
        return plane
    largest = magnitude.max()
    scale = largest if percentile is None else np.percentile(magnitude, percentile)
    # Where most values are zero, so may the percentile be.
    result: npt.NDArray[np.float64] = np.clip(plane / (scale or largest), -1, 1)
    return result


def heatmap(relevance: npt.ArrayLike, *, percentile: float | None = None, zoom: int = 1) -> Pixels:
    """Relevance in the symmetric red-white-blue map: red counts for the target, blue against it.

    Args:
        relevance: (C, H, W), whose channels are summed, or (H, W); one sample.
        percentile: see `normalised`.
        zoom: every value becomes a square of this many pixels.

    Returns:
        uint8 RGB (zoom H, zoom W, 3).
    """
    return enlarge(colour(normalised(relevance, percentile)), zoom)


def enlarge(picture: Pixels, zoom: int) -> Pixels:
    """Every pixel becomes a zoom x zoom square."""
    if zoom < 1:
        raise ValueError(f"zoom = {zoom}; accepted: 1 or more")
    return np.repeat(np.repeat(picture, zoom, axis=0), zoom, axis=1)


def grey(image: npt.ArrayLike) -> Pixels:
    """An image as grey RGB.

    Args:
        image: (H, W), (H, W, 3) or (1 or 3, H, W); uint8, or floats, which are stretched to the
            full range.

    Returns:
        uint8 (H, W, 3).
    """
    array = np.asarray(image)
    plane = array.astype(np.float64)
    if plane.ndim == 3 and plane.shape[2] == 3:
        plane = plane.mean(axis=2)
    elif plane.ndim == 3 and plane.shape[0] in (1, 3):
        plane = plane.mean(axis=0)
    if plane.ndim != 2:
        raise ValueError(
            f"image has shape {array.shape}; accepted: (H, W), (H, W, 3) or (1 or 3, H, W)"
        )
    if array.dtype != np.uint8 and plane.size:
        low, high = plane.min(), plane.max()
        plane = (plane - low) * (255 / (high - low) if high > low else 0)
    return np.repeat(np.clip(plane, 0, 255).round().astype(np.uint8)[..., None], 3, axis=2)


def overlay(
    relevance: npt.ArrayLike,
    image: npt.ArrayLike,
    *,
    percentile: float | None = None,
    strength: float = 0.8,
) -> Pixels:
    """The heatmap over the grey image: the more relevance, the more colour covers a pixel.

    Args:
        relevance: (C, H, W) or (H, W).
        image: as for `grey`, of the relevance's height and width.
        percentile: see `normalised`.
        strength: cover of the largest relevance, in [0, 1].

    Returns:
        uint8 RGB (H, W, 3).
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength = {strength}; accepted: 0 to 1")
    values, background = normalised(relevance, percentile), grey(image)
    if background.shape[:2] != values.shape:
        raise ValueError(
            f"image has height and width {background.shape[:2]}; accepted: {values.shape}, as the "
            "relevance"
        )
    cover = strength * np.sqrt(np.abs(values))[..., None]
    # Grey is lightened, so that the colours keep their meaning on dark ground.
    ground = 0.5 * background + 127.5
    return (cover * colour(values) + (1 - cover) * ground).round().astype(np.uint8)


def grid(pictures: Sequence[Sequence[Pixels]], *, gap: int = 4) -> Pixels:
    """Rows of equally large pictures on white.

    Args:
        pictures: rows of uint8 (H, W, 3), all of one size; rows may be short.
        gap: pixels between them and around.

    Returns:
        uint8 RGB of the whole.
    """
    shapes = {picture.shape for row in pictures for picture in row}
    if len(shapes) != 1:
        raise ValueError(f"pictures have shapes {sorted(shapes)}; accepted: one shape (H, W, 3)")
    height, width, _ = shapes.pop()
    columns = max(len(row) for row in pictures)
    canvas = np.full(
        (len(pictures) * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8
    )
    for i, row in enumerate(pictures):
        for j, picture in enumerate(row):
            top, left = gap + i * (height + gap), gap + j * (width + gap)
            canvas[top : top + height, left : left + width] = picture
    return canvas


def colour_key(width: int = 256, height: int = 16) -> Pixels:
    """The map from -1 (left) to 1 (right), uint8 (height, width, 3)."""
    return np.repeat(colour(np.linspace(-1, 1, width))[None], height, axis=0)


def save_png(path: str | Path, picture: Pixels) -> None:
    """Writes uint8 RGB (H, W, 3) or grey (H, W) as PNG.

    Raises:
        ImportError: Pillow is not installed.
        OSError: the file cannot be written.
    """
    pillow().fromarray(np.ascontiguousarray(picture)).save(path, format="PNG")


def png_bytes(picture: Pixels) -> bytes:
    """The PNG file of a uint8 picture."""
    buffer = io.BytesIO()
    pillow().fromarray(np.ascontiguousarray(picture)).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _plane(relevance: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """(C, H, W) summed over channels, or (H, W)."""
    array = np.asarray(relevance, np.float64)
    plane = array.sum(axis=0) if array.ndim == 3 else array
    if plane.ndim != 2:
        raise ValueError(
            f"relevance has shape {array.shape}; accepted: (C, H, W) or (H, W), one sample"
        )
    if not np.isfinite(plane).all():
        raise ValueError("relevance has NaN or infinite values; accepted: finite values")
    return plane
