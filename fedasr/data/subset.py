"""Some rows of a corpus, as a corpus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.data.corpus import Column, Corpus, Waveform


class Subset:
    """The utterances ``rows`` of a corpus, in that order; a column is picked when it is first asked for.

    The optional methods ``features``, ``bad_audio`` and ``wrong_durations`` are there where the corpus has them.
    """

    columns: Mapping[str, Column]

    def __init__(self, corpus: Corpus, rows: npt.NDArray[np.int64]) -> None:
        self.corpus = corpus
        self.rows = rows
        self.columns = _Picked(corpus.columns, rows)
        features = getattr(corpus, "features", None)
        if features is not None:
            self.features = partial(_features, features, rows)
        bad_audio = getattr(corpus, "bad_audio", None)
        if bad_audio is not None:
            self.bad_audio = partial(_bad_audio, bad_audio, rows)
        wrong_durations = getattr(corpus, "wrong_durations", None)
        if wrong_durations is not None:
            self.wrong_durations = partial(_wrong_durations, wrong_durations, rows)

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self.rows)

    def waveform(self, index: int) -> Waveform:
        """Return utterance ``index``, shape ``(samples,)``."""
        return self.corpus.waveform(int(self.rows[index]))

    def content_key(self, index: int) -> bytes:
        """Return bytes that change whenever the waveform would."""
        return self.corpus.content_key(int(self.rows[index]))

    def where(self, index: int) -> str:
        """Return where utterance ``index`` comes from."""
        return self.corpus.where(int(self.rows[index]))


class _Picked(Mapping[str, Column]):
    """Columns of which only some rows are kept."""

    def __init__(self, columns: Mapping[str, Column], rows: npt.NDArray[np.int64]) -> None:
        self._columns = columns
        self._rows = rows
        self._made: dict[str, Column] = {}

    def __getitem__(self, name: str) -> Column:
        column = self._made.get(name)
        if column is None:
            column = self._made[name] = self._columns[name][self._rows]
        return column

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


def _features(own: Any, rows: npt.NDArray[np.int64], index: int) -> npt.NDArray[np.float32]:
    features: npt.NDArray[np.float32] = own(int(rows[index]))
    return features


def _bad_audio(own: Any, rows: npt.NDArray[np.int64], wanted: Iterable[int]) -> list[tuple[int, str]]:
    back = {int(rows[index]): int(index) for index in wanted}
    return [(back[row], reason) for row, reason in own(back)]


def _wrong_durations(own: Any, rows: npt.NDArray[np.int64], wanted: Iterable[int]) -> list[int]:
    back = {int(rows[index]): int(index) for index in wanted}
    return [back[row] for row in own(back)]
