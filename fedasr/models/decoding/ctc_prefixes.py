"""The probability of a prefix under CTC, summed over all alignments, and so what may come next.

The forward variables of prefix search (Graves et al. 2006) for whole utterances at once: each is a linear recurrence
over time, solved by a cumulative sum in the log domain instead of a loop over the frames.
"""

from __future__ import annotations

import torch

from fedasr.models.decoding.prefixes import END, Prefixes
from fedasr.models.padding import padding_mask, silence
from fedasr.models.tokenizer import BLANK

INF = float("inf")


def recurrence(inputs: torch.Tensor, decay: torch.Tensor) -> torch.Tensor:
    """Return ``y_t = d_t · (y_{t-1} + x_{t-1})`` with ``y_0 = 0``, everything in logarithms.

    Args:
        inputs: ``x_0 … x_{T-1}``, float64 ``(hypotheses, frames)``.
        decay: ``d_1 … d_T``, the same shape.

    Returns:
        ``y_0 … y_T``, ``(hypotheses, frames + 1)``.
    """
    passed = decay.cumsum(1)
    before = torch.cat([torch.zeros_like(passed[:, :1]), passed[:, :-1]], dim=1)
    later = passed + (inputs - before).logcumsumexp(1)
    return torch.cat([torch.full_like(later[:, :1], -INF), later], dim=1)


class CTCPrefixes(Prefixes):
    """Prefixes of transcripts under CTC.

    Args:
        log_probabilities: ``(batch, time, tokens)``, in nats.
        lengths: frames of each utterance, int64 ``(batch,)``.
    """

    def __init__(self, log_probabilities: torch.Tensor, lengths: torch.Tensor) -> None:
        self.frames = log_probabilities.double()
        self.lengths = lengths
        mask = padding_mask(lengths, self.frames.shape[1])
        # Nothing is said in the padding.
        self.probabilities = silence(self.frames.exp(), mask)
        self.closed = torch.zeros_like(self.frames[:, :, 0])
        if mask is not None:
            self.closed.masked_fill_(mask, -INF)
        self.utterances = torch.arange(len(lengths), device=lengths.device)
        self.last = torch.full_like(self.utterances, -1)
        # The alignments that spell the prefix in the first t frames, for t from 0: those that end in a blank, or not.
        certain = self.frames.new_zeros(len(lengths), 1)
        self.ends_blank = torch.cat([certain, self.frames[:, :, BLANK].cumsum(1)], dim=1)
        self.ends_token = torch.full_like(self.ends_blank, -INF)

    def _like(self) -> CTCPrefixes:
        other = object.__new__(CTCPrefixes)
        other.frames, other.probabilities, other.lengths = self.frames, self.probabilities, self.lengths
        other.closed = self.closed
        return other

    def weight(self) -> int:
        """Return the scalars that a step takes a hypothesis."""
        return 2 * self.frames.shape[1] * self.frames.shape[2]

    def log_posteriors(self) -> torch.Tensor:
        """Return the log-posteriors of the next token, ``(hypotheses, tokens)``; ``END`` is the end.

        A prefix that the frames have no room for can only end.
        """
        mass = self.log_mass()
        mass[:, END].masked_fill_((mass == -INF).all(1), 0.0)
        return mass.log_softmax(1)

    def whole(self) -> torch.Tensor:
        """Return the log-probability of the prefix as the whole transcript, ``(hypotheses,)``."""
        total = torch.logaddexp(self.ends_blank, self.ends_token)
        return total.gather(1, self.lengths[self.utterances].unsqueeze(1)).squeeze(1)

    def log_mass(self) -> torch.Tensor:
        """Return the probability of each longer prefix, and at ``END`` of the prefix itself as the whole transcript.

        Logarithms, ``(hypotheses, tokens)``; together they are the probability of the prefix.
        """
        total = torch.logaddexp(self.ends_blank, self.ends_token)
        before = total[:, :-1] + self.closed[self.utterances]
        # One matrix product instead of an exponential for each token of each frame.
        scale = before.amax(1, keepdim=True).nan_to_num(neginf=0.0)
        shares = (before - scale).exp().unsqueeze(1)
        mass = (shares @ self.probabilities[self.utterances]).squeeze(1).log() + scale
        inside = (self.last >= 0).nonzero().squeeze(1)
        if len(inside):
            # The last token again only across a blank.
            own, utterances = self.last[inside], self.utterances[inside]
            again = self.frames[utterances, :, own] + self.ends_blank[inside, :-1] + self.closed[utterances]
            mass[inside, own] = again.logsumexp(1)
        mass[:, END] = self.whole()
        return mass

    def extended(self, rows: torch.Tensor, tokens: torch.Tensor) -> CTCPrefixes:
        """Return the hypotheses of ``rows``, each with one more token."""
        other = self._like()
        tokens = tokens.to(self.lengths.device)
        other.utterances, other.last = self.utterances[rows], tokens
        ends_blank, ends_token = self.ends_blank[rows], self.ends_token[rows]
        again = (tokens == self.last[rows]).unsqueeze(1)
        before = torch.where(again, ends_blank, torch.logaddexp(ends_blank, ends_token))
        emitted = self.frames[other.utterances, :, tokens]
        blank = self.frames[other.utterances, :, BLANK]
        other.ends_token = recurrence(before[:, :-1], emitted)
        other.ends_blank = recurrence(other.ends_token[:, :-1], blank)
        return other

    def only(self, rows: torch.Tensor) -> CTCPrefixes:
        """Return the hypotheses of ``rows``."""
        other = self._like()
        other.utterances, other.last = self.utterances[rows], self.last[rows]
        other.ends_blank, other.ends_token = self.ends_blank[rows], self.ends_token[rows]
        return other
