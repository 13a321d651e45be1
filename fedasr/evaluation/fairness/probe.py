"""What in the features of an utterance tells its group: a small classifier, trained for its gradient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fedasr import seeds
from fedasr.data.batches import Batch
from fedasr.data.speech import Speech
from fedasr.typing import Floats

CHANNELS, CONTEXT = 32, 5
PASSES, BATCH, RATE = 12, 32, 0.005
MOST_UTTERANCES = 600


class Probe(nn.Module):
    """One convolution over five frames, the mean over time, and a linear layer: groups from log-mel features."""

    def __init__(self, mel_bins: int, groups: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(mel_bins, CHANNELS, CONTEXT, padding=CONTEXT // 2)
        self.linear = nn.Linear(CHANNELS, groups)

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return the logits of the groups ``(batch, groups)``; features ``(batch, time, mel)``, lengths in frames."""
        there = torch.arange(features.shape[1], device=features.device) < lengths[:, None]
        silent = features.masked_fill(~there[..., None], 0.0)
        heard = self.convolution(silent.transpose(1, 2)).relu() * there[:, None]
        logits: torch.Tensor = self.linear(heard.sum(2) / lengths[:, None])
        return logits

    def weights(self, batch: Batch, groups: torch.Tensor) -> torch.Tensor:
        """Return how much each input tells of the group: v ≥ 0, ``(batch, time, mel)``, on average 1 a frame.

        The magnitude of the gradient of the log-odds of the utterance's group, scaled to sum to its frames.
        """
        features = batch.features.clone().requires_grad_()
        logits = self(features, batch.feature_lengths)
        own = torch.nn.functional.one_hot(groups, logits.shape[1]).bool()
        others = logits.masked_fill(own, -torch.inf).logsumexp(1)
        (gradient,) = torch.autograd.grad((logits[own] - others).sum(), features)
        size = gradient.abs()
        total = size.sum((1, 2), keepdim=True).clamp(min=torch.finfo(size.dtype).tiny)
        return size * (batch.feature_lengths[:, None, None] / total)


def train_probe(
    speech: Speech, rows: npt.NDArray[np.integer], labels: npt.NDArray[np.int64], groups: int, seed: int
) -> Probe:
    """Return a probe trained on utterances, as many of each group, at most 600 in all.

    Args:
        speech: where the utterances are.
        rows: of the corpus, shape ``(utterances,)``.
        labels: the group of each, from 0, shape ``(utterances,)``; each group has some.
        groups: how many there are.
        seed: of the draws.
    """
    rng = seeds.generator(seed, "fairness/probe")
    each = min(MOST_UTTERANCES // groups, int(np.bincount(labels, minlength=groups).min()))
    drawn = np.concatenate(
        [rng.choice(np.flatnonzero(labels == group), max(each, 1), replace=False) for group in range(groups)]
    )
    drawn = drawn[np.argsort(speech.durations[rows[drawn]], kind="stable")]
    of_row = dict(zip(rows[drawn].tolist(), labels[drawn].tolist(), strict=True))
    batches = [speech.batch(rows[drawn[start : start + BATCH]]) for start in range(0, len(drawn), BATCH)]
    batches = [batch for batch in batches if len(batch)]
    with seeds.torch_scope(seed, "fairness/probe"):
        probe = Probe(speech.config.features.mel_bins, groups)
    optimizer = torch.optim.Adam(probe.parameters(), RATE)
    for _ in range(PASSES):
        for place in rng.permutation(len(batches)).tolist():
            batch = batches[place]
            wanted = torch.tensor([of_row[row] for row in batch.indices])
            loss = nn.functional.cross_entropy(probe(batch.features, batch.feature_lengths), wanted)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return probe.eval()


def balanced_accuracy(predicted: Sequence[int], labels: Sequence[int]) -> float:
    """Return the mean over groups of the share of their utterances that is told right; by chance 1/groups."""
    right: Floats = np.asarray(predicted) == np.asarray(labels)
    return float(np.mean([right[np.asarray(labels) == group].mean() for group in sorted(set(labels))]))
