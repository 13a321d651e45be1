"""Closed vocabulary: the phrase with the largest probability; CTC probabilities are sums over all alignments."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from fedasr.models.tokenizer import BLANK

CHUNK = 512
"""Phrases scored in one call; bounds the memory of the forward variables."""


def score(log_probabilities: torch.Tensor, phrases: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return the log-probability of each phrase, in nats, ``(phrases,)``; -inf where it has too few frames.

    The CTC forward probability (Graves et al. 2006): all alignments are summed; nothing is divided by the length.

    Args:
        log_probabilities: ``(time, tokens)`` of one utterance, padding cut off.
        phrases: tokens of each phrase, without blanks; may be empty.
    """
    frames = log_probabilities.shape[0]
    scores = []
    for start in range(0, len(phrases), CHUNK):
        chunk = phrases[start : start + CHUNK]
        lengths = torch.tensor([len(phrase) for phrase in chunk])
        targets = torch.zeros(len(chunk), max(1, int(lengths.max())), dtype=torch.int64)
        for row, phrase in enumerate(chunk):
            targets[row, : len(phrase)] = torch.tensor(phrase, dtype=torch.int64)
        loss = F.ctc_loss(
            log_probabilities.unsqueeze(1).expand(-1, len(chunk), -1),
            targets.to(log_probabilities.device),
            torch.full((len(chunk),), frames),
            lengths,
            blank=BLANK,
            reduction="none",
        )
        scores.append(-loss)
    return torch.cat(scores)


def scores(log_probabilities: torch.Tensor, lengths: torch.Tensor, phrases: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return the log-probability of each phrase for each utterance, in nats, ``(batch, phrases)``.

    Args:
        log_probabilities: ``(batch, time, tokens)``, in nats.
        lengths: frames of each utterance, int64 ``(batch,)``.
        phrases: tokens of each phrase; at least one.
    """
    utterances = zip(log_probabilities, lengths.tolist(), strict=True)
    return torch.stack([score(rows[:frames], phrases) for rows, frames in utterances])


def first_best(scores: torch.Tensor) -> list[int]:
    """Return the index of the largest score of each row ``(batch, phrases)``; of equals, the first.

    Where no phrase fits into the frames, that is the first phrase.
    """
    return [max(range(len(row)), key=row.__getitem__) for row in scores.tolist()]
