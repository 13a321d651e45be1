"""What the teachers are asked, by the unit of a vote.

``utterance``: which of the candidates was said; one query an utterance. ``token``: what comes next under a prefix that
is released already, the same for all teachers; a query a token, and the end of the sentence is one, so that how long a
label is comes out of released votes too.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fedasr.data.speech import frames_of
from fedasr.models.decoding.prefixes import END
from fedasr.models.tokenizer import Tokenizer
from strategies.pate.public import PublicSpeech
from strategies.pate.record import NO_LABEL, Ids, Record

BLOCK = 128
"""Utterances asked about at a time: what a message holds, and what is asked again after a kill."""
TOKENS_PER_SECOND = 30.0
"""More than anybody says. A label that is longer is given up: the length of the speech is public, so is the bound."""


@dataclass(frozen=True)
class Questions:
    """One message to every teacher."""

    utterances: Ids
    """which public utterances, shape ``(questions,)``"""
    tokens: npt.NDArray[np.int64]
    """token sequences one after the other: of the candidates, or of each utterance's prefix"""
    lengths: npt.NDArray[np.int64]
    """tokens of each sequence"""

    def __len__(self) -> int:
        """Return the number of questions."""
        return len(self.utterances)


class Unit(Protocol):
    """What a vote is about."""

    classes: int
    """how many answers there are"""

    def following(self, record: Record) -> Questions | None:
        """Return what to ask next; None: everything was asked."""
        ...

    def transcripts(self, record: Record) -> dict[int, str]:
        """Return the labels of the utterances that have one, as texts."""
        ...

    def right(self, record: Record) -> list[bool | None]:
        """Say of each query whether its label is right; None where there is none, or no right one."""
        ...


class UtteranceVotes:
    """One vote an utterance, among candidates.

    Args:
        public: the speech and the candidates.
        tokenizer: of the models.
    """

    def __init__(self, public: PublicSpeech, tokenizer: Tokenizer) -> None:
        self.public = public
        self.texts = public.candidates
        self.classes = len(self.texts)
        sequences = [tokenizer.encode(text) for text in self.texts]
        self.tokens, self.lengths = joined(sequences)

    def following(self, record: Record) -> Questions | None:
        """Return the next block of utterances."""
        utterances = np.arange(len(record), min(len(record) + BLOCK, len(self.public)))
        return Questions(utterances, self.tokens, self.lengths) if len(utterances) else None

    def transcripts(self, record: Record) -> dict[int, str]:
        """Return the winners."""
        pairs = zip(record.utterances, record.labels, strict=True)
        return {utterance: self.texts[label] for utterance, label in pairs if label != NO_LABEL}

    def right(self, record: Record) -> list[bool | None]:
        """Compare the winners with what was said."""
        pairs = zip(record.utterances, record.labels, strict=True)
        truth = self.public.truth
        return [None if label == NO_LABEL else self.texts[label] == truth[utterance] for utterance, label in pairs]


class TokenVotes:
    """One vote a token; the utterances of a block advance together.

    An utterance ends with the end token. Where a check finds no consensus, or the label grows longer than anything
    that is said in that time, it is given up and has no label.

    Args:
        public: the speech.
        tokenizer: of the models.
    """

    def __init__(self, public: PublicSpeech, tokenizer: Tokenizer) -> None:
        self.public = public
        self.tokenizer = tokenizer
        self.classes = tokenizer.size
        hop_s = public.config.features.hop_ms / 1000
        seconds = frames_of(public.speech.durations, public.config.features.hop_ms) * hop_s
        self.longest = [ceil(TOKENS_PER_SECOND * s) for s in seconds.tolist()]
        self.references = [tokenizer.encode(text) for text in public.truth]

    def following(self, record: Record) -> Questions | None:
        """Return the prefixes of a block that are to be continued, or the beginning of the next block."""
        prefixes = record.tokens()
        for first in range(0, len(self.public), BLOCK):
            block = range(first, min(first + BLOCK, len(self.public)))
            going = [u for u in block if not self.ended(u, prefixes.get(u, []))]
            if going:
                return Questions(np.array(going), *joined([prefixes.get(u, []) for u in going]))
        return None

    def ended(self, utterance: int, labels: list[int]) -> bool:
        """Say whether nothing more is asked about an utterance."""
        if len(labels) >= self.longest[utterance]:
            return True
        return bool(labels) and labels[-1] in (END, NO_LABEL)

    def transcripts(self, record: Record) -> dict[int, str]:
        """Return the labels that have come to their end, less the empty ones."""
        found = {u: labels[:-1] for u, labels in record.tokens().items() if labels[-1] == END and len(labels) > 1}
        return {utterance: self.tokenizer.decode(tokens) for utterance, tokens in found.items()}

    def right(self, record: Record) -> list[bool | None]:
        """Compare each token with what was said, as long as the prefix is right."""
        places: dict[int, int] = {}
        lost: set[int] = set()
        found: list[bool | None] = []
        for utterance, label in zip(record.utterances, record.labels, strict=True):
            place = places.get(utterance, 0)
            places[utterance] = place + 1
            expected = [*self.references[utterance], END]
            if utterance in lost or label == NO_LABEL:
                found.append(None)
                continue
            found.append(label == expected[place])
            if label != expected[place]:
                lost.add(utterance)
        return found


def joined(sequences: list[list[int]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return token sequences one after the other, and their lengths."""
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    return np.array([token for sequence in sequences for token in sequence], np.int64), lengths


def make_unit(name: str, public: PublicSpeech, tokenizer: Tokenizer) -> Unit:
    """Return the unit of ``pate.unit``."""
    return TokenVotes(public, tokenizer) if name == "token" else UtteranceVotes(public, tokenizer)
