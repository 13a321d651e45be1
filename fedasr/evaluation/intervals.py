"""The interval of a word error rate over speakers, by the bootstrap."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fedasr import seeds

RESAMPLES = 1000
CHUNK = 100
"""Resamples at a time, so that the memory is that of a hundred weights a speaker."""


class Interval(NamedTuple):
    """The 95 % interval of a rate; NaN for one speaker, who says nothing about how speakers differ."""

    low: float
    high: float
    speakers: int


def speaker_interval(
    speakers: npt.NDArray[Any], words: npt.NDArray[np.int64], errors: npt.NDArray[np.int64], seed: int
) -> Interval:
    """Return the percentile bootstrap interval of the WER, whole speakers drawn with replacement.

    Utterances of one speaker err together, so that resampling utterances would give too narrow an interval (Bisani and
    Ney 2004). With a handful of speakers this one is too narrow as well.

    Args:
        speakers: of each utterance, shape ``(utterances,)``.
        words: of each reference, shape ``(utterances,)``.
        errors: in each hypothesis, shape ``(utterances,)``.
        seed: of the draws; the same seed and speech give the same interval.
    """
    names, place = np.unique(np.asarray(speakers).astype(str), return_inverse=True)
    count = len(names)
    if count < 2:
        return Interval(np.nan, np.nan, count)
    totals = np.stack([np.bincount(place, column, count) for column in (words, errors)], axis=1)
    rng = seeds.generator(seed, "evaluate/bootstrap")
    even = np.full(count, 1 / count)
    drawn = np.concatenate([rng.multinomial(count, even, CHUNK) @ totals for _ in range(RESAMPLES // CHUNK)])
    drawn = drawn[drawn[:, 0] > 0]
    if not len(drawn):
        return Interval(np.nan, np.nan, count)
    low, high = np.quantile(drawn[:, 1] / drawn[:, 0], (0.025, 0.975))
    return Interval(float(low), float(high), count)
