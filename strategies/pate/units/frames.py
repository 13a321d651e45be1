"""Unit ``frame``: which token, or the blank, each output frame of CTC has."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import torch

from fedasr.models.tokenizer import BLANK, Tokenizer

from ..public import PublicSpeech
from ..record import NO_LABEL, Record
from .base import Questions, block


class FrameVotes:
    """One vote an output frame of CTC. An utterance with a frame without consensus is given up.

    Teachers that were trained apart say the same token some frames earlier or later, and most frames are blank: cheap
    consensus that teaches little. It is here to be compared with.

    Args:
        public: the speech.
        tokenizer: of the models.
    """

    def __init__(self, public: PublicSpeech, tokenizer: Tokenizer) -> None:
        self.public = public
        self.tokenizer = tokenizer
        self.classes = tokenizer.size
        self.model = public.run.model()
        self.known: dict[int, int] = {}

    def frames(self, utterance: int) -> int:
        """Return how many output frames an utterance has."""
        if utterance not in self.known:
            features = torch.tensor([len(self.public.speech.features(utterance))])
            self.known[utterance] = int(self.model.output_frames(features))
        return self.known[utterance]

    def following(self, record: Record) -> Questions | None:
        """Return the frames of the next block of utterances."""
        first = max(record.utterances, default=-1) + 1
        utterances = block(first, len(self.public))
        none = np.zeros(0, np.int64)
        if not utterances:
            return None
        return Questions(np.array(utterances), none, none, np.array([self.frames(u) for u in utterances]))

    def goes_on(self, record: Record, utterance: int) -> bool:
        """Say whether every frame so far has a label."""
        return not record.utterances or record.utterances[-1] != utterance or record.labels[-1] != NO_LABEL

    def transcripts(self, record: Record) -> dict[int, str]:
        """Return the labels of the frames, equal neighbours as one and blanks left out, where that is not empty."""
        texts = {}
        for utterance, labels in record.tokens().items():
            if len(labels) == self.frames(utterance) and NO_LABEL not in labels:
                tokens = [label for label, _ in groupby(labels) if label != BLANK]
                if tokens:
                    texts[utterance] = self.tokenizer.decode(tokens)
        return texts

    def right(self, record: Record) -> list[bool | None]:
        """Nobody knows which token a frame has."""
        return [None] * len(record)
