"""The networks and their inputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnx.utils

import networks
import relprop as rp
from benchmarks import RESULTS
from benchmarks.paired import Array


@dataclass(frozen=True)
class Case:
    """A network file and what to feed it; both are made or looked for on demand."""

    id: str
    title: str
    path: Callable[[], Path]  # of a file with one output
    inputs: Callable[[int], Array]  # batch -> (batch, ...) float32
    amplifies: float = 1  # rounding, roughly, over VGG-16 with trained weights

    def weight_bytes(self) -> int:
        """In float32, each once."""
        weights = onnx.load(self.path()).graph.initializer
        return 4 * sum(math.prod(weight.dims) for weight in weights)


class NoDataError(FileNotFoundError):
    """Trained networks and photographs are not part of the project."""


def data() -> Path:
    folder = networks.data_folder()
    if not folder.is_dir():
        raise NoDataError(f"no networks at {folder}; set RELPROP_DATA to the folder that has them")
    return folder


def written(name: str, write: Callable[[Path], None]) -> Path:
    """The file of this name among the results, written if it is not there yet."""
    file = RESULTS / "networks" / name
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        write(part)
        part.replace(file)
    return file


def trained(id: str, title: str, case: networks.NetworkCase) -> Case:
    def path() -> Path:
        source = data() / case.file
        if case.output is None:
            return source
        # Otherwise ONNX Runtime would compute the other outputs as well.
        return written(f"{id}.onnx", lambda part: only_output(source, part, case.output))

    return Case(id, title, path, lambda batch: case.inputs(data(), batch))


def only_output(source: Path, target: Path, output: str) -> None:
    model = onnx.load(source)
    (name,) = (node.name for node in model.graph.input)
    onnx.save(onnx.utils.Extractor(model).extract_model([name], [output]), target)


def positive_photographs(batch: int) -> Array:
    """In [0, 1], as Captum's α1β0 rule wants its input."""
    scaled = networks.NetworkCase("photographs", "", scale=255)
    return scaled.photographs(data(), networks.PHOTOGRAPHS[:batch])


def photographs(batch: int) -> Array:
    """With about zero mean and unit variance."""
    return (positive_photographs(batch) - np.float32(0.45)) / np.float32(0.225)


def digits(batch: int) -> Array:
    """Ten different ones, over and over."""
    ten = rp.zoo.sample_digits()[0]
    return np.ascontiguousarray(ten[np.arange(batch) % len(ten)])


def random(id: str, title: str, maker: str, inputs: Callable[[int], Array]) -> Case:
    """maker: a function of random_networks, which needs torch and is imported when it is needed."""

    def write(part: Path) -> None:
        from benchmarks import random_networks

        getattr(random_networks, maker)(part, inputs(8))

    return Case(id, title, lambda: written(f"{id}.onnx", write), inputs)


VGG = trained("vgg", "VGG-16 base, trained", replace(networks.VGG, size=224))
VGG_RANDOM = replace(
    random("vgg_random", "VGG-16, random weights", "vgg16", positive_photographs), amplifies=10
)
RESNET = replace(
    random("resnet", "ResNet-50, random weights", "resnet50", photographs), amplifies=10
)
SQUEEZENET = trained("squeezenet", "SqueezeNet 1.1, trained", networks.SQUEEZENET)
EFFICIENTNET = replace(
    trained("efficientnet", "EfficientNet-Lite0, trained", networks.EFFICIENTNET), amplifies=10
)
LENET = trained("lenet", "LeNet-5, trained", networks.LENET)
PERCEPTRON = random("perceptron", "MLP 784-1296-1296-1296-10, random", "perceptron", digits)


def resized(size: int) -> Case:
    """VGG with other sizes of the image, a multiple of 224 being made of repetitions."""
    if size <= 224:
        inputs = trained("", "", replace(networks.VGG, size=size)).inputs
    else:
        tiles = (1, 1, size // 224, size // 224)
        inputs = lambda batch: np.tile(VGG.inputs(batch), tiles)  # noqa: E731
    return replace(VGG, inputs=inputs, title=f"VGG-16 base, trained, {size} x {size}")


CASES = {
    case.id: case for case in (VGG, VGG_RANDOM, RESNET, SQUEEZENET, EFFICIENTNET, LENET, PERCEPTRON)
}
