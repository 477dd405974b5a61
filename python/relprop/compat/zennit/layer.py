"""The sum of branches as a module, for layer maps."""

from __future__ import annotations

import torch


class Sum(torch.nn.Module):
    """Sums over an axis, the last by default. In layer maps it stands for every sum of branches."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The sum over the axis."""
        return torch.sum(input, dim=self.dim)
