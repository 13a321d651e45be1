"""Parts of a user's own, as they would lie beside a script."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from fedasr.strategies.selection import Selection, Stateless


class Recogniser(nn.Module):
    """Log-mel frames to log-probabilities: a convolution of stride 2, and a linear layer."""

    def __init__(self, mel_bins, vocabulary_size, width=16):
        super().__init__()
        self.convolution = nn.Conv1d(mel_bins, width, 3, stride=2, padding=1)
        self.head = nn.Linear(width, vocabulary_size)

    def forward(self, features, lengths):
        frames = torch.relu(self.convolution(features.mT)).mT
        return self.head(frames).log_softmax(2), (lengths + 1) // 2


class Geometric:
    """The mean of the updates, scaled to the median of their lengths."""

    def __init__(self, power=1.0):
        self.updates, self.power = [], power

    def accumulate(self, update, weight):
        self.updates.append(update)

    def result(self):
        length = np.median([np.linalg.norm(update) for update in self.updates])
        mean = np.mean(self.updates, axis=0)
        return mean * (length / max(np.linalg.norm(mean), 1e-12)) ** self.power


class Signs:
    """signSGD: every parameter moves by the learning rate."""

    def step(self, parameters, gradient, learning_rate):
        parameters.sub_(gradient.sign(), alpha=learning_rate)


class Newest(Stateless):
    """The k clients that store most, and ties at random."""

    def __init__(self, share=1.0):
        self.share = share

    def select(self, round, roster, k, rng):
        there = roster.selectable
        order = np.lexsort((rng.random(len(there)), -roster.utterances[there]))
        chosen = there[order[: max(1, round_half(self.share * k))]]
        return Selection(chosen, np.full(len(chosen), np.nan))


def round_half(value):
    """Return a number rounded to the next whole one."""
    return int(value + 0.5)
