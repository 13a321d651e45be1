"""What was said beside what was recognised, word by word."""

from __future__ import annotations

from typing import NamedTuple


class Piece(NamedTuple):
    """Neighbouring words of one kind: correct, substituted, deleted (nothing heard) or inserted (nothing said)."""

    said: tuple[str, ...]
    heard: tuple[str, ...]
    correct: bool

    @property
    def errors(self) -> int:
        """Return the word errors."""
        return 0 if self.correct else max(len(self.said), len(self.heard))


def align(reference: str, hypothesis: str) -> list[Piece]:
    """Return the alignment with the fewest errors, the one that the WER counts."""
    said, heard = reference.split(), hypothesis.split()
    if not said:  # jiwer refuses an empty reference
        return [Piece((), tuple(heard), False)] if heard else []
    import jiwer

    (chunks,) = jiwer.process_words([" ".join(said)], [" ".join(heard)]).alignments
    return [
        Piece(
            tuple(said[c.ref_start_idx : c.ref_end_idx]),
            tuple(heard[c.hyp_start_idx : c.hyp_end_idx]),
            c.type == "equal",
        )
        for c in chunks
    ]
