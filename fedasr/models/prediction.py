"""What a transducer knows of the tokens before: all of them through an LSTM, or only the last few.

An LSTM is a language model that a device with a hundred sentences learns by heart: it then hears those sentences and
no others. With the last token or two alone (Ghodsi et al. 2020) a transducer is about as good, and can spell what it
never saw.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn

from fedasr.models.dropout import dropout
from fedasr.models.tokenizer import BLANK

Hidden = tuple[torch.Tensor, ...]
"""What is kept of the tokens before; the second dimension of each tensor is the hypotheses."""


class Prediction(nn.Module, ABC):
    """The prediction network: tokens in, what they say about the next one out.

    Attributes:
        width: channels of the output.
        context: tokens before that it remembers; None: all.
    """

    width: int
    context: int | None = None

    @abstractmethod
    def forward(self, tokens: torch.Tensor, hidden: Hidden | None) -> tuple[torch.Tensor, Hidden]:
        """Return states ``(batch, tokens, width)`` and what to go on from.

        Args:
            tokens: int64 ``(batch, tokens)``; a sentence starts with the blank.
            hidden: what the call before returned; None at the start.
        """


class LSTMPrediction(Prediction):
    """All tokens before (Graves 2012).

    Args:
        vocabulary_size: tokens, the blank included.
        width: of the embedding and of the LSTM.
        dropout: of the embedded tokens.
    """

    def __init__(self, vocabulary_size: int, width: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.dropout = dropout
        self.embedding = nn.Embedding(vocabulary_size, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)

    def forward(self, tokens: torch.Tensor, hidden: Hidden | None) -> tuple[torch.Tensor, Hidden]:
        """Return the states; what to go on from are those of the LSTM, ``(1, batch, width)`` each."""
        embedded = dropout(self.embedding(tokens), self.dropout, self.training)
        states, after = self.lstm(embedded) if hidden is None else self.lstm(embedded, hidden)
        return states, after


class ContextPrediction(Prediction):
    """The last tokens alone (Ghodsi et al. 2020, arXiv 2003.07705): one embedding for each place before, added up.

    Args:
        vocabulary_size: tokens, the blank included.
        width: of the embeddings.
        context: how many tokens.
        dropout: of the embedded tokens.
    """

    def __init__(self, vocabulary_size: int, width: int, context: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.context = context
        self.dropout = dropout
        self.embeddings = nn.ModuleList([nn.Embedding(vocabulary_size, width) for _ in range(context)])

    def forward(self, tokens: torch.Tensor, hidden: Hidden | None) -> tuple[torch.Tensor, Hidden]:
        """Return the states; what to go on from are the last tokens, ``(1, batch, context)``."""
        context, count = len(self.embeddings), tokens.shape[1]
        before = tokens.new_full((len(tokens), context), BLANK) if hidden is None else hidden[0][0]
        line = torch.cat([before, tokens], dim=1)
        states = self.embeddings[0](tokens)
        for place in range(1, context):
            states = states + self.embeddings[place](line[:, context - place : context - place + count])
        return dropout(states, self.dropout, self.training), (line[:, count:].unsqueeze(0),)
