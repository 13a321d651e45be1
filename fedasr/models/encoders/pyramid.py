"""The listener of "Listen, attend and spell" (Chan et al. 2016): a pyramid of bidirectional LSTMs."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from fedasr.models.dropout import dropout
from fedasr.models.encoders.recurrent import BidirectionalLSTM, reversal
from fedasr.models.norms import make_norm
from fedasr.models.padding import padding_mask, silence


def pairs(x: torch.Tensor) -> torch.Tensor:
    """Return neighbouring frames side by side, ``(batch, ceil(time / 2), 2 * channels)``; the last may lack a partner.

    Args:
        x: ``(batch, time, channels)``, zero in the padding.
    """
    if x.shape[1] % 2:
        x = F.pad(x, (0, 0, 0, 1))
    return x.reshape(x.shape[0], -1, 2 * x.shape[2])


class Pyramid(nn.Module):
    """Layers of bidirectional LSTM, each over pairs of the frames below, normalisation and dropout.

    Args:
        inputs: channels of the subsampled frames.
        hidden: width of each direction.
        layers: each halves the frame rate.
        norm: ``layer``, ``group`` or ``none``.
        dropout: after each layer.
    """

    def __init__(self, inputs: int, hidden: int, layers: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.width = 2 * hidden
        self.dropout = dropout
        self.layers = nn.ModuleList(
            BidirectionalLSTM(2 * (self.width if index else inputs), hidden) for index in range(layers)
        )
        self.norms = nn.ModuleList(make_norm(norm, self.width) for _ in range(layers))

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the states ``(batch, time', 2 * hidden)`` and their lengths ``(batch,)``.

        Args:
            x: ``(batch, time, channels)``; finite in the padding.
            lengths: frames of each utterance, int64 ``(batch,)``.
        """
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = pairs(silence(x, padding_mask(lengths, x.shape[1])))
            lengths = (lengths + 1) // 2
            x = dropout(norm(layer(x, reversal(lengths, x.shape[1]))), self.dropout, self.training)
        return x, lengths
