"""Utterances of any corpus in other voices: which attributes there are, and each utterance in one other voice."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from fedasr.data.corpus import Column, Corpus, Waveform
from fedasr.data.subset import Subset
from fedasr.data.synthetic import SyntheticCorpus
from fedasr.data.synthetic.counterfactual import ATTRIBUTES, counterfactuals
from fedasr.data.voice_shift import Shifted
from fedasr.errors import InputError

SHIFTS: dict[str, dict[str, dict[str, float]]] = {
    "pitch": {"lower": {"pitch": 0.8}, "as it is": {}, "higher": {"pitch": 1.25}},
    "formant": {"lower": {"formants": 0.87}, "as it is": {}, "higher": {"formants": 1.15}},
    "age": {
        "older": {"pitch": 0.8, "formants": 0.87},
        "as it is": {},
        "younger": {"pitch": 1.25, "formants": 1.15},
    },
}
"""Attributes that recordings can be given: what each level multiplies. Men and women differ by more in pitch, and by
about as much in formants; so do women and children of about eight years. ``age`` is a vocal tract of another size."""

VOICES = (*SHIFTS, *ATTRIBUTES)
"""All attributes; those of ``SHIFTS`` are of any corpus with waveforms, the others of synthetic speech."""


def levels_of(corpus: Corpus, attribute: str) -> Mapping[str, Corpus]:
    """Return level → the corpus with the attribute at that level.

    Args:
        corpus: a synthetic one, but for the attributes of ``SHIFTS``.
        attribute: one of ``VOICES``.

    Raises:
        InputError: it has one level only.
    """
    if attribute in SHIFTS:
        return {level: Shifted(corpus, **factors) for level, factors in SHIFTS[attribute].items()}
    assert isinstance(corpus, SyntheticCorpus)
    return counterfactuals(corpus, attribute)


def without_subsets(corpus: Corpus, rows: npt.NDArray[np.integer]) -> tuple[Corpus, npt.NDArray[np.integer]]:
    """Return the corpus that subsets are of, and where rows are in it."""
    while isinstance(corpus, Subset):
        rows = corpus.rows[rows]
        corpus = corpus.corpus
    return corpus, rows


class OtherVoice:
    """A corpus each of whose utterances is in one other voice; its columns are those of before.

    Which of the other levels of the attribute it is follows from the utterance's own audio, so that it is the same for
    every run and every process.

    Args:
        corpus: any; a synthetic one, or a part of one, but for the attributes of ``SHIFTS``.
        attribute: one of ``VOICES``.

    Raises:
        InputError: the corpus cannot be given the attribute.
    """

    columns: Mapping[str, Column]

    def __init__(self, corpus: Corpus, attribute: str) -> None:
        if hasattr(corpus, "features"):
            raise InputError(
                f"'distillation.counterfactual' is '{attribute}', which changes waveforms, and the corpus has"
                " features of its own instead; leave it out"
            )
        self.corpus = corpus
        self.columns = corpus.columns
        self.base, self.rows = without_subsets(corpus, np.arange(len(corpus)))
        if attribute not in SHIFTS and not isinstance(self.base, SyntheticCorpus):
            *some, last = SHIFTS
            raise InputError(
                f"'distillation.counterfactual' is '{attribute}', which needs synthetic speech; choose"
                f" {', '.join(some)} or {last}, which do not"
            )
        # A shift by nothing is still a shift to its content key.
        unchanged = {level for level, factors in SHIFTS.get(attribute, {}).items() if not factors}
        self.levels = [voice for name, voice in levels_of(self.base, attribute).items() if name not in unchanged]

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self.corpus)

    def other(self, index: int) -> Corpus:
        """Return the level at which utterance ``index`` is heard; its own where all levels are."""
        row, own = int(self.rows[index]), self.corpus.content_key(index)
        others = [level for level in self.levels if level.content_key(row) != own] or self.levels
        return others[blake2b(own, digest_size=8, person=b"other voice").digest()[0] % len(others)]

    def waveform(self, index: int) -> Waveform:
        """Return utterance ``index`` in its other voice, shape ``(samples,)``."""
        return self.other(index).waveform(int(self.rows[index]))

    def content_key(self, index: int) -> bytes:
        """Return bytes that change whenever the waveform would, or that of the utterance in its own voice."""
        return self.corpus.content_key(index) + b"in" + self.other(index).content_key(int(self.rows[index]))

    def where(self, index: int) -> str:
        """Return where utterance ``index`` comes from."""
        return self.corpus.where(index)


class InTurn:
    """A corpus whose utterances are heard in their own voice and in the other one by turns.

    Args:
        other: each utterance in another voice.

    Attributes:
        turn: an utterance whose voice is its own in one turn has the other one in the next; half of them begin with
            each.
    """

    columns: Mapping[str, Column]

    def __init__(self, other: OtherVoice) -> None:
        self.other = other
        self.columns = other.columns
        self.turn = 0

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self.other)

    def heard(self, index: int) -> Corpus:
        """Return the corpus in whose voice utterance ``index`` is heard in this turn."""
        first = blake2b(self.other.corpus.content_key(index), digest_size=8, person=b"first turn").digest()[0]
        return self.other if (first + self.turn) % 2 else self.other.corpus

    def waveform(self, index: int) -> Waveform:
        """Return utterance ``index``, shape ``(samples,)``."""
        return self.heard(index).waveform(index)

    def content_key(self, index: int) -> bytes:
        """Return bytes that change whenever the waveform would."""
        return self.heard(index).content_key(index)

    def where(self, index: int) -> str:
        """Return where utterance ``index`` comes from."""
        return self.other.where(index)
