"""Unit ``token``: what comes next under a prefix that is released already."""

from __future__ import annotations

from math import ceil

import numpy as np

from fedasr.data.speech import frames_of
from fedasr.models.decoding.prefixes import END
from fedasr.models.tokenizer import Tokenizer

from ..public import PublicSpeech
from ..record import NO_LABEL, Record
from . import base
from .base import Questions, block, joined

TOKENS_PER_SECOND = 30.0
"""More than anybody says. A label that is longer is given up: the length of the speech is public, so is the bound."""


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
        self.references = [None if text is None else tokenizer.encode(text) for text in public.truth]

    def following(self, record: Record) -> Questions | None:
        """Return the prefixes of a block that are to be continued, or the beginning of the next block."""
        prefixes = record.tokens()
        for first in range(0, len(self.public), base.BLOCK):
            going = [u for u in block(first, len(self.public)) if not self.ended(u, prefixes.get(u, []))]
            if going:
                return Questions(np.array(going), *joined([prefixes.get(u, []) for u in going]), prefixes=True)
        return None

    def goes_on(self, record: Record, utterance: int) -> bool:
        """There is one query an utterance and message."""
        return True

    def ended(self, utterance: int, labels: list[int]) -> bool:
        """Say whether nothing more is asked about an utterance."""
        if len(labels) >= self.longest[utterance]:
            return True
        return bool(labels) and labels[-1] in (END, NO_LABEL)

    def transcripts(self, record: Record) -> dict[int, str]:
        """Return the labels that have come to their end, less the empty ones."""
        sequences = {u: labels[:-1] for u, labels in record.tokens().items() if labels[-1] == END and len(labels) > 1}
        return {utterance: self.tokenizer.decode(tokens) for utterance, tokens in sequences.items()}

    def right(self, record: Record) -> list[bool | None]:
        """Compare each token with what was said, as long as the prefix is right."""
        places: dict[int, int] = {}
        lost: set[int] = set()
        verdicts: list[bool | None] = []
        for utterance, label in zip(record.utterances, record.labels, strict=True):
            place = places.get(utterance, 0)
            places[utterance] = place + 1
            reference = self.references[utterance]
            if reference is None or utterance in lost or label == NO_LABEL:
                verdicts.append(None)
                continue
            expected = [*reference, END]
            verdicts.append(label == expected[place])
            if label != expected[place]:
                lost.add(utterance)
        return verdicts
