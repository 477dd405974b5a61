"""Trains the decoder that relprop ships, codes to pictures of digits, and writes it as ONNX.

    python training/digits_decoder.py --data ../shared/data/mnist_data --out digits_decoder.onnx

The decoder of a variational autoencoder (Kingma, Welling 2014, "Auto-encoding variational Bayes").
README.md says where the data come from. ``--hold-out`` keeps training digits back, reports on them
and writes nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export import to_onnx
from mnist import distort, load

SEED = 11
CODE = 24
EPOCHS = 18
BATCH = 100
RATE = 2e-3
AVERAGING = 0.998  # of the decoder's weights over steps


class Decoder(nn.Sequential):
    """Two dense layers, two transposed convolutions, 326 thousand parameters, ReLU, sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module("dense1", nn.Linear(CODE, 128))
        self.add_module("relu1", nn.ReLU())
        self.add_module("dense2", nn.Linear(128, 48 * 49))
        self.add_module("relu2", nn.ReLU())
        self.add_module("reshape2", nn.Unflatten(1, (48, 7, 7)))
        self.add_module("deconv3", nn.ConvTranspose2d(48, 24, 4, stride=2, padding=1))
        self.add_module("relu3", nn.ReLU())
        self.add_module("deconv4", nn.ConvTranspose2d(24, 1, 6, stride=2, padding=2))
        self.add_module("sigmoid4", nn.Sigmoid())


def encoder() -> nn.Sequential:
    """Pictures to the mean and the log variance of the code."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(32 * 49, 128),
        nn.LeakyReLU(0.2),
        nn.Linear(128, 2 * CODE),
    )


def augment(x: Tensor, generator: torch.Generator) -> Tensor:
    """Slight distortions: 10,000 digits are few, and the decoder should stay with neat ones."""
    x = distort(x, generator, degrees=6, shear=0.08, zoom=0.06, shift=0.04, bend=0.02)
    return x.clamp(0, 1)


def evidence(encode: nn.Module, decode: nn.Module, x: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
    """Reconstruction loss and Kullback-Leibler divergence, in nats per picture."""
    mean, log_variance = encode(x).chunk(2, dim=1)
    picture = decode(mean + (log_variance / 2).exp() * noise)
    reconstruction = F.binary_cross_entropy(picture, x, reduction="sum") / len(x)
    divergence = (mean**2 + log_variance.exp() - 1 - log_variance).sum() / (2 * len(x))
    return reconstruction, divergence


def train(decode: Decoder, encode: nn.Module, x: Tensor) -> None:
    """Adam with a cosine rate; the decoder that is kept is an average over the last steps."""
    generator = torch.Generator().manual_seed(SEED)
    average = {name: value.detach().clone() for name, value in decode.state_dict().items()}
    parameters = [*decode.parameters(), *encode.parameters()]
    optimizer = torch.optim.Adam(parameters, RATE, betas=(0.5, 0.99))
    steps = len(x) // BATCH
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * steps)
    for epoch in range(EPOCHS):
        order = torch.randperm(len(x), generator=generator)[: steps * BATCH].reshape(steps, BATCH)
        totals = torch.zeros(2)
        for chosen in order:
            real = augment(x[chosen], generator)
            # The run that made the shipped weights drew codes for a loss that was then left out.
            noise, _ = (torch.randn(BATCH, CODE, generator=generator) for _ in range(2))
            reconstruction, divergence = evidence(encode, decode, real, noise)
            optimizer.zero_grad()
            (reconstruction + divergence).backward()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                for name, value in decode.state_dict().items():
                    average[name].lerp_(value, 1 - AVERAGING)
            totals += torch.stack([reconstruction, divergence]).detach()
        values = (totals / steps).tolist()
        print(f"epoch {epoch + 1:2d}  reconstruction {values[0]:.2f}  divergence {values[1]:.2f}")
    decode.load_state_dict(average)


def report(decode: nn.Module, encode: nn.Module, x: Tensor) -> str:
    """The evidence lower bound with one sample per picture, and the reconstruction's error."""
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        noise = torch.randn(len(x), CODE, generator=generator)
        reconstruction, divergence = evidence(encode, decode, x, noise)
        error = (decode(encode(x).chunk(2, dim=1)[0]) - x).square().mean().sqrt()
    return (
        f"-ELBO {reconstruction + divergence:.1f} nats (reconstruction {reconstruction:.1f}, "
        f"divergence {divergence:.1f}); root mean square error {error:.4f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the two .npz files")
    parser.add_argument("--out", type=Path, default=Path("digits_decoder.onnx"))
    parser.add_argument("--hold-out", type=int, default=0, metavar="N")
    options = parser.parse_args()

    # On one thread the weights do not depend on the number of cores.
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    x, _ = load(options.data / "mnist_train10k_npm.npz")
    decode, encode = Decoder(), encoder()
    count = len(x) - options.hold_out
    train(decode, encode, x[:count])
    if options.hold_out:
        print(f"held out: {report(decode, encode, x[count:])}")
        return
    model = to_onnx(decode, "digits_decoder", ("code", (CODE,)), ("image", (1, 28, 28)))
    onnx.save(model, options.out)
    test, _ = load(options.data / "mnist_test10k.npz")
    print(f"test digits: {report(decode, encode, test)}; {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
