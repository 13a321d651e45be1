"""The interval of a word error rate over speakers, by the bootstrap."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fedasr import seeds

RESAMPLES = 2000
FEWEST = 5
"""Of fewer speakers Student's t says next to nothing."""
CHUNK = 100
"""Resamples at a time, so that the memory is that of a hundred weights a speaker."""


class Interval(NamedTuple):
    """The 95 % interval of a rate; NaN for one speaker, who says nothing about how speakers differ."""

    low: float
    high: float
    speakers: int


def speaker_interval(
    speakers: npt.NDArray[Any],
    words: npt.NDArray[Any],
    errors: npt.NDArray[Any],
    seed: int,
    group: str = "",
) -> Interval:
    """Return the bootstrap interval of the WER, whole speakers drawn with replacement, widened where speakers are few.

    Utterances of one speaker err together, so that resampling utterances would give too narrow an interval (Bisani and
    Ney 2004). The plain percentile interval is too narrow for few speakers as well: its levels are moved out as far as
    Student's t is wider than the normal distribution (Hesterberg 2015, doi:10.1080/00031305.2015.1089789). Where a few
    speakers have most of the errors, its upper end is still too low; so from ``FEWEST`` speakers on both ends reach at
    least as far as those of the t interval of the logarithm of the rate. How often it contains the truth is in
    ``docs/results/fairness_coverage.md``.

    Args:
        speakers: of each utterance, shape ``(utterances,)``.
        words: of each reference, shape ``(utterances,)``.
        errors: in each hypothesis, shape ``(utterances,)``.
        seed: of the draws; the same seed, group and speech give the same interval.
        group: whose utterances they are; groups are drawn apart from each other.
    """
    names, place = np.unique(np.asarray(speakers).astype(str), return_inverse=True)
    count = len(names)
    if count < 2:
        return Interval(np.nan, np.nan, count)
    totals = np.stack([np.bincount(place, column, count) for column in (words, errors)], axis=1)
    rng = seeds.generator(seed, f"evaluate/bootstrap/{group}")
    even = np.full(count, 1 / count)
    drawn = np.concatenate([rng.multinomial(count, even, CHUNK) @ totals for _ in range(RESAMPLES // CHUNK)])
    drawn = drawn[drawn[:, 0] > 0]
    if not len(drawn):
        return Interval(np.nan, np.nan, count)
    tail = expanded_tail(count)
    low, high = np.quantile(drawn[:, 1] / drawn[:, 0], (tail, 1 - tail))
    least, most = log_interval(*totals.T) if count >= FEWEST else (low, high)
    return Interval(min(float(low), least), max(float(high), most), count)


def log_interval(words: npt.NDArray[Any], errors: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the 95 % interval of errors over words by Student's t of its logarithm, linearised.

    Args:
        words: of each speaker, shape ``(speakers,)``.
        errors: of each speaker, shape ``(speakers,)``; where the sum is 0, so are both ends.
    """
    from scipy.special import stdtrit

    count, rate = len(words), float(errors.sum() / words.sum())
    if rate <= 0:
        return rate, rate
    deviation = math.sqrt(count / (count - 1) * ((errors - rate * words) ** 2).sum()) / float(errors.sum())
    reach = float(stdtrit(count - 1, 0.975)) * deviation
    return rate * math.exp(-reach), rate * math.exp(reach)


def expanded_tail(count: int) -> float:
    """Return the level of the lower end of an expanded 95 % percentile interval of ``count`` independent units."""
    from scipy.special import ndtr, stdtrit  # a run without groups does without SciPy

    return float(ndtr(-stdtrit(count - 1, 0.975) * math.sqrt(count / (count - 1))))
