"""VGG-16 and ResNet-50 as torch modules with random weights, as their users have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.random_networks import RESNET50, VGG16


def vgg16() -> nn.Module:
    """Simonyan, Zisserman 2014."""
    layers: list[nn.Module] = []
    inputs = 3
    for width in VGG16:
        if isinstance(width, str):
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
        inputs = width
    dense = [(25088, 4096), (4096, 4096), (4096, 1000)]
    head = [m for sizes in dense for m in (nn.Linear(*sizes), nn.ReLU(), nn.Dropout())][:-2]
    return seeded(Sequence(nn.Sequential(*layers), nn.Sequential(*head)))


class Sequence(nn.Module):
    """Convolutions, flattened, then dense layers."""

    def __init__(self, features: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.features, self.classifier = features, classifier

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.classifier(torch.flatten(self.features(x), 1))
        return result


class Bottleneck(nn.Module):
    """He et al. 2016; branches meet in `join`, or in + where there is none."""

    def __init__(
        self, inputs: int, width: int, stride: int, join: Callable[[], nn.Module] | None
    ) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.relu1, self.relu2, self.relu3 = nn.ReLU(), nn.ReLU(), nn.ReLU()
        self.shortcut: nn.Module | None = None
        if stride > 1 or inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(outputs))
        self.join = join() if join else None

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.branches(x)
        result: Tensor = self.relu3(a + b if self.join is None else self.join(a, b))
        return result

    def branches(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.relu2(self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))))
        return self.bn3(self.conv3(y)), x if self.shortcut is None else self.shortcut(x)


class ResNet(nn.Module):
    def __init__(self, join: Callable[[], nn.Module] | None) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.relu, self.maxpool = nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        blocks: list[nn.Module] = []
        inputs = 64
        for width, count, stride in RESNET50:
            for index in range(count):
                blocks.append(Bottleneck(inputs, width, stride if index == 0 else 1, join))
                inputs = 4 * width
        self.layers = nn.Sequential(*blocks)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(inputs, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
        result: Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return result


def resnet50(join: Callable[[], nn.Module] | None = None) -> nn.Module:
    """He et al. 2016. join: a module for residual sums, which Captum needs."""
    return seeded(ResNet(join))


def seeded(module: nn.Module) -> nn.Module:
    """He et al.'s weights; the last batch norm of a block is small: depth adds up slowly."""
    torch.manual_seed(0)
    for name, part in module.named_modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight)
            if part.bias is not None:
                nn.init.normal_(part.bias, std=0.05)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.constant_(part.weight, 0.25 if name.endswith("bn3") else 1.0)
            nn.init.normal_(part.bias, std=0.1)
    return module.eval()


def merged_batch_norm(zennit: Any) -> list[Any]:
    """Zennit's canonizers for these modules, without the eps that 0.5.1 leaves behind."""

    class Merge(zennit.canonizers.SequentialMergeBatchNorm):  # type: ignore[misc]
        def register(self, linears: Any, batch_norm: Any) -> None:
            super().register(linears, batch_norm)
            batch_norm.eps = 0.0

    class Sums(zennit.canonizers.AttributeCanonizer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(self.attributes)

        @staticmethod
        def attributes(name: str, module: Any) -> dict[str, Any] | None:
            if not isinstance(module, Bottleneck):
                return None

            def forward(self: Any, x: Tensor) -> Tensor:
                total = self.canonizer_sum(torch.stack(self.branches(x), -1))
                result: Tensor = self.relu3(total)
                return result

            return {"forward": forward.__get__(module), "canonizer_sum": zennit.layer.Sum()}

    return [zennit.canonizers.CompositeCanonizer([Sums(), Merge()])]
