"""Trains the digits network that relprop ships and writes it as ONNX.

    python training/digits.py --data ../shared/data/mnist_data --out digits.onnx

README.md says where the data come from. The test digits serve for one figure, printed at the end;
``--hold-out 1000`` keeps training digits back and reports on them instead, for choosing anything.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from export import to_onnx
from mnist import accuracy, distort, load, train_classifier

SEED = 7


class Network(nn.Sequential):
    """Four 3x3 convolutions and two dense layers, 78 thousand parameters, ReLU throughout."""

    def __init__(self) -> None:
        super().__init__()
        widths = [(1, 12), (12, 24), (24, 48), (48, 64)]
        for index, (channels, outputs) in enumerate(widths, start=1):
            self.add_module(f"conv{index}", nn.Conv2d(channels, outputs, 3, padding=1))
            self.add_module(f"relu{index}", nn.ReLU())
            if index > 1:
                self.add_module(f"pool{index}", nn.MaxPool2d(2))
        self.add_module("flatten", nn.Flatten())
        self.add_module("dropout5", nn.Dropout(0.3))
        self.add_module("dense5", nn.Linear(64 * 9, 64))
        self.add_module("relu5", nn.ReLU())
        self.add_module("dropout6", nn.Dropout(0.3))
        self.add_module("dense6", nn.Linear(64, 10))


def augment(x: Tensor, generator: torch.Generator) -> Tensor:
    """A random affine and a smooth elastic distortion per digit."""
    return distort(x, generator, degrees=14, shear=0.2, zoom=0.14, shift=0.18, bend=0.035)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the two .npz files")
    parser.add_argument("--out", type=Path, default=Path("digits.onnx"))
    parser.add_argument("--hold-out", type=int, default=0, metavar="N")
    options = parser.parse_args()

    # On one thread the weights do not depend on the number of cores.
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    x, y = load(options.data / "mnist_train10k_npm.npz")
    network = Network()
    count = len(x) - options.hold_out
    train_classifier(
        network,
        x[:count],
        y[:count],
        augment=augment,
        seed=SEED,
        epochs=24,
        batch=64,
        peak_rate=4e-3,
        weight_decay=0.02,
        label_smoothing=0.02,
    )
    if options.hold_out:
        print(f"held out: {accuracy(network, x[count:], y[count:]):.4f}")
        return
    model = to_onnx(network, "digits", ("image", (1, 28, 28)), ("logits", (10,)))
    onnx.save(model, options.out)
    share = accuracy(network, *load(options.data / "mnist_test10k.npz"))
    print(f"test digits: {share:.4f}; {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
