"""Words and errors of each speaker in each group: all that a comparison of groups by speakers needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.typing import Floats


@dataclass(frozen=True)
class Cells:
    """Sums over utterances. ``words``, ``errors`` and ``utterances`` have shape ``(speakers, groups)``."""

    speakers: tuple[str, ...]
    groups: tuple[str, ...]
    words: Floats
    errors: Floats
    utterances: Floats

    @classmethod
    def of(
        cls,
        speakers: npt.NDArray[Any],
        groups: npt.NDArray[Any],
        words: npt.NDArray[np.int64],
        errors: npt.NDArray[np.int64],
    ) -> Cells:
        """Return the sums over utterances, everything sorted by name; arguments of shape ``(utterances,)``."""
        names, row = np.unique(np.asarray(speakers).astype(str), return_inverse=True)
        labels, column = np.unique(np.asarray(groups).astype(str), return_inverse=True)
        shape = (len(names), len(labels))
        place = row * len(labels) + column
        sums = [
            np.bincount(place, weights, shape[0] * shape[1]).astype(np.float64).reshape(shape)
            for weights in (words, errors, None)
        ]
        return cls(tuple(names.tolist()), tuple(labels.tolist()), *sums)

    def only(self, groups: list[int]) -> Cells:
        """Return some of the groups, and the speakers who are in them."""
        there = self.utterances[:, groups].sum(axis=1) > 0
        return Cells(
            tuple(name for name, kept in zip(self.speakers, there.tolist(), strict=True) if kept),
            tuple(self.groups[group] for group in groups),
            *(sums[there][:, groups] for sums in (self.words, self.errors, self.utterances)),
        )

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """The number of speakers of each group, shape ``(groups,)``."""
        return np.asarray((self.utterances > 0).sum(axis=0), np.int64)

    @property
    def nested(self) -> bool:
        """Whether each speaker is in one group, as with gender; with a topic or a microphone, one may be in several."""
        return bool(((self.utterances > 0).sum(axis=1) == 1).all())
