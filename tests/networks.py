"""The real networks of the shared data folder with their inputs, for tests and benchmarks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# In the order of the recorded logits.
PHOTOGRAPHS = ("chelsea", "coffee", "rocket", "bird", "cat", "dragonfly", "parrot", "hot_dog")


def data_folder() -> Path:
    given = os.environ.get("RELPROP_DATA")
    return Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(frozen=True)
class NetworkCase:
    """file is below the data folder; photographs tells how they are normalised."""

    id: str
    file: str
    output: str | None = None
    size: int = 224  # photographs are cropped to it around their centre
    bgr: bool = False
    mean: tuple[float, float, float] = (0, 0, 0)
    scale: float = 1.0

    @property
    def folder(self) -> str:
        return self.file.split("/")[0]

    def reference(self, data: Path) -> dict[str, Array]:
        with np.load(data / self.folder / "reference.npz") as stored:
            return dict(stored)

    def inputs(self, data: Path, count: int) -> Array:
        """(count, ...) float32, normalised as the network wants it."""
        if self.id == "lenet":
            return self.reference(data)["input"][:count]
        if self.id == "gan_generator":
            return self.reference(data)["z"][:count]
        if self.id == "gan_discriminator":
            with np.load(data / "mnist_data/mnist_test10k.npz") as digits:
                return digits["x"][:count].reshape(-1, 784).astype(np.float32) / 127.5 - 1
        return self.photographs(data, PHOTOGRAPHS[:count])

    def photographs(self, data: Path, names: Sequence[str]) -> Array:
        from PIL import Image

        margin = (224 - self.size) // 2
        inside = slice(margin, margin + self.size)
        images = []
        for name in names:
            with Image.open(data / f"natural_images/{name}_224.png") as image:
                rgb = np.asarray(image.convert("RGB"), np.float32)[inside, inside]
            channels = rgb[..., ::-1] if self.bgr else rgb
            images.append(((channels - np.float32(self.mean)) / self.scale).transpose(2, 0, 1))
        return np.ascontiguousarray(np.stack(images), np.float32)


LENET = NetworkCase("lenet", "mnist_lenet_csinva/lenet_mnist.onnx")
SQUEEZENET = NetworkCase(
    "squeezenet",
    "squeezenet11_imagenet/squeezenet1_1_fp32.onnx",
    bgr=True,
    mean=(103.939, 116.779, 123.68),
)
EFFICIENTNET = NetworkCase(
    "efficientnet",
    "efficientnet_lite0_imagenet/efficientnet_lite0.onnx",
    mean=(127, 127, 127),
    scale=128,
)
VGG = NetworkCase(
    "vgg",
    "vgg16_hed_edges/vgg16_hed.onnx",
    output="edge_score5",
    size=64,
    bgr=True,
    mean=(104.00699, 116.66877, 122.67892),
)
GAN_GENERATOR = NetworkCase("gan_generator", "mnist_gan_mlp_csinva/G_mnist_mlp.onnx")
GAN_DISCRIMINATOR = NetworkCase("gan_discriminator", "mnist_gan_mlp_csinva/D_mnist_mlp.onnx")

NETWORKS = (LENET, SQUEEZENET, EFFICIENTNET, VGG, GAN_GENERATOR, GAN_DISCRIMINATOR)
