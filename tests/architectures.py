"""Architectures that people use, written from their papers, narrow and with random weights.

Each keeps what is particular to the original (kinds of layers, branches, functional calls, in-place
operators) and has one or two blocks per stage. ``ARCHITECTURES`` is the table of all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv_norm(
    inputs: int,
    outputs: int,
    kernel: Any = 3,
    stride: int = 1,
    *,
    padding: Any = None,
    groups: int = 1,
    activation: type[nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """Convolution, batch norm and activation, the block of nearly all of them."""
    padding = kernel // 2 if padding is None else padding
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    layers: list[nn.Module] = [conv, nn.BatchNorm2d(outputs)]
    if activation is not None:
        layers.append(activation(inplace=True))  # type: ignore[call-arg]
    return nn.Sequential(*layers)


def alexnet() -> nn.Module:
    """Krizhevsky et al. 2012."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 11, 4, 2), nn.ReLU(True), nn.MaxPool2d(3, 2),
        nn.Conv2d(8, 12, 5, padding=2), nn.ReLU(True), nn.MaxPool2d(3, 2),
        nn.Conv2d(12, 16, 3, padding=1), nn.ReLU(True),
        nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(), nn.Dropout(),
        nn.Linear(64, 24), nn.ReLU(True), nn.Dropout(), nn.Linear(24, 10),
    )  # fmt: skip


def vgg(norm: bool) -> nn.Module:
    """Simonyan, Zisserman 2014."""
    layers: list[nn.Module] = []
    widths, inputs = [6, "pool", 8, 8, "pool", 12, "pool"], 3
    for width in widths:
        if isinstance(width, str):
            layers.append(nn.MaxPool2d(2, 2))
            continue
        layers.append(nn.Conv2d(inputs, width, 3, padding=1))
        layers += [nn.BatchNorm2d(width)] if norm else []
        layers.append(nn.ReLU(inplace=True))
        inputs = width
    head = [nn.Flatten(), nn.Linear(12 * 16, 20), nn.ReLU(True), nn.Dropout(), nn.Linear(20, 10)]
    return nn.Sequential(*layers, *head)


class ResidualBlock(nn.Module):
    """He et al. 2015, basic and bottleneck; with groups Xie et al. 2016 (ResNeXt)."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, *, width: int = 0, groups: int = 1
    ) -> None:
        super().__init__()
        inner = width or outputs
        self.relu = nn.ReLU(inplace=True)
        first = conv_norm(inputs, inner, 1) if width else conv_norm(inputs, inner, 3, stride)
        self.body = nn.Sequential(first)
        if width:
            self.body.append(conv_norm(inner, inner, 3, stride, groups=groups))
        self.body.append(conv_norm(inner, outputs, 1 if width else 3, activation=None))
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = conv_norm(inputs, outputs, 1, stride, padding=0, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.body(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self, **block: Any) -> None:
        super().__init__()
        self.stem = conv_norm(3, 8, 7, 2)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(
            ResidualBlock(8, 16, 1, **block), ResidualBlock(16, 16, 1, **block)
        )
        self.layer2 = ResidualBlock(16, 24, 2, **block)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer2(self.layer1(self.maxpool(self.stem(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class Fire(nn.Module):
    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.squeeze(x))
        branches = [self.activation(self.expand1x1(x)), self.activation(self.expand3x3(x))]
        return torch.cat(branches, 1)


def squeezenet() -> nn.Module:
    """Iandola et al. 2016."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.ReLU(True), nn.MaxPool2d(3, 2, ceil_mode=True),
        Fire(8, 4, 8), Fire(16, 4, 8), nn.MaxPool2d(3, 2, ceil_mode=True), Fire(16, 6, 12),
        nn.Dropout(), nn.Conv2d(24, 10, 1), nn.ReLU(True), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


class DenseLayer(nn.Module):
    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, 8, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(8), nn.Conv2d(8, growth, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, features: list[Tensor]) -> Tensor:
        x = self.conv1(self.relu(self.norm1(torch.cat(features, 1))))
        return self.conv2(self.relu(self.norm2(x)))


class DenseNet(nn.Module):
    """Huang et al. 2016."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_norm(3, 8, 7, 2), nn.MaxPool2d(3, 2, 1))
        self.block1 = nn.ModuleList([DenseLayer(8, 4), DenseLayer(12, 4)])
        self.transition = nn.Sequential(
            nn.BatchNorm2d(16), nn.ReLU(True), nn.Conv2d(16, 8, 1, bias=False), nn.AvgPool2d(2)
        )
        self.block2 = nn.ModuleList([DenseLayer(8, 4), DenseLayer(12, 4)])
        self.norm = nn.BatchNorm2d(16)
        self.classifier = nn.Linear(16, 10)

    @staticmethod
    def grown(x: Tensor, block: nn.ModuleList) -> Tensor:
        features = [x]
        for layer in block:
            features.append(layer(features))
        return torch.cat(features, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.transition(self.grown(self.stem(x), self.block1))
        x = F.relu(self.norm(self.grown(x, self.block2)), inplace=True)
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


class SqueezeExcitation(nn.Module):
    """Hu et al. 2017."""

    def __init__(
        self,
        channels: int,
        hidden: int,
        activation: Callable[..., Tensor],
        gate: Callable[..., Any],
    ) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.fc2 = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)
        self.activation, self.gate = activation, gate

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(self.fc2(self.activation(self.fc1(self.avgpool(x))))) * x


class StochasticDepth(nn.Module):
    """Huang et al. 2016; drops whole branches in training."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * torch.empty(len(x), 1, 1, 1).bernoulli_(0.8) / 0.8


class InvertedResidual(nn.Module):
    """Sandler et al. 2018 (MobileNet v2), Tan et al. 2018 (MNASNet), Howard et al. 2019 (v3)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        *,
        kernel: int = 3,
        expand: int = 3,
        activation: type[nn.Module] = nn.ReLU6,
        attention: nn.Module | None = None,
    ) -> None:
        super().__init__()
        hidden = inputs * expand
        layers = [
            conv_norm(inputs, hidden, 1, activation=activation),
            conv_norm(hidden, hidden, kernel, stride, groups=hidden, activation=activation),
            *([attention] if attention is not None else []),
            conv_norm(hidden, outputs, 1, activation=None),
        ]
        self.residual = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(*layers)
        self.drop = StochasticDepth()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop(self.layers(x)) if self.residual else self.layers(x)


class Classifier(nn.Module):
    """Features, mean over space, dropout, one dense layer."""

    def __init__(self, channels: int, *features: nn.Module) -> None:
        super().__init__()
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(channels, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean([2, 3]))


def mobilenet_v2() -> nn.Module:
    return Classifier(
        24,
        conv_norm(3, 8, 3, 2, activation=nn.ReLU6),
        InvertedResidual(8, 8, 1),
        InvertedResidual(8, 12, 2),
        InvertedResidual(12, 12, 1),
        conv_norm(12, 24, 1, activation=nn.ReLU6),
    )


def mnasnet() -> nn.Module:
    more: dict[str, Any] = {"activation": nn.ReLU, "kernel": 5}
    return Classifier(
        24,
        conv_norm(3, 8, 3, 2),
        conv_norm(8, 8, 3, groups=8),
        conv_norm(8, 6, 1, activation=None),
        InvertedResidual(6, 10, 2, **more),
        InvertedResidual(10, 10, 1, **more),
        conv_norm(10, 24, 1),
    )


def mobilenet_v3() -> nn.Module:
    def block(inputs: int, outputs: int, stride: int, activation: type[nn.Module]) -> nn.Module:
        attention = SqueezeExcitation(3 * inputs, 6, F.relu, F.hardsigmoid)
        more: dict[str, Any] = {"activation": activation, "attention": attention, "kernel": 5}
        return InvertedResidual(inputs, outputs, stride, **more)

    return Classifier(
        24,
        conv_norm(3, 8, 3, 2, activation=nn.Hardswish),
        block(8, 8, 1, nn.ReLU),
        block(8, 12, 2, nn.Hardswish),
        conv_norm(12, 24, 1, activation=nn.Hardswish),
    )


def efficientnet() -> nn.Module:
    """Tan, Le 2019."""

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        attention = SqueezeExcitation(3 * inputs, 4, F.silu, torch.sigmoid)
        more: dict[str, Any] = {"activation": nn.SiLU, "attention": attention}
        return InvertedResidual(inputs, outputs, stride, **more)

    return Classifier(
        24,
        conv_norm(3, 8, 3, 2, activation=nn.SiLU),
        block(8, 8, 1),
        block(8, 12, 2),
        conv_norm(12, 24, 1, activation=nn.SiLU),
    )


class RegNetBlock(nn.Module):
    """Radosavovic et al. 2020, the Y variant."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.proj = None
        if stride != 1 or inputs != outputs:
            self.proj = conv_norm(inputs, outputs, 1, stride, padding=0, activation=None)
        self.f = nn.Sequential(
            conv_norm(inputs, outputs, 1),
            conv_norm(outputs, outputs, 3, stride, groups=outputs // 4),
            SqueezeExcitation(outputs, 4, F.relu, torch.sigmoid),
            conv_norm(outputs, outputs, 1, activation=None),
        )
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.proj is None else self.proj(x)
        return self.activation(shortcut + self.f(x))


def regnet() -> nn.Module:
    return Classifier(16, conv_norm(3, 8, 3, 2), RegNetBlock(8, 16, 2), RegNetBlock(16, 16, 1))


class Inception(nn.Module):
    """Szegedy et al. 2014 (GoogLeNet), with batch norm."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch1 = conv_norm(inputs, 4, 1)
        self.branch2 = nn.Sequential(conv_norm(inputs, 4, 1), conv_norm(4, 6, 3))
        self.branch3 = nn.Sequential(conv_norm(inputs, 3, 1), conv_norm(3, 4, 3))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1, ceil_mode=True), conv_norm(inputs, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class GoogLeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            conv_norm(3, 8, 7, 2), nn.MaxPool2d(3, 2, ceil_mode=True), conv_norm(8, 8, 1),
            conv_norm(8, 12, 3),
        )  # fmt: skip
        self.inception3a, self.inception3b = Inception(12), Inception(18)
        self.maxpool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.aux = nn.Linear(18, 10)
        self.avgpool, self.dropout = nn.AdaptiveAvgPool2d((1, 1)), nn.Dropout(0.2)
        self.fc = nn.Linear(18, 10)

    def forward(self, x: Tensor) -> Any:
        # The original normalises again what was normalised for another network.
        x = torch.cat([x[:, i : i + 1] * (0.4 + i / 10) + 0.1 for i in range(3)], 1)
        x = self.inception3a(self.stem(x))
        aux = self.aux(x.mean([2, 3])) if self.training else None
        x = self.inception3b(self.maxpool(x))
        x = self.fc(self.dropout(torch.flatten(self.avgpool(x), 1)))
        return (x, aux) if self.training else x


class FactorisedInception(nn.Module):
    """The block with 1x7 and 7x1 convolutions and an average pooling of Inception v3."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch1 = conv_norm(inputs, 4, 1)
        self.branch7 = nn.Sequential(
            conv_norm(inputs, 4, 1),
            conv_norm(4, 4, (1, 7), padding=(0, 3)),
            conv_norm(4, 6, (7, 1), padding=(3, 0)),
        )
        self.pool = conv_norm(inputs, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pool(F.avg_pool2d(x, kernel_size=3, stride=1, padding=1))
        return torch.cat([self.branch1(x), self.branch7(x), pooled], 1)


class Reduction(nn.Module):
    """Halves the grid by a convolution and a pooling side by side."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3 = conv_norm(inputs, 8, 3, 2, padding=0)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch3(x), F.max_pool2d(x, kernel_size=3, stride=2)], 1)


class ExpandedInception(nn.Module):
    """The last block of Inception v3: branches that fork once more."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.stem = conv_norm(inputs, 6, 1)
        self.wide = conv_norm(6, 6, (1, 3), padding=(0, 1))
        self.high = conv_norm(6, 6, (3, 1), padding=(1, 0))

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        return torch.cat([torch.cat([self.wide(y), self.high(y)], 1), x], 1)


def inception_v3() -> nn.Module:
    """Szegedy et al. 2015."""
    return Classifier(
        34,
        conv_norm(3, 8, 3, 2, padding=0),
        conv_norm(8, 8, 3, padding=0),
        nn.MaxPool2d(3, 2),
        FactorisedInception(8),
        Reduction(14),
        ExpandedInception(22),
    )


def shuffled(x: Tensor, groups: int) -> Tensor:
    """Zhang et al. 2017 (ShuffleNet)."""
    n, channels, height, width = x.size()
    x = x.view(n, groups, channels // groups, height, width)
    return torch.transpose(x, 1, 2).contiguous().view(n, channels, height, width)


class ShuffleBlock(nn.Module):
    """Ma et al. 2018 (ShuffleNet v2)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half, self.stride = outputs // 2, stride
        first = inputs if stride > 1 else inputs // 2
        self.branch1 = nn.Sequential(
            conv_norm(inputs, inputs, 3, stride, groups=inputs, activation=None),
            conv_norm(inputs, half, 1),
        )
        self.branch2 = nn.Sequential(
            conv_norm(first, half, 1),
            conv_norm(half, half, 3, stride, groups=half, activation=None),
            conv_norm(half, half, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            return shuffled(torch.cat([self.branch1(x), self.branch2(x)], 1), 2)
        kept, changed = x.chunk(2, dim=1)
        return shuffled(torch.cat([kept, self.branch2(changed)], 1), 2)


def shufflenet_v2() -> nn.Module:
    return Classifier(
        24,
        conv_norm(3, 8, 3, 2),
        nn.MaxPool2d(3, 2, 1),
        ShuffleBlock(8, 16, 2),
        ShuffleBlock(16, 16, 1),
        conv_norm(16, 24, 1),
    )


class LayerNorm2d(nn.LayerNorm):
    """Over the channels of an image."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.up, self.act = nn.Linear(channels, 4 * channels), nn.GELU()
        self.down = nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(torch.full((channels, 1, 1), 0.5))
        self.drop = StochasticDepth()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.down(self.act(self.up(y))).permute(0, 3, 1, 2)
        return self.drop(self.scale * y) + x


class ConvNeXt(nn.Module):
    """Liu et al. 2022."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 4, 4), LayerNorm2d(8, eps=1e-6), ConvNeXtBlock(8),
            LayerNorm2d(8, eps=1e-6), nn.Conv2d(8, 12, 2, 2), ConvNeXtBlock(12),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(LayerNorm2d(12, eps=1e-6), nn.Flatten(1), nn.Linear(12, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.avgpool(self.features(x)))


class UNet(nn.Module):
    """Ronneberger et al. 2015; one step up is a transposed convolution, one a bilinear resize."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = conv_norm(3, 6), conv_norm(6, 8)
        self.bottom = conv_norm(8, 12)
        self.up1 = nn.ConvTranspose2d(12, 8, 2, 2)
        self.merge1 = conv_norm(16, 8)
        self.up2 = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.merge2 = conv_norm(14, 6)
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        c = self.bottom(F.max_pool2d(b, 2))
        b = self.merge1(torch.cat([self.up1(c), b], dim=1))
        a = self.merge2(torch.cat([self.up2(b), a], dim=1))
        return self.head(a)


class TimeSeries(nn.Module):
    """A 1-d residual net with dilated convolutions, as for electrocardiograms."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(2, 8, 7, 2, 3), nn.BatchNorm1d(8), nn.LeakyReLU(0.1))
        self.pool = nn.MaxPool1d(3, 2, 1)
        self.conv1 = nn.Conv1d(8, 8, 3, padding="same", dilation=2)
        self.bn1 = nn.BatchNorm1d(8)
        self.conv2 = nn.Conv1d(8, 8, 3, padding="same", dilation=4)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.stem(x))
        x = F.elu(self.conv2(F.relu(self.bn1(self.conv1(x)))) + x)
        x = F.avg_pool1d(x, 2)
        return self.fc(F.adaptive_avg_pool1d(x, 1).squeeze(-1))


def mlp() -> nn.Module:
    """A plain network on tabular data."""
    return nn.Sequential(
        nn.Linear(13, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 16),
        nn.Tanh(), nn.Linear(16, 3),
    )  # fmt: skip


@dataclass(frozen=True)
class Architecture:
    id: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...] = (3, 32, 32)

    def module(self) -> nn.Module:
        """In evaluation mode, with random weights and batch norms that change something."""
        torch.manual_seed(7)
        module = self.make().eval()
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.uniform_(part.bias, -0.3, 0.3)
                part.running_mean.uniform_(-0.2, 0.2)  # type: ignore[union-attr]
                part.running_var.uniform_(0.2, 0.6)  # type: ignore[union-attr]
            if isinstance(part, nn.LayerNorm):
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.uniform_(part.bias, -0.3, 0.3)
        return module

    def inputs(self, count: int) -> Tensor:
        return torch.randn(count, *self.shape, generator=torch.Generator().manual_seed(3))


ARCHITECTURES = [
    Architecture("alexnet", alexnet, (3, 63, 63)),
    Architecture("vgg", lambda: vgg(False)),
    Architecture("vgg-bn", lambda: vgg(True)),
    Architecture("resnet-basic", ResNet),
    Architecture("resnet-bottleneck", lambda: ResNet(width=6)),
    Architecture("resnext", lambda: ResNet(width=8, groups=4)),
    Architecture("wide-resnet", lambda: ResNet(width=20)),
    Architecture("squeezenet", squeezenet, (3, 40, 40)),
    Architecture("densenet", DenseNet),
    Architecture("mobilenet-v2", mobilenet_v2),
    Architecture("mnasnet", mnasnet),
    Architecture("googlenet", GoogLeNet),
    Architecture("inception-v3", inception_v3, (3, 35, 35)),
    Architecture("shufflenet-v2", shufflenet_v2),
    Architecture("mobilenet-v3", mobilenet_v3),
    Architecture("efficientnet", efficientnet),
    Architecture("regnet", regnet),
    Architecture("convnext", ConvNeXt),
    Architecture("unet", UNet, (3, 16, 16)),
    Architecture("time-series", TimeSeries, (2, 64)),
    Architecture("mlp", mlp, (13,)),
]
