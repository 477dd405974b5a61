"""rp.from_torch: names, modes, snapshots, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import relprop as rp

torch = pytest.importorskip("torch", reason="torch is not installed")
nn, F = torch.nn, torch.nn.functional

RELATIVE = 1e-5  # of the largest output


class Block(nn.Module):
    """Convolutions, an activation module used twice, an in-place sum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(6, 3, 3, padding="same")

    def forward(self, x: Any) -> Any:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.conv2(y)
        y += x
        return self.relu(y)


class Network(nn.Module):
    """Modules and functional calls side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(Block(), Block())
        self.drop = nn.Dropout()
        self.head = nn.Linear(6, 4)

    def forward(self, x: Any) -> Any:
        x = F.relu(self.body(x) - 0.25)
        x = torch.cat([x.mean([2, 3]), torch.flatten(F.adaptive_max_pool2d(x, 1), 1)], 1)
        return self.head(self.drop(x))


def seeded(make: Any) -> Any:
    """A module in evaluation mode with weights and statistics away from their defaults."""
    torch.manual_seed(0)
    module = make().eval()
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if "bn" in name and value.is_floating_point():
                value.uniform_(0.5, 1.5)
    return module


def assert_same_outputs(module: Any, model: rp.Model, x: Any) -> None:
    with torch.no_grad():
        expected = module(x).numpy()
    actual = model(x).numpy()
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= RELATIVE * np.abs(expected).max()


def test_outputs_and_names() -> None:
    module = seeded(Network)
    model = rp.from_torch(module, torch.zeros(1, 3, 8, 8))
    assert_same_outputs(module, model, torch.randn(5, 3, 8, 8))
    assert model.output_names == ["output"]
    assert model.layers == [
        "body.0.conv1", "body.0.bn1", "body.0.relu", "body.0.conv2", "body.0.add", "body.0.relu#2",
        "body.1.conv1", "body.1.bn1", "body.1.relu", "body.1.conv2", "body.1.add", "body.1.relu#2",
        "sub", "relu", "mean/pool", "mean", "adaptive_max_pool2d", "flatten", "cat", "drop", "head",
    ]  # fmt: skip
