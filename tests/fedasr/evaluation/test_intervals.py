"""The interval of a WER over speakers, on cases whose bootstrap can be worked out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fedasr.evaluation.intervals import speaker_interval


def test_one_speaker_has_no_interval() -> None:
    low, high, speakers = speaker_interval(np.array(["a", "a"]), np.array([3, 4]), np.array([1, 0]), seed=0)
    assert math.isnan(low)
    assert math.isnan(high)
    assert speakers == 1


def test_speakers_of_equal_rates_have_an_interval_without_width() -> None:
    result = speaker_interval(np.array(["a", "b", "b"]), np.array([4, 4, 4]), np.array([1, 1, 1]), seed=0)
    assert result == (0.25, 0.25, 2)


def test_two_speakers_are_drawn_whole() -> None:
    # A quarter of the resamples holds one speaker twice, so that the interval reaches from one to the other.
    result = speaker_interval(np.array(["a", "b"]), np.array([10, 10]), np.array([0, 5]), seed=0)
    assert result == (0.0, 0.5, 2)


def test_utterances_of_one_speaker_count_as_one_draw() -> None:
    words = np.full(400, 5)
    errors = np.repeat([0, 1, 2, 3], 100)
    clustered = speaker_interval(np.repeat(list("abcd"), 100), words, errors, seed=0)
    independent = speaker_interval(np.arange(400), words, errors, seed=0)
    assert clustered.high - clustered.low > 5 * (independent.high - independent.low)
    assert clustered.low < 0.3 < clustered.high


def test_of_five_speakers_the_ends_reach_as_far_as_those_of_students_t() -> None:
    """Errors 0, 0, 0, 0, 5 in 10 words each: log 0.1 and ±2.776·√(5/4·20)/5, linearised."""
    errors = np.array([0, 0, 0, 0, 5])
    low, high, _ = speaker_interval(np.arange(5), np.full(5, 10), errors, seed=0)
    assert low == 0.0  # of the bootstrap, in which the fifth may be missing
    assert high == pytest.approx(0.1 * math.exp(2.7764451 * math.sqrt(5 / 4 * 20) / 5))


def test_the_same_seed_gives_the_same_interval() -> None:
    speakers, words, errors = np.arange(9), np.arange(1, 10), np.arange(9)
    assert speaker_interval(speakers, words, errors, 3) == speaker_interval(speakers, words, errors, 3)


def test_references_without_words_have_no_rate() -> None:
    result = speaker_interval(np.array(["a", "b"]), np.array([0, 0]), np.array([1, 0]), seed=0)
    assert math.isnan(result.low)
    assert result.speakers == 2
