"""What a message asks the teachers, and what every unit of a vote offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..record import Ids, Record

BLOCK = 128
"""Utterances asked about at a time: what a message holds, and what is asked again after a kill."""


@dataclass(frozen=True)
class Questions:
    """One message to every teacher."""

    speech: Ids
    """which public utterances are sent, shape ``(utterances,)``"""
    tokens: npt.NDArray[np.int64]
    """token sequences one after the other: of the candidates, or of each utterance's prefix; none for frames"""
    lengths: npt.NDArray[np.int64]
    """tokens of each sequence"""
    queries: Ids | None = None
    """how many there are about each utterance, shape ``(utterances,)``; None: one"""
    prefixes: bool = False
    """whether each utterance has a token sequence of its own; otherwise they are of candidates"""

    @property
    def utterances(self) -> Ids:
        """Which public utterance each query is about, shape ``(queries,)``."""
        return self.speech if self.queries is None else np.repeat(self.speech, self.queries)

    def __len__(self) -> int:
        """Return the number of queries."""
        return len(self.speech) if self.queries is None else int(self.queries.sum())

    def first(self, queries: int) -> Questions:
        """Return the utterances of which no query is beyond the first so many."""
        per_utterance = np.ones(len(self.speech), np.int64) if self.queries is None else self.queries
        count = int((per_utterance.cumsum() <= queries).sum())
        tokens, lengths = self.tokens, self.lengths
        if self.prefixes:
            tokens, lengths = tokens[: int(lengths[:count].sum())], lengths[:count]
        some = None if self.queries is None else self.queries[:count]
        return Questions(self.speech[:count], tokens, lengths, some, self.prefixes)


class Unit(Protocol):
    """What a vote is about."""

    classes: int
    """how many answers there are"""

    def following(self, record: Record) -> Questions | None:
        """Return what to ask next; None: everything was asked."""
        ...

    def goes_on(self, record: Record, utterance: int) -> bool:
        """Say whether more is asked about an utterance that was sent; False: it was given up for want of consensus."""
        ...

    def transcripts(self, record: Record) -> dict[int, str]:
        """Return the labels of the utterances that have one, as texts."""
        ...

    def right(self, record: Record) -> list[bool | None]:
        """Say of each query whether its label is right; None where there is none, or no right one."""
        ...


def block(first: int, utterances: int) -> range:
    """Return the utterances of the block that begins with ``first``, of so many in all."""
    return range(first, min(first + BLOCK, utterances))


def joined(sequences: list[list[int]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return token sequences one after the other, and their lengths."""
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    return np.array([token for sequence in sequences for token in sequence], np.int64), lengths
