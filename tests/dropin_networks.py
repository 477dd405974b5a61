"""Small torch modules as users of Zennit and Captum have them, and error against float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

ResBlockSum = type[nn.Module]


class PlusModule(nn.Module):
    """A residual sum as a module of its own."""

    def forward(self, a: Any, b: Any) -> Any:
        return a + b


class VggLike(nn.Module):
    """Convolutions with batch norm, max pooling, and dense layers behind flatten and dropout."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 12, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 5)
        )

    def forward(self, x: Any) -> Any:
        return self.classifier(self.features(x))


class Bottleneck(nn.Module):
    """A residual block whose branches meet in `join`, or in + where there is none."""

    def __init__(self, channels: int, join: Callable[[], nn.Module] | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 1)
        self.bn2 = nn.BatchNorm2d(channels)
        self.join = join() if join else None
        self.relu2 = nn.ReLU()

    def forward(self, x: Any) -> Any:
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(y + x if self.join is None else self.join(y, x))


class ResNetLike(nn.Module):
    def __init__(self, join: Callable[[], nn.Module] | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Bottleneck(8, join), Bottleneck(8, join))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.fc(self.flatten(self.avgpool(self.layer1(x))))


def seeded(module: nn.Module, seed: int = 0) -> nn.Module:
    """In evaluation mode, with weights and statistics away from their defaults."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.weight.uniform_(0.5, 1.5)
                part.bias.normal_(0, 0.3)
                part.running_mean.normal_(0, 0.3)
                part.running_var.uniform_(0.5, 1.5)
            elif isinstance(part, nn.Conv2d | nn.Linear):
                part.weight.normal_(0, (2 / part.weight[0].numel()) ** 0.5)
                if part.bias is not None:
                    part.bias.normal_(0, 0.1)
    return module.eval()


def error(actual: Any, expected: Any) -> float:
    """Σ|a - b| / Σ|b|."""
    a, b = (np.asarray(v.detach() if hasattr(v, "detach") else v) for v in (actual, expected))
    assert a.shape == b.shape
    return float(np.abs(a.astype(np.float64) - b).sum() / np.abs(b).sum())
