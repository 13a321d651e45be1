"""Greedy decoding: the best token of each frame."""

from __future__ import annotations

import torch

from fedasr.models.padding import padding_mask
from fedasr.models.tokenizer import BLANK


def greedy(log_probabilities: torch.Tensor, lengths: torch.Tensor) -> list[list[int]]:
    """Return the tokens of the likeliest alignment of each utterance: repeats collapsed, blanks dropped.

    Args:
        log_probabilities: ``(batch, time, tokens)``, in nats.
        lengths: frames of each utterance, int64 ``(batch,)``.
    """
    best = log_probabilities.argmax(dim=2)
    mask = padding_mask(lengths, best.shape[1])
    if mask is not None:
        best = best.masked_fill(mask, BLANK)
    kept = best != BLANK
    kept[:, 1:] &= best[:, 1:] != best[:, :-1]
    best, kept = best.cpu(), kept.cpu()
    return [tokens[keep].tolist() for tokens, keep in zip(best, kept, strict=True)]
