"""Unit ``utterance``: which of the candidates was said."""

from __future__ import annotations

import numpy as np

from fedasr.models.tokenizer import Tokenizer
from fedasr.typing import Floats

from ..public import PublicSpeech
from ..record import NO_LABEL, Record
from .base import Questions, block, joined


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
        self.tokens, self.lengths = joined([tokenizer.encode(text) for text in self.texts])

    def following(self, record: Record) -> Questions | None:
        """Return the next block of utterances."""
        utterances = np.array(block(len(record), len(self.public)), np.int64)
        return Questions(utterances, self.tokens, self.lengths) if len(utterances) else None

    def goes_on(self, record: Record, utterance: int) -> bool:
        """There is one query an utterance."""
        return True

    def likeliest(self, record: Record, answers: int) -> dict[int, tuple[list[str], Floats]]:
        """Return the likeliest answers of each utterance with their shares of what was released, negative ones as 0.

        Args:
            record: of a soft mechanism, whose counts are what was released.
            answers: how many an utterance at most.
        """
        ranked = {}
        for utterance, counts in zip(record.utterances, record.counts, strict=True):
            best = np.argsort(-counts, kind="stable")[:answers]
            best = best[(counts[best] > 0) | (np.arange(len(best)) == 0)]
            shares = np.maximum(counts[best], 0.0)
            shares = shares / shares.sum() if shares.sum() > 0 else np.full(len(best), 1 / len(best))
            ranked[utterance] = [self.texts[place] for place in best.tolist()], shares
        return ranked

    def transcripts(self, record: Record) -> dict[int, str]:
        """Return the winners."""
        pairs = zip(record.utterances, record.labels, strict=True)
        return {utterance: self.texts[label] for utterance, label in pairs if label != NO_LABEL}

    def right(self, record: Record) -> list[bool | None]:
        """Compare the winners with what was said."""
        pairs = zip(record.utterances, record.labels, strict=True)
        truth = self.public.truth
        return [
            None if label == NO_LABEL or truth[utterance] is None else self.texts[label] == truth[utterance]
            for utterance, label in pairs
        ]
