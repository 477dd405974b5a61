"""Picture files as model input."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

FloatArray = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

_CHANNELS = {"RGB": 3, "BGR": 3, "L": 1}


@dataclass(frozen=True)
class InputSpec:
    """How a picture becomes a model's input: resize, centre crop, channel order, (x - mean) / std.

    Args:
        size: (height, width); None keeps the picture's own.
        channels: "RGB", "BGR" or "L" (grey).
        range: what a white pixel is before the mean is subtracted, 255 or 1.
        mean, std: one number, or one per channel in the order of channels.
        labels: a file of class names, one per line in class order (behind the last tab of the
            line); None: numbers.

    Raises:
        ValueError: a value that cannot be.
    """

    size: tuple[int, int] | None = None
    channels: str = "RGB"
    range: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    labels: Path | None = None

    def __post_init__(self) -> None:
        if self.channels not in _CHANNELS:
            raise ValueError(f"channels = {self.channels!r}; accepted: 'RGB', 'BGR' or 'L'")
        if self.range not in (1, 255):
            raise ValueError(f"range = {self.range!r}; accepted: 1 or 255")
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise ValueError(f"size = {self.size!r}; accepted: (height, width), both at least 1")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channel_count):
                raise ValueError(
                    f"{name} has {len(values)} numbers; accepted: 1 or {self.channel_count}"
                )
            if not all(math.isfinite(value) for value in values):
                raise ValueError(f"{name} = {values}; accepted: finite numbers")
        if min(self.std) <= 0:
            raise ValueError(f"std = {self.std}; accepted: numbers above 0")

    @property
    def channel_count(self) -> int:
        """1 for "L", otherwise 3."""
        return _CHANNELS[self.channels]

    @property
    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """What a black and a white pixel become, (C, 1, 1) each: the bounds of a ZBox."""
        return self._normalised(np.float32(0)), self._normalised(np.float32(self.range))

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
        except (OSError, ValueError, RecursionError) as error:
            raise ValueError(f"{path}: not a readable JSON file: {error}") from error
        known = {"size", "channels", "range", "mean", "std", "labels"}
        if not isinstance(raw, dict) or not raw.keys() <= known:
            found = sorted(raw.keys() - known) if isinstance(raw, dict) else type(raw).__name__
            raise ValueError(f"{path}: {found}; accepted keys: {', '.join(sorted(known))}")
        try:
            return cls(
                size=_size(raw.get("size")),
                channels=_text("channels", raw.get("channels", "RGB")),
                range=_numbers("range", raw.get("range", 1))[0],
                mean=_numbers("mean", raw.get("mean", 0)),
                std=_numbers("std", raw.get("std", 1)),
                labels=path.parent / _text("labels", raw["labels"]) if "labels" in raw else None,
            )
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def class_names(self) -> list[str] | None:
        """The names in `labels`, or None.

        Raises:
            ValueError: the file cannot be read.
        """
        if self.labels is None:
            return None
        try:
            lines = self.labels.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"labels {self.labels}: {error}") from error
        return [line.rsplit("\t", 1)[-1].strip() for line in lines]

    def apply(self, pixels: Pixels) -> FloatArray:
        """The input of a picture (H, W, 3) or (H, W) of the right size: (C, H, W), float32."""
        planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        if self.channels == "BGR":
            planes = planes[::-1]
        return self._normalised(planes.astype(np.float32) * np.float32(self.range / 255))

    def pixels(self, x: FloatArray) -> Pixels:
        """The picture that an input (C, H, W) shows, uint8 (H, W, 3): `apply` backwards."""
        low, high = self.bounds
        shown = np.clip(np.round((x - low) / (high - low) * 255), 0, 255).astype(np.uint8)
        planes = shown[::-1] if self.channels == "BGR" else shown
        return np.ascontiguousarray(np.broadcast_to(planes, (3, *x.shape[1:])).transpose(1, 2, 0))

    def _normalised(self, values: FloatArray | np.float32) -> FloatArray:
        mean, std = (
            np.broadcast_to(np.asarray(numbers, np.float32), self.channel_count).reshape(-1, 1, 1)
            for numbers in (self.mean, self.std)
        )
        return np.ascontiguousarray((values - mean) / std)


def spec_path(model: str | Path) -> Path | None:
    """The JSON beside a model file: ``net.onnx.json`` or ``net.json``; None if there is none."""
    model = Path(model)
    for path in (model.with_name(model.name + ".json"), model.with_suffix(".json")):
        if path.is_file():
            return path
    return None


def load_image(path: str | Path, spec: InputSpec) -> tuple[FloatArray, Pixels]:
    """A picture file as a model's input.

    Args:
        path: anything Pillow reads with 8 bits per channel. Transparency shows white.
        spec: size, channels and normalisation.

    Returns:
        The input, float32 (C, H, W), and the picture that it shows, uint8 (H, W, 3).

    Raises:
        ImportError: Pillow is not installed.
        OSError: the file cannot be read.
        ValueError: it is not a picture, or has more than 8 bits per channel.
    """
    pixels = np.asarray(_fit(_read(path, "L" if spec.channels == "L" else "RGB"), spec.size))
    shown = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels
    return spec.apply(pixels), shown


def pillow() -> Any:
    """The module PIL.Image."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "reading and writing pictures needs Pillow: pip install relprop[images]"
        ) from error
    return Image


def _read(path: str | Path, mode: str) -> Image.Image:
    module = pillow()
    from PIL import ImageOps

    with Path(path).open("rb") as content:
        try:
            with module.open(content) as file:
                image: Image.Image = ImageOps.exif_transpose(file)
        except (OSError, SyntaxError, ValueError, module.DecompressionBombError) as error:
            raise ValueError(f"{path}: not a picture that can be read: {error}") from error
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"{path}: mode {image.mode}; accepted: 8 bits per channel")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        white = module.new("RGBA", image.size, "white")
        image = module.alpha_composite(white, image)
    return image.convert(mode)


def _fit(image: Image.Image, size: tuple[int, int] | None) -> Image.Image:
    """Scales the picture so that it just covers `size` and cuts out the centre."""
    if size is None or (image.height, image.width) == size:
        return image
    height, width = size
    scale = max(height / image.height, width / image.width)
    scaled = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
    image = image.resize(scaled, pillow().Resampling.BILINEAR)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _size(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or [type(v) for v in value] != [int, int]:
        raise ValueError(f"size = {value!r}; accepted: [height, width]")
    return value[0], value[1]


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} = {value!r}; accepted: a string")
    return value


def _numbers(name: str, value: Any) -> tuple[float, ...]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(type(v) in (int, float) for v in values):
        raise ValueError(f"{name} = {value!r}; accepted: a number or a list of numbers")
    return tuple(float(v) for v in values)
