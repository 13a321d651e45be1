"""Dilated depth-wise separable convolutions: no recurrence, a wide view, few parameters."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from fedasr.models.convolutions import DepthwiseConv1d
from fedasr.models.dropout import dropout
from fedasr.models.encoders.base import Encoder
from fedasr.models.norms import make_norm
from fedasr.models.padding import padding_mask, silence

DILATIONS = (1, 2, 4, 8)


class DepthwiseBlock(nn.Module):
    """Depth-wise convolution over time, point-wise mixing, normalisation and ReLU, around a residual."""

    def __init__(self, channels: int, kernel: int, dilation: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv1d(channels, kernel, dilation)
        self.pointwise = nn.Linear(channels, channels)
        self.norm = make_norm(norm, channels)
        self.dropout = dropout

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Return ``(batch, time, channels)``; ``mask (batch, time)`` is true in the padding."""
        y = self.pointwise(self.depthwise(silence(x, mask)))
        return x + dropout(F.relu(self.norm(y)), self.dropout, self.training)


class DepthwiseEncoder(Encoder):
    """Blocks of dilation 1, 2, 4, 8, 1, 2, … (after QuartzNet, Kriman et al. 2020, and WaveNet's dilations)."""

    def __init__(self, inputs: int, hidden: int, layers: int, kernel: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.width = hidden
        self.projection = nn.Linear(inputs, hidden)
        self.blocks = nn.ModuleList(
            DepthwiseBlock(hidden, kernel, DILATIONS[index % len(DILATIONS)], norm, dropout) for index in range(layers)
        )

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return ``(batch, time, hidden)``."""
        mask = padding_mask(lengths, x.shape[1])
        x = self.projection(x)
        for block in self.blocks:
            x = block(x, mask)
        return x
