"""What an encoder is."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn


class Encoder(nn.Module, ABC):
    """Frames to frames at the same rate; ``width`` is the number of channels that come out."""

    width: int

    @abstractmethod
    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return ``(batch, time, width)``; what it holds beyond an utterance's length means nothing.

        Args:
            x: ``(batch, time, channels)``; finite in the padding.
            lengths: frames of each utterance, int64 ``(batch,)``.
        """
