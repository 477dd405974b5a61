"""Groups of module types for layer maps, as Zennit bundles them."""

from __future__ import annotations

from torch import nn

ModuleTypes = tuple[type[nn.Module], ...]

ConvolutionTranspose: ModuleTypes = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
ConvolutionStandard: ModuleTypes = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
Convolution: ModuleTypes = ConvolutionStandard + ConvolutionTranspose
Linear: ModuleTypes = (*Convolution, nn.Linear)
BatchNorm: ModuleTypes = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
AvgPool: ModuleTypes = (
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
)
MaxPool: ModuleTypes = (
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d,
)
Activation: ModuleTypes = (
    nn.ELU,
    nn.Hardshrink,
    nn.Hardsigmoid,
    nn.Hardtanh,
    nn.Hardswish,
    nn.LeakyReLU,
    nn.LogSigmoid,
    nn.PReLU,
    nn.ReLU,
    nn.ReLU6,
    nn.RReLU,
    nn.SELU,
    nn.CELU,
    nn.GELU,
    nn.Sigmoid,
    nn.SiLU,
    nn.Softplus,
    nn.Softshrink,
    nn.Softsign,
    nn.Tanh,
    nn.Tanhshrink,
    nn.Threshold,
)
