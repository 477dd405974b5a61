"""What the training scripts share: digits, distortions of them, accuracy."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


def load(path: Path) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 28, 28) in [0, 1] and labels."""
    with np.load(path) as file:
        images, labels = file["x"], file["y"]
    x = torch.from_numpy(images.astype(np.float32) / 255).reshape(-1, 1, 28, 28)
    return x, torch.from_numpy(labels.astype(np.int64))


def distort(
    x: Tensor,
    generator: torch.Generator,
    *,
    degrees: float,
    shear: float,
    zoom: float,
    shift: float,
    bend: float,
) -> Tensor:
    """A random affine and a smooth elastic distortion per digit; a shift of 1 is half a picture."""

    def uniform(*shape: int, scale: float) -> Tensor:
        return (2 * torch.rand(*shape, generator=generator) - 1) * scale

    n = len(x)
    angle = uniform(n, scale=math.radians(degrees))
    slant = uniform(n, scale=shear)
    size = 1 + uniform(n, 2, scale=zoom)
    rows = [
        torch.stack([size[:, 0] * angle.cos(), slant - angle.sin(), uniform(n, scale=shift)], 1),
        torch.stack([angle.sin(), size[:, 1] * angle.cos(), uniform(n, scale=shift)], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    coarse = torch.randn(n, 2, 5, 5, generator=generator) * bend
    smooth = F.interpolate(coarse, size=(28, 28), mode="bicubic", align_corners=True)
    return F.grid_sample(x, grid + smooth.permute(0, 2, 3, 1), align_corners=False)


def train_classifier(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    augment: Callable[[Tensor, torch.Generator], Tensor],
    seed: int,
    epochs: int,
    batch: int,
    peak_rate: float,
    weight_decay: float,
    label_smoothing: float,
) -> None:
    """AdamW with a one-cycle rate; batches and distortions come from one seeded generator."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=weight_decay)
    steps = len(x) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=peak_rate, total_steps=epochs * steps
    )
    for epoch in range(epochs):
        network.train()
        order = torch.randperm(len(x), generator=generator)[: steps * batch].reshape(steps, batch)
        total = 0.0
        for chosen in order:
            loss = F.cross_entropy(
                network(augment(x[chosen], generator)), y[chosen], label_smoothing=label_smoothing
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1:2d}  loss {total / steps:.4f}", flush=True)


def accuracy(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of right classes."""
    network.eval()
    with torch.no_grad():
        hits = sum(
            int((network(xs).argmax(1) == ys).sum())
            for xs, ys in zip(x.split(1000), y.split(1000), strict=True)
        )
    return hits / len(x)
