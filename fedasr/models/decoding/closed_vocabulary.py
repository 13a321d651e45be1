"""Closed vocabulary: the phrase with the largest probability; CTC probabilities are sums over all alignments."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from fedasr.models.decoding.best_candidates import IMPOSSIBLE
from fedasr.models.decoding.lexicon import lexicon_of
from fedasr.models.tokenizer import BLANK

CHUNK = 512
"""Phrases scored in one call; bounds the memory of the forward variables."""
SMALLEST = 1e-300
"""What a scale is at least, so that an utterance that no path fits divides by no zero."""
TRUSTED = -600.0
"""Log-probabilities below it may have lost mass that fell out of a float's range, and are computed anew."""


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
    """Return the log-probability of each phrase for each utterance, in nats, float64 ``(batch, phrases)``.

    The forward variables of all phrases run down one tree in probabilities, scaled by the largest of an utterance in
    each frame: some ten times quicker than a lattice a phrase. What falls out of the range of a float there is scored
    by ``score``.

    Args:
        log_probabilities: ``(batch, time, tokens)``, in nats.
        lengths: frames of each utterance, int64 ``(batch,)``.
        phrases: tokens of each phrase; at least one.
    """
    tree = lexicon_of(phrases)
    device = log_probabilities.device
    parents, tokens, last = (x.to(device) for x in (tree.parents, tree.tokens, tree.ends))
    differs = tree.differs.to(device)[:, None]
    ends = lengths.tolist()
    frames = max(ends, default=0)
    # Nodes first: a gather of parents then copies whole rows.
    probabilities = log_probabilities.double().exp().permute(1, 2, 0).contiguous()
    going = torch.arange(frames)[:, None] < lengths.cpu()[None, :]
    whole = going.all(dim=1).tolist()
    going = going.to(device)
    # Mass that ends in a node's own token, and in a blank after it; the root has no token.
    token_mass = torch.zeros(len(parents) + 1, len(ends), dtype=torch.float64, device=device)
    blank_mass = torch.zeros_like(token_mass)
    blank_mass[0] = 1.0
    scale = torch.zeros(len(ends), dtype=torch.float64, device=device)
    for frame in range(frames):
        now = probabilities[frame]
        spoken = token_mass.index_select(0, parents).mul_(differs).add_(blank_mass.index_select(0, parents))
        spoken.add_(token_mass[1:]).mul_(now.index_select(0, tokens))
        blanks = (blank_mass + token_mass).mul_(now[BLANK])
        largest = torch.maximum(blanks.amax(dim=0), spoken.amax(dim=0) if len(spoken) else blanks[0]).clamp_min(
            SMALLEST
        )
        spoken /= largest
        blanks /= largest
        if whole[frame]:
            token_mass[1:], blank_mass, scale = spoken, blanks, scale + largest.log()
        else:
            on = going[frame]
            token_mass[1:] = torch.where(on, spoken, token_mass[1:])
            blank_mass = torch.where(on, blanks, blank_mass)
            scale = torch.where(on, scale + largest.log(), scale)
    log_likelihoods = ((token_mass[last] + blank_mass[last]).log() + scale).T.contiguous()
    unsure = ~(log_likelihoods > TRUSTED) & (tree.frames[None, :] <= lengths.cpu()[:, None]).to(device)
    for row in unsure.any(dim=1).nonzero().flatten().tolist():
        lost = unsure[row].nonzero().flatten()
        exact = score(log_probabilities[row, : ends[row]], [phrases[place] for place in lost.tolist()])
        log_likelihoods[row, lost] = exact.double()
    return log_likelihoods


def first_best(scores: torch.Tensor) -> list[int]:
    """Return the index of the largest score of each row ``(batch, phrases)``; of equals, the first.

    Where no phrase fits into the frames, that is the first phrase.
    """
    return [max(range(len(row)), key=row.__getitem__) for row in scores.tolist()]


def likeliest(scores: torch.Tensor, bonus: torch.Tensor | None = None) -> list[int]:
    """Return the index of the largest score of each row; of equals, the first; −1 where no score is finite.

    Args:
        scores: of each phrase, ``(batch, phrases)``.
        bonus: what is added to each, ``(phrases,)``.
    """
    if bonus is not None:
        scores = scores + bonus.to(scores)
    usable = torch.isfinite(scores)
    best = first_best(torch.where(usable, scores, -torch.inf))
    return [place if usable[row, place] else IMPOSSIBLE for row, place in enumerate(best)]
