"""Decoding of the RNN transducer (Graves 2012): frame by frame, and token by token.

Frame-synchronous greedy decoding follows one path through the lattice. The probability of a prefix sums over all paths;
its forward variables, a column of the lattice for each token, are a linear recurrence over time and are solved by a
cumulative sum in the log domain instead of a loop over the frames.
"""

from __future__ import annotations

from typing import Protocol

import torch

from fedasr.models.decoding.prefixes import END, Prefixes
from fedasr.models.padding import padding_mask
from fedasr.models.prediction import Hidden
from fedasr.models.tokenizer import BLANK

INF = float("inf")

MOST_TOKENS_A_FRAME = 8
"""Greedy decoding goes on to the next frame after so many tokens; a path that never emits a blank would not end."""


class Transducer(Protocol):
    """What decoding needs of the model."""

    def predict(self, tokens: torch.Tensor, hidden: Hidden | None) -> tuple[torch.Tensor, Hidden]:
        """Return the prediction network's part of the joint network, ``(batch, tokens, width)``, and its states."""

    def join(self, frames: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
        """Return logits; the arguments broadcast to ``(..., width)``."""


class GreedySearch:
    """Greedy decoding that may stop after any frame and go on: the tokens so far and the prediction network's state.

    Args:
        model: the transducer.
        utterances: how many run in parallel.
    """

    def __init__(self, model: Transducer, utterances: int, device: torch.device) -> None:
        self.model = model
        self.tokens: list[list[int]] = [[] for _ in range(utterances)]
        start = torch.full((utterances, 1), BLANK, dtype=torch.int64, device=device)
        self.predicted, self.hidden = model.predict(start, None)

    def feed(self, frames: torch.Tensor, lengths: torch.Tensor) -> None:
        """Decode more frames.

        Args:
            frames: the encoder's part of the joint network, ``(batch, time, width)``.
            lengths: frames of each utterance, int64 ``(batch,)``.
        """
        for frame in range(int(lengths.max()) if len(lengths) else 0):
            emitting = lengths > frame
            for _ in range(MOST_TOKENS_A_FRAME):
                best = self.model.join(frames[:, frame], self.predicted[:, 0]).argmax(dim=1)
                emitting = emitting & (best != BLANK)
                rows = emitting.nonzero().squeeze(1)
                if not len(rows):
                    break
                self._emit(rows, best[rows])

    def _emit(self, rows: torch.Tensor, tokens: torch.Tensor) -> None:
        for row, token in zip(rows.tolist(), tokens.tolist(), strict=True):
            self.tokens[row].append(token)
        predicted, hidden = self.model.predict(tokens.unsqueeze(1), only(self.hidden, rows))
        self.predicted = self.predicted.index_copy(0, rows, predicted)
        pairs = zip(self.hidden, hidden, strict=True)
        self.hidden = tuple(before.index_copy(1, rows, after) for before, after in pairs)


def only(hidden: Hidden, rows: torch.Tensor) -> Hidden:
    """Return what the prediction network keeps of some hypotheses."""
    return tuple(kept[:, rows] for kept in hidden)


class TransducerPrefixes(Prefixes):
    """Prefixes of transcripts under a transducer, summed over all alignments.

    Args:
        model: the transducer.
        frames: the encoder's part of the joint network, ``(batch, time, width)``.
        lengths: frames of each utterance, int64 ``(batch,)``.
    """

    def __init__(self, model: Transducer, frames: torch.Tensor, lengths: torch.Tensor) -> None:
        self.model, self.frames, self.lengths = model, frames, lengths
        mask = padding_mask(lengths, frames.shape[1])
        self.padding = torch.zeros(frames.shape[:2], dtype=torch.bool, device=frames.device) if mask is None else mask
        self.utterances = torch.arange(len(lengths), device=lengths.device)
        entries = torch.full(frames.shape[:2], -INF, dtype=torch.float64, device=frames.device)
        entries[:, 0] = 0.0
        self._arrive(entries, torch.full_like(self.utterances, BLANK), None)

    def _arrive(self, entries: torch.Tensor, tokens: torch.Tensor, before: Hidden | None) -> None:
        """Enter a column of the lattice: ``entries (hypotheses, time)`` is the probability of doing so at each frame.

        ``reached`` is that of standing there at each frame, ``logits (hypotheses, time, tokens)`` what happens next.
        """
        predicted, self.hidden = self.model.predict(tokens.unsqueeze(1), before)
        self.logits = self.model.join(self.frames[self.utterances], predicted)
        self.normaliser = self.logits.logsumexp(2).double()
        self.blank = self.logits[:, :, BLANK].double() - self.normaliser
        passed = self.blank.cumsum(1)
        passed = torch.cat([torch.zeros_like(passed[:, :1]), passed[:, :-1]], dim=1)
        reached = passed + (entries - passed).logcumsumexp(1)
        self.reached = reached.masked_fill(self.padding[self.utterances], -INF)

    def weight(self) -> int:
        """Return the scalars that a step takes a hypothesis."""
        tokens: int = self.logits.shape[2]
        return self.frames.shape[1] * (2 * self.frames.shape[2] + 3 * tokens)

    def whole(self) -> torch.Tensor:
        """Return the log-probability of the prefix as the whole transcript, ``(hypotheses,)``."""
        last = (self.lengths[self.utterances] - 1).unsqueeze(1)
        return (self.reached + self.blank).gather(1, last).squeeze(1)

    def log_mass(self) -> torch.Tensor:
        """Return the probability of each longer prefix, and at ``END`` of the prefix itself as the whole transcript.

        Logarithms, ``(hypotheses, tokens)``; together they are the probability of the prefix.
        """
        mass = ((self.reached - self.normaliser).unsqueeze(2) + self.logits).logsumexp(1)
        mass[:, END] = self.whole()
        return mass

    def log_posteriors(self) -> torch.Tensor:
        """Return the log-posteriors of the next token, ``(hypotheses, tokens)``; ``END`` is the end."""
        return self.log_mass().log_softmax(1)

    def _like(self) -> TransducerPrefixes:
        other = object.__new__(TransducerPrefixes)
        other.model, other.frames, other.lengths, other.padding = self.model, self.frames, self.lengths, self.padding
        return other

    def extended(self, rows: torch.Tensor, tokens: torch.Tensor) -> TransducerPrefixes:
        """Return the hypotheses of ``rows``, each with one more token."""
        other = self._like()
        tokens = tokens.to(self.lengths.device)
        other.utterances = self.utterances[rows]
        entries = self.reached[rows] - self.normaliser[rows] + self.logits[rows, :, tokens]
        other._arrive(entries, tokens, only(self.hidden, rows))
        return other

    def only(self, rows: torch.Tensor) -> TransducerPrefixes:
        """Return the hypotheses of ``rows``."""
        other = self._like()
        other.utterances = self.utterances[rows]
        other.logits, other.normaliser, other.blank = self.logits[rows], self.normaliser[rows], self.blank[rows]
        other.reached = self.reached[rows]
        other.hidden = only(self.hidden, rows)
        return other
