"""Word and character error rates by jiwer, as counts that add up over batches, groups and workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
import numpy.typing as npt

from fedasr.models.tokenizer import canonical

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ErrorCounts:
    """Errors (substitutions, deletions and insertions) and what they are counted against.

    Rates are fractions of the corpus, not means over utterances, and exceed 1 where insertions abound.
    """

    utterances: int = 0
    words: int = 0
    word_errors: int = 0
    characters: int = 0
    character_errors: int = 0

    def __add__(self, other: ErrorCounts) -> ErrorCounts:
        return ErrorCounts(
            self.utterances + other.utterances,
            self.words + other.words,
            self.word_errors + other.word_errors,
            self.characters + other.characters,
            self.character_errors + other.character_errors,
        )

    @property
    def wer(self) -> float:
        """Return the word error rate, a fraction; NaN where the references have no words."""
        return self.word_errors / self.words if self.words else nan

    @property
    def cer(self) -> float:
        """Return the character error rate, spaces between words counted; NaN where the references have none."""
        return self.character_errors / self.characters if self.characters else nan


def error_counts(references: Sequence[str], hypotheses: Sequence[str]) -> ErrorCounts:
    """Return the errors of hypotheses against references, pair by pair.

    Texts are compared in Unicode form NFC with white space collapsed, and otherwise as they are: where a tokenizer
    lower-cases, pass its ``normalise`` of the references. An empty reference counts all its hypothesis as insertions.

    Raises:
        ValueError: not as many hypotheses as references.
    """
    if len(references) != len(hypotheses):
        raise ValueError(f"{len(references)} references but {len(hypotheses)} hypotheses; expected as many")
    pairs = [(canonical(r), canonical(h)) for r, h in zip(references, hypotheses, strict=True)]
    # jiwer before 4 refuses empty references, and what they cost needs no alignment.
    inserted = [hypothesis for reference, hypothesis in pairs if not reference]
    counts = ErrorCounts(
        utterances=len(inserted),
        word_errors=sum(len(hypothesis.split()) for hypothesis in inserted),
        character_errors=sum(len(hypothesis) for hypothesis in inserted),
    )
    spoken = [(reference, hypothesis) for reference, hypothesis in pairs if reference]
    if not spoken:
        return counts
    import jiwer

    texts, guesses = [list(column) for column in zip(*spoken, strict=True)]
    words = jiwer.process_words(texts, guesses)
    characters = jiwer.process_characters(texts, guesses)
    return counts + ErrorCounts(
        utterances=len(spoken),
        words=words.hits + words.substitutions + words.deletions,
        word_errors=words.substitutions + words.deletions + words.insertions,
        characters=characters.hits + characters.substitutions + characters.deletions,
        character_errors=characters.substitutions + characters.deletions + characters.insertions,
    )


def utterance_errors(references: Sequence[str], hypotheses: Sequence[str]) -> tuple[Counts, Counts]:
    """Return the words and the word errors of each utterance, each of shape ``(utterances,)``; as ``error_counts``."""
    pairs = [(canonical(r), canonical(h)) for r, h in zip(references, hypotheses, strict=True)]
    words = np.array([len(reference.split()) for reference, _ in pairs], np.int64)
    errors = np.array([len(hypothesis.split()) for _, hypothesis in pairs], np.int64)  # those of empty references
    spoken = np.flatnonzero(words)
    if len(spoken):
        import jiwer

        aligned = jiwer.process_words([pairs[i][0] for i in spoken], [pairs[i][1] for i in spoken]).alignments
        errors[spoken] = [
            sum(
                max(c.ref_end_idx - c.ref_start_idx, c.hyp_end_idx - c.hyp_start_idx)
                for c in chunks
                if c.type != "equal"
            )
            for chunks in aligned
        ]
    return words, errors


def by_group(references: Sequence[str], hypotheses: Sequence[str], groups: Sequence[object]) -> dict[str, ErrorCounts]:
    """Return the errors of each group, sorted by the group's name; arguments as in ``error_counts``.

    Args:
        references: what was said.
        hypotheses: what was recognised.
        groups: the group of each utterance, such as its accent.

    Raises:
        ValueError: the three are not of one length.
    """
    if not len(references) == len(hypotheses) == len(groups):
        raise ValueError(
            f"{len(references)} references, {len(hypotheses)} hypotheses, {len(groups)} groups; expected equal numbers"
        )
    rows: dict[str, tuple[list[str], list[str]]] = {}
    for reference, hypothesis, group in zip(references, hypotheses, groups, strict=True):
        texts, guesses = rows.setdefault(str(group), ([], []))
        texts.append(reference)
        guesses.append(hypothesis)
    return {name: error_counts(*rows[name]) for name in sorted(rows)}
