"""Convolutional subsampling: fewer, richer frames before the encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from fedasr.models.convolutions import FrameConv1d
from fedasr.models.norms import make_norm
from fedasr.models.padding import padding_mask, silence


class Subsampling(nn.Module):
    """A stack of convolution, normalisation and ReLU.

    Args:
        mel_bins: channels of the features.
        channels: output channels of each convolution.
        strides: stride of each convolution; the frame rate falls by their product.
        norm: ``layer``, ``group`` or ``none``.
    """

    def __init__(self, mel_bins: int, channels: Sequence[int], strides: Sequence[int], norm: str) -> None:
        super().__init__()
        inputs = [mel_bins, *channels[:-1]]
        self.strides = tuple(strides)
        self.width = channels[-1]
        self.convolutions = nn.ModuleList(
            FrameConv1d(before, after, stride) for before, after, stride in zip(inputs, channels, strides, strict=True)
        )
        self.norms = nn.ModuleList(make_norm(norm, after) for after in channels)

    def output_frames(self, lengths: torch.Tensor) -> torch.Tensor:
        """Return how many frames come out of so many, ``(batch,)``."""
        for stride in self.strides:
            lengths = (lengths + stride - 1) // stride
        return lengths

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the frames ``(batch, time', channels)`` and their lengths ``(batch,)``.

        Args:
            features: ``(batch, time, mel)``; what stands in the padding does not matter.
            lengths: frames of each utterance, int64 ``(batch,)``.
        """
        x = features
        mask = padding_mask(lengths, x.shape[1])
        for convolution, norm, stride in zip(self.convolutions, self.norms, self.strides, strict=True):
            x = F.relu(norm(convolution(silence(x, mask))))
            lengths = (lengths + stride - 1) // stride
            if mask is not None:
                mask = padding_mask(lengths, x.shape[1])
        return x, lengths
