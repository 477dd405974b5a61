"""Trains the network that judges prototypes made for the digits network, and writes it as ONNX.

    python training/digits_judge.py --data ../shared/data/mnist_data --out digits_judge.onnx

Nothing of it is shared with digits.py but the training digits: other layers, another seed, other
distortions. README.md says where the data come from; ``--hold-out`` is as in digits.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export import to_onnx
from mnist import accuracy, distort, load, train_classifier

SEED = 1234


class Judge(nn.Sequential):
    """Two 5x5 and one strided 3x3 convolution, two dense layers; LeakyReLU and average pooling."""

    def __init__(self) -> None:
        super().__init__()
        for index, (channels, outputs) in enumerate([(1, 16), (16, 32)], start=1):
            self.add_module(f"conv{index}", nn.Conv2d(channels, outputs, 5, padding=2))
            self.add_module(f"leaky{index}", nn.LeakyReLU(0.1))
            self.add_module(f"pool{index}", nn.AvgPool2d(2))
        self.add_module("conv3", nn.Conv2d(32, 64, 3, stride=2, padding=1))
        self.add_module("leaky3", nn.LeakyReLU(0.1))
        self.add_module("flatten", nn.Flatten())
        self.add_module("dropout4", nn.Dropout(0.4))
        self.add_module("dense4", nn.Linear(64 * 16, 96))
        self.add_module("leaky4", nn.LeakyReLU(0.1))
        self.add_module("dense5", nn.Linear(96, 10))


def augment(x: Tensor, generator: torch.Generator) -> Tensor:
    """Affine and elastic distortions, then blur, fainter ink and noise, each of a random strength.

    A prototype may be fainter, softer or rougher than a pen's stroke; the judge should look at the
    shape alone.
    """
    x = distort(x, generator, degrees=10, shear=0.12, zoom=0.12, shift=0.14, bend=0.03)

    def uniform() -> Tensor:
        return torch.rand(len(x), 1, 1, 1, generator=generator)

    blurred = F.avg_pool2d(x, 3, stride=1, padding=1)
    x = torch.lerp(x, blurred, uniform()) * (1 - 0.4 * uniform())
    noise = torch.randn(x.shape, generator=generator) * (0.25 * uniform() ** 2)
    return (x + noise).clamp(0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the two .npz files")
    parser.add_argument("--out", type=Path, default=Path("digits_judge.onnx"))
    parser.add_argument("--hold-out", type=int, default=0, metavar="N")
    options = parser.parse_args()

    # On one thread the weights do not depend on the number of cores.
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    x, y = load(options.data / "mnist_train10k_npm.npz")
    network = Judge()
    count = len(x) - options.hold_out
    train_classifier(
        network,
        x[:count],
        y[:count],
        augment=augment,
        seed=SEED,
        epochs=30,
        batch=100,
        peak_rate=3e-3,
        weight_decay=0.02,
        label_smoothing=0.05,
    )
    if options.hold_out:
        print(f"held out: {accuracy(network, x[count:], y[count:]):.4f}")
        return
    model = to_onnx(network, "digits_judge", ("image", (1, 28, 28)), ("logits", (10,)))
    onnx.save(model, options.out)
    share = accuracy(network, *load(options.data / "mnist_test10k.npz"))
    print(f"test digits: {share:.4f}; {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
