"""Speech whose transcripts are not read, and speech with machine-made ones in their place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from fedasr.data.batches import Batch
from fedasr.data.relabelled import NoTokens
from fedasr.data.speech import Features, Speech

Draws = np.random.Generator | Callable[[int], np.random.Generator]
Kind = TypeVar("Kind", bound=Speech)


def sharing(kind: type[Kind], speech: Speech) -> Kind:
    """Return the same speech as one of another kind, with corpus and caches shared."""
    shared = kind.__new__(kind)
    shared.__dict__.update(speech.__dict__)
    return shared


class Untranscribed(Speech):
    """The same speech, of which nobody can see what is said: a batch has empty targets."""

    @classmethod
    def of(cls, speech: Speech) -> Untranscribed:
        """Return speech without its transcripts."""
        bare = sharing(cls, speech)
        bare.tokenizer, bare.tokens = NoTokens(), {}
        return bare

    def transcripts(self, rows: Sequence[int]) -> list[str]:
        """Return nothing for each utterance."""
        return [""] * len(rows)


class MachineLabelled(Speech):
    """The same speech, where some utterances have other transcripts and some none at all.

    What has none is left out of a batch, as damaged audio is.

    Attributes:
        labels: row of the corpus → its transcript.
        transcribed: whether the transcript of the corpus stands where there is no label, shape ``(utterances,)``.
        augmented: whether what has a label is augmented.
    """

    labels: Mapping[int, str]
    transcribed: npt.NDArray[np.bool_]
    augmented: bool

    @classmethod
    def of(
        cls, speech: Speech, labels: Mapping[int, str], transcribed: npt.NDArray[np.bool_], augmented: bool
    ) -> MachineLabelled:
        """Return speech with machine-made transcripts; arguments as the attributes."""
        labelled = sharing(cls, speech)
        labelled.labels, labelled.transcribed, labelled.augmented = labels, transcribed, augmented
        return labelled

    def features(self, row: int, rng: np.random.Generator | None = None) -> Features:
        """Return the features of an utterance, as ``Speech.features``."""
        return super().features(row, rng if self.augmented or row not in self.labels else None)

    def transcripts(self, rows: Sequence[int]) -> list[str]:
        """Return the label of each utterance, or else its transcript."""
        texts = self.corpus.columns["text"]
        return [self.labels[row] if row in self.labels else str(texts[row]) for row in rows]

    def batch(self, rows: Sequence[int] | npt.NDArray[np.integer], rng: Draws | None = None) -> Batch:
        """Return what is labelled of the utterances as a batch, as ``Speech.batch``."""
        return super().batch([row for row in map(int, rows) if row in self.labels or self.transcribed[row]], rng)
