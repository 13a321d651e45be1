"""LSTM encoders, in one direction or both."""

from __future__ import annotations

import torch
from torch import nn

from fedasr.models.dropout import dropout
from fedasr.models.encoders.base import Encoder
from fedasr.models.norms import make_norm


def reversal(lengths: torch.Tensor, frames: int) -> torch.Tensor:
    """Return the time indices ``(batch, frames, 1)`` that turn each utterance round and leave its padding in place."""
    time = torch.arange(frames, device=lengths.device)
    lengths = lengths.unsqueeze(1)
    return torch.where(time < lengths, lengths - 1 - time, time).unsqueeze(2)


class BidirectionalLSTM(nn.Module):
    """One bidirectional layer: an LSTM, and a second one that reads each utterance from its own end.

    The same function and number of parameters as ``nn.LSTM(bidirectional=True)`` over packed sequences. On CPU a packed
    sequence leaves oneDNN's fused LSTM for a loop over the frames, which takes four times as long.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.ahead = nn.LSTM(inputs, hidden, batch_first=True)
        self.back = nn.LSTM(inputs, hidden, batch_first=True)

    def forward(self, x: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
        """Return ``(batch, time, 2 * hidden)``; ``turn`` is what ``reversal`` gives."""
        ahead, _ = self.ahead(x)
        back, _ = self.back(x.gather(1, turn.expand(-1, -1, x.shape[2])))
        return torch.cat([ahead, back.gather(1, turn.expand(-1, -1, back.shape[2]))], dim=2)


class LSTMEncoder(Encoder):
    """Layers of LSTM (Hochreiter & Schmidhuber 1997), each followed by normalisation and dropout.

    Padding stands behind the speech, where a forward LSTM has nothing left to spoil, so nothing is masked or packed.
    """

    def __init__(self, inputs: int, hidden: int, layers: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.width = hidden
        self.dropout = dropout
        self.layers = nn.ModuleList(
            nn.LSTM(hidden if index else inputs, hidden, batch_first=True) for index in range(layers)
        )
        self.norms = nn.ModuleList(make_norm(norm, hidden) for _ in range(layers))

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return ``(batch, time, hidden)``."""
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x, _ = layer(x)
            x = dropout(norm(x), self.dropout, self.training)
        return x


class BLSTMEncoder(Encoder):
    """Layers of bidirectional LSTM (Graves & Schmidhuber 2005), each followed by normalisation and dropout."""

    def __init__(self, inputs: int, hidden: int, layers: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.width = 2 * hidden
        self.dropout = dropout
        self.layers = nn.ModuleList(
            BidirectionalLSTM(self.width if index else inputs, hidden) for index in range(layers)
        )
        self.norms = nn.ModuleList(make_norm(norm, self.width) for _ in range(layers))

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return ``(batch, time, 2 * hidden)``."""
        turn = reversal(lengths, x.shape[1])
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = dropout(norm(layer(x, turn)), self.dropout, self.training)
        return x
