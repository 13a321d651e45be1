"""Prefix beam search for CTC (Graves & Jaitly 2014; Hannun et al. 2014), without a language model."""

from __future__ import annotations

from math import exp, inf, log1p

import numpy as np
import numpy.typing as npt
import torch

from fedasr.models.decoding.closed_vocabulary import first_best, score
from fedasr.models.decoding.greedy import greedy
from fedasr.models.tokenizer import BLANK

Prefix = tuple[int, ...]


def log_add(a: float, b: float) -> float:
    """Return log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    return a if b == -inf else a + log1p(exp(b - a))


def prefix_beam(
    log_probabilities: npt.NDArray[np.floating], beam: int, tokens_per_frame: int | None = None
) -> list[tuple[Prefix, float]]:
    """Return the likeliest token sequences of one utterance and their log-probabilities, best first.

    Exact where neither bound cuts anything off; otherwise a lower bound of each probability. Equals are ordered by
    their tokens.

    Args:
        log_probabilities: ``(time, tokens)``, in nats.
        beam: prefixes kept after each frame.
        tokens_per_frame: a frame extends prefixes by its likeliest tokens only; None: by all.
    """
    # A prefix has two log-probabilities: of its alignments that end in a blank, and of those that end in a token.
    beams: dict[Prefix, tuple[float, float]] = {(): (0.0, -inf)}
    tokens = log_probabilities.shape[1]
    kept = tokens if tokens_per_frame is None else min(tokens, tokens_per_frame)
    likeliest = np.argsort(-log_probabilities, axis=1, kind="stable")[:, :kept].tolist()
    for row, candidates in zip(log_probabilities.tolist(), likeliest, strict=True):
        blank: dict[Prefix, float] = {}
        token_last: dict[Prefix, float] = {}
        for prefix, (ends_blank, ends_token) in beams.items():
            total = log_add(ends_blank, ends_token)
            last = prefix[-1] if prefix else BLANK
            blank[prefix] = total + row[BLANK]
            if prefix:
                token_last[prefix] = log_add(token_last.get(prefix, -inf), ends_token + row[last])
            for token in candidates:
                if token == BLANK:
                    continue
                # A token follows itself only across a blank.
                before = ends_blank if token == last else total
                if before > -inf:
                    longer = (*prefix, token)
                    token_last[longer] = log_add(token_last.get(longer, -inf), before + row[token])
        merged = {p: (blank.get(p, -inf), token_last.get(p, -inf)) for p in blank.keys() | token_last.keys()}
        ranked = sorted(merged, key=lambda p: (-log_add(*merged[p]), p))
        beams = {prefix: merged[prefix] for prefix in ranked[:beam]}
    return [(prefix, log_add(*ends)) for prefix, ends in beams.items()]


def beam_search(
    log_probabilities: torch.Tensor, lengths: torch.Tensor, beam: int, tokens_per_frame: int = 16
) -> list[list[int]]:
    """Return the tokens of each utterance: the likeliest of what the beam kept and what greedy decoding found.

    The beam proposes, the exact CTC probability decides, so the result is never less likely than the greedy one.

    Args:
        log_probabilities: ``(batch, time, tokens)``, in nats.
        lengths: frames of each utterance, int64 ``(batch,)``.
        beam: prefixes kept after each frame.
        tokens_per_frame: tokens that a frame may extend prefixes by.
    """
    hypotheses = []
    first = greedy(log_probabilities, lengths)
    for rows, frames, start in zip(log_probabilities, lengths.tolist(), first, strict=True):
        rows = rows[:frames].cpu()
        candidates = [list(prefix) for prefix, _ in prefix_beam(rows.double().numpy(), beam, tokens_per_frame)]
        candidates.append(start)
        hypotheses.append(candidates[first_best(score(rows, candidates).unsqueeze(0))[0]])
    return hypotheses
