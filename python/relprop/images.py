"""Relevance as pictures, and pictures as model input.

Everything numeric needs NumPy only; reading and writing files needs Pillow
(``pip install relprop[images]``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

# Blue (negative), white (zero), red (positive): the map of the LRP literature. The ends are dark, so
# that large values differ from half as large ones.
_COLOURS = np.array(
    [[0, 0, 110], [30, 80, 230], [255, 255, 255], [230, 40, 30], [110, 0, 0]], dtype=np.float64
)
_POSITIONS = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])


def colour(values: npt.ArrayLike) -> Pixels:
    """RGB of values in [-1, 1]: -1 dark blue, 0 white, 1 dark red.

    Args:
        values: any shape; what lies outside [-1, 1] is clipped.

    Returns:
        uint8, ``(*values.shape, 3)``.
    """
    clipped = np.clip(np.asarray(values, dtype=np.float64), -1, 1)
    channels = [np.interp(clipped, _POSITIONS, _COLOURS[:, k]) for k in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def _plane(relevance: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """(C, H, W) summed over channels, or (H, W)."""
    array = np.asarray(relevance, dtype=np.float64)
    if array.ndim == 3:
        array = array.sum(axis=0)
    if array.ndim != 2:
        msg = f"relevance of one sample, (C, H, W) or (H, W), is needed; got {array.shape}"
        raise ValueError(msg)
    if not np.isfinite(array).all():
        msg = "relevance holds NaN or infinity"
        raise ValueError(msg)
    return array


def normalised(relevance: npt.ArrayLike, percentile: float | None = None) -> npt.NDArray[np.float64]:
    """Relevance summed over channels and divided by its largest absolute value.

    Args:
        relevance: ``(C, H, W)`` or ``(H, W)`` of one sample.
        percentile: divide by this percentile of the absolute values instead (in (0, 100]); what is
            larger is clipped to ±1, so that one outlier does not bleach the rest.

    Returns:
        float64 ``(H, W)`` in [-1, 1]; zeros stay exactly zero.
    """
    plane = _plane(relevance)
    if percentile is not None and not 0 < percentile <= 100:
        msg = f"percentile must lie in (0, 100]; got {percentile}"
        raise ValueError(msg)
    magnitude = np.abs(plane)
    if magnitude.size == 0:
        return plane
    scale = float(magnitude.max() if percentile is None else np.percentile(magnitude, percentile))
    if scale == 0:
        scale = float(magnitude.max()) or 1.0
    result: npt.NDArray[np.float64] = np.clip(plane / scale, -1, 1)
    return result


def heatmap(relevance: npt.ArrayLike, *, percentile: float | None = None, zoom: int = 1) -> Pixels:
    """Relevance in the symmetric red-white-blue map: red speaks for the target, blue against it.

    Args:
        relevance: ``(C, H, W)`` (channels are summed) or ``(H, W)`` of one sample.
        percentile: see :func:`normalised`.
        zoom: every value becomes a square of this many pixels.

    Returns:
        uint8 RGB ``(zoom * H, zoom * W, 3)``.
    """
    return enlarge(colour(normalised(relevance, percentile)), zoom)


def enlarge(picture: Pixels, zoom: int) -> Pixels:
    """Every pixel becomes a zoom × zoom square."""
    if zoom < 1:
        msg = f"zoom must be at least 1; got {zoom}"
        raise ValueError(msg)
    return np.repeat(np.repeat(picture, zoom, axis=0), zoom, axis=1)


def grey(image: npt.ArrayLike) -> Pixels:
    """An image as grey RGB.

    Args:
        image: ``(H, W)``, ``(H, W, 3)`` or ``(1 or 3, H, W)``; uint8, or floats that are stretched
            to the full range.

    Returns:
        uint8 ``(H, W, 3)``.
    """
    array = np.asarray(image)
    if array.ndim == 3:
        array = array.mean(axis=0 if array.shape[0] in (1, 3) else 2)
    if array.ndim != 2:
        msg = f"an image (H, W), (H, W, 3) or (C, H, W) is needed; got {np.shape(image)}"
        raise ValueError(msg)
    plane = array.astype(np.float64)
    if np.asarray(image).dtype != np.uint8:
        low, high = float(plane.min()), float(plane.max())
        plane = (plane - low) * (255 / (high - low) if high > low else 0)
    return np.repeat(np.clip(plane, 0, 255).round().astype(np.uint8)[..., None], 3, axis=2)


def overlay(
    relevance: npt.ArrayLike,
    image: npt.ArrayLike,
    *,
    percentile: float | None = None,
    strength: float = 0.8,
) -> Pixels:
    """The heatmap over the grey image: the colour covers a pixel as far as its relevance is large.

    Args:
        relevance: ``(C, H, W)`` or ``(H, W)``.
        image: see :func:`grey`; of the relevance's height and width.
        percentile: see :func:`normalised`.
        strength: cover of the largest relevance, in [0, 1].

    Returns:
        uint8 RGB ``(H, W, 3)``.
    """
    values = normalised(relevance, percentile)
    background = grey(image)
    if background.shape[:2] != values.shape:
        msg = f"image is {background.shape[:2]}, relevance {values.shape}: they must agree"
        raise ValueError(msg)
    cover = strength * np.sqrt(np.abs(values))[..., None]
    # Grey is lightened, so that the colours keep their meaning on dark ground.
    ground = 0.5 * background + 127.5
    return (cover * colour(values) + (1 - cover) * ground).round().astype(np.uint8)


def grid(pictures: Sequence[Sequence[Pixels]], *, gap: int = 4) -> Pixels:
    """Rows of equally large pictures on white.

    Args:
        pictures: rows of uint8 ``(H, W, 3)``; all of one size, rows may be short.
        gap: pixels between them and around.

    Returns:
        uint8 RGB of the whole.
    """
    shapes = {picture.shape for row in pictures for picture in row}
    if len(shapes) != 1:
        msg = f"grid needs pictures of one size; got {sorted(shapes)}"
        raise ValueError(msg)
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
    """The map from -1 (left) to 1 (right), uint8 ``(height, width, 3)``."""
    return np.repeat(colour(np.linspace(-1, 1, width))[None], height, axis=0)


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        msg = "reading and writing pictures needs Pillow: pip install relprop[images]"
        raise ImportError(msg) from error
    return Image


def save_png(path: str | Path, picture: Pixels) -> None:
    """Writes uint8 RGB ``(H, W, 3)`` or grey ``(H, W)`` as PNG."""
    _pillow().fromarray(np.ascontiguousarray(picture)).save(path, format="PNG")


def png_bytes(picture: Pixels) -> bytes:
    """The PNG file of a uint8 picture."""
    import io

    buffer = io.BytesIO()
    _pillow().fromarray(np.ascontiguousarray(picture)).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


@dataclass(frozen=True)
class InputSpec:
    """How a picture becomes a model's input: resize, centre crop, channel order, (x - mean) / std.

    Attributes:
        size: (height, width); None keeps the picture's own.
        channels: "RGB", "BGR" or "L" (grey).
        range: values of a white pixel before the mean is subtracted, 255 or 1.
        mean: one number, or one per channel in the order of ``channels``.
        std: the same.
        labels: class names, one per line, in class order; None: numbers.
    """

    size: tuple[int, int] | None = None
    channels: str = "RGB"
    range: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    labels: Path | None = None

    def __post_init__(self) -> None:
        if self.channels not in ("RGB", "BGR", "L"):
            msg = f'channels must be "RGB", "BGR" or "L"; got {self.channels!r}'
            raise ValueError(msg)
        if self.range not in (1, 255):
            msg = f"range must be 1 or 255; got {self.range!r}"
            raise ValueError(msg)
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            msg = f"size must be (height, width), both at least 1; got {self.size!r}"
            raise ValueError(msg)
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channel_count):
                msg = f"{name} needs 1 or {self.channel_count} numbers; got {len(values)}"
                raise ValueError(msg)
            if not all(math.isfinite(value) for value in values):
                msg = f"{name} must be finite; got {values}"
                raise ValueError(msg)
        if min(self.std) <= 0:
            msg = f"std must be positive; got {self.std}"
            raise ValueError(msg)

    @property
    def channel_count(self) -> int:
        """1 for "L", otherwise 3."""
        return 1 if self.channels == "L" else 3

    @classmethod
    def from_json(cls, path: str | Path) -> InputSpec:
        """Reads the JSON beside a model; every key is optional.

        ``{"size": [224, 224], "channels": "BGR", "range": 255, "mean": [103.9, 116.8, 123.7],
        "std": 1, "labels": "classes.txt"}``; labels are relative to the JSON file.

        Raises:
            ValueError: naming the file and the key that is wrong.
        """
        path = Path(path)
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            msg = f"{path}: not a readable JSON file: {error}"
            raise ValueError(msg) from error
        known = {"size", "channels", "range", "mean", "std", "labels"}
        if not isinstance(raw, dict) or not raw.keys() <= known:
            unknown = sorted(raw.keys() - known) if isinstance(raw, dict) else raw
            msg = f"{path}: accepted keys are {sorted(known)}; got {unknown}"
            raise ValueError(msg)
        try:
            return cls(
                size=None if raw.get("size") is None else _pair(raw["size"]),
                channels=raw.get("channels", "RGB"),
                range=raw.get("range", 1),
                mean=_numbers("mean", raw.get("mean", 0)),
                std=_numbers("std", raw.get("std", 1)),
                labels=path.parent / raw["labels"] if raw.get("labels") else None,
            )
        except (TypeError, ValueError) as error:
            msg = f"{path}: {error}"
            raise ValueError(msg) from error

    def class_names(self) -> list[str] | None:
        """The lines of ``labels``, or None.

        Raises:
            ValueError: the file cannot be read.
        """
        if self.labels is None:
            return None
        try:
            return self.labels.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            msg = f"labels {self.labels}: {error}"
            raise ValueError(msg) from error


def _pair(value: Any) -> tuple[int, int]:
    if not isinstance(value, list) or [type(v) for v in value] != [int, int]:
        msg = f"size must be [height, width]; got {value!r}"
        raise ValueError(msg)
    return value[0], value[1]


def _numbers(name: str, value: Any) -> tuple[float, ...]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        msg = f"{name} must be a number or a list of numbers; got {value!r}"
        raise ValueError(msg)
    return tuple(float(v) for v in values)


def spec_path(model: str | Path) -> Path | None:
    """The JSON beside a model file: ``net.onnx.json`` or ``net.json``; None if there is none."""
    model = Path(model)
    for path in (model.with_name(model.name + ".json"), model.with_suffix(".json")):
        if path.is_file():
            return path
    return None


def _fit(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scales the picture so that it covers `size` and cuts out the centre."""
    height, width = size
    if (image.height, image.width) == size:
        return image
    scale = max(height / image.height, width / image.width)
    scaled = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
    image = image.resize(scaled, _pillow().Resampling.BILINEAR)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def load_image(path: str | Path, spec: InputSpec) -> tuple[Floats, Pixels]:
    """A picture file as a model's input.

    Args:
        path: anything Pillow reads.
        spec: size, channels and normalisation.

    Returns:
        The input, float32 ``(C, H, W)``, and the picture it shows, uint8 ``(H, W, 3)``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a picture.
    """
    image_module = _pillow()
    try:
        with image_module.open(path) as file:
            image = file.convert("L" if spec.channels == "L" else "RGB")
    except FileNotFoundError:
        raise
    except OSError as error:
        msg = f"{path}: not a picture that Pillow can read ({error})"
        raise ValueError(msg) from error
    if spec.size is not None:
        image = _fit(image, spec.size)
    pixels = np.asarray(image, dtype=np.uint8)
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    if spec.channels == "BGR":
        planes = planes[::-1]
    values = planes.astype(np.float32) * np.float32(spec.range / 255)
    mean = np.asarray(spec.mean, np.float32).reshape(-1, 1, 1)
    std = np.asarray(spec.std, np.float32).reshape(-1, 1, 1)
    shown = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels
    return np.ascontiguousarray((values - mean) / std), shown
