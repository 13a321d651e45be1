"""The likeliest transcripts that a beam meets, each with its probability, for every model family."""

from __future__ import annotations

import torch

from fedasr.models.base import Encoded, SpeechModel
from fedasr.models.decoding.prefixes import END

Hypothesis = tuple[list[int], float]
"""Tokens, and log P(tokens | speech) in nats."""


def n_best(model: SpeechModel, encoded: Encoded, beam: int, most: int) -> list[list[Hypothesis]]:
    """Return at most so many transcripts of each utterance, the likeliest first; dropout is off.

    A hypothesis is whole when the end of the sentence is drawn after it. The search stops where no open one can become
    one of the best: probabilities only fall.

    Args:
        model: any family.
        encoded: the utterances.
        beam: open hypotheses after each token.
        most: transcripts of an utterance.
    """
    with model.as_it_decodes():
        return [search(model, encoded.utterance(row), beam, most) for row in range(len(encoded))]


def search(model: SpeechModel, one: Encoded, beam: int, most: int) -> list[Hypothesis]:
    """Return the transcripts of one utterance."""
    limit = model.longest(one)[0]
    prefixes = model.prefixes(one)
    whole: list[Hypothesis] = []
    texts: list[list[int]] = [[]]
    totals = torch.zeros(1, dtype=torch.float64, device=one.frames.device)
    for place in range(limit + 1):
        scores = prefixes.log_posteriors() + totals.unsqueeze(1)
        whole += zip(texts, scores[:, END].tolist(), strict=True)
        whole = sorted(whole, key=lambda hypothesis: (-hypothesis[1], hypothesis[0]))[:most]
        scores[:, END] = -torch.inf
        following, where = scores.flatten().topk(min(beam, scores.numel()))
        open_ones = following > (whole[-1][1] if len(whole) == most else -torch.inf)
        if place == limit or not bool(open_ones.any()):
            break
        totals, where = following[open_ones], where[open_ones]
        rows, tokens = where // scores.shape[1], where % scores.shape[1]
        texts = [[*texts[row], token] for row, token in zip(rows.tolist(), tokens.tolist(), strict=True)]
        prefixes = prefixes.extended(rows, tokens)
    return [hypothesis for hypothesis in whole if hypothesis[1] > -torch.inf]
