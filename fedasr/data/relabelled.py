"""Some utterances of a corpus with other transcripts, or none."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedasr.data.corpus import Column, Corpus
from fedasr.data.subset import Subset


class Relabelled(Subset):
    """Some utterances of a corpus with other transcripts.

    Args:
        corpus: any.
        rows: of the corpus, shape ``(utterances,)``.
        texts: their transcripts, object array ``(utterances,)``.
    """

    def __init__(self, corpus: Corpus, rows: npt.NDArray[np.int64], texts: Column) -> None:
        super().__init__(corpus, rows)
        self.columns = {**{name: self.columns[name] for name in ("speaker", "split", "duration_s")}, "text": texts}

    def relabel(self, texts: Column) -> None:
        """Give the utterances other transcripts, object array ``(utterances,)``."""
        self.columns = {**self.columns, "text": texts}


class NoTokens:
    """The tokenizer of speech whose transcripts are not read: it is never asked what it makes of an empty one."""

    def encode(self, text: str) -> list[int]:
        """Return nothing."""
        return []


def untranscribed(corpus: Corpus) -> Relabelled:
    """Return a corpus of which nobody can see what is said; its rows are numbered as before."""
    return Relabelled(corpus, np.arange(len(corpus)), np.full(len(corpus), "", object))
