"""Windows of a first convolution, warped similarity and equal error rates, in cases known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fedasr.privacy.audit.linking import area_under_curve, cosines, equal_error_rate, rate_interval, rate_of
from fedasr.privacy.audit.similarity import aligned, correlation, warped_correlation, without_loudness
from fedasr.privacy.audit.windows import likeliest_sequence, outside, penalty, window_count


def gradient_of(frames: np.ndarray, stride: int, channels: int, rng: np.random.Generator) -> np.ndarray:
    """Return Σ_t δ_t ⊗ window_t of random δ, as the first convolution has it."""
    padded = np.pad(frames, ((1, 1), (0, 0)))
    starts = range(0, len(frames), stride)
    windows = np.array([padded[start : start + 3].ravel() for start in starts])
    return rng.standard_normal((channels, len(windows))) @ windows


@pytest.mark.parametrize(("frames", "stride"), [(9, 2), (13, 2), (12, 1)])
def test_frames_follow_from_the_gradient_of_the_first_convolution(frames: int, stride: int) -> None:
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((frames, 12))
    gradient = gradient_of(truth, stride, 16, rng)
    count = window_count(frames, stride)
    result = likeliest_sequence(gradient, frames, stride, windows=count, centred=False, rng=rng)
    assert abs(correlation(result, truth)) > 0.999999


def test_an_even_number_of_frames_needs_to_be_known_as_centred() -> None:
    # At stride 2 its last frame is followed by no silence that a window reads: the sequence could be a later one.
    rng = np.random.default_rng(1)
    truth = rng.standard_normal((10, 12))
    truth -= truth.mean(axis=0)
    gradient = gradient_of(truth, 2, 16, rng)
    blind, told = (
        likeliest_sequence(gradient, 10, 2, windows=5, centred=centred, rng=rng) for centred in (False, True)
    )
    assert abs(correlation(blind, truth)) < 0.99
    assert abs(correlation(told, truth)) > 0.999999


def test_more_windows_than_features_leave_the_frames_open() -> None:
    rng = np.random.default_rng(2)
    truth = rng.standard_normal((31, 12))
    gradient = gradient_of(truth, 2, 64, rng)
    result = likeliest_sequence(gradient, 31, 2, windows=16, centred=False, rng=rng)
    assert abs(correlation(result, truth)) < 0.5


def test_the_penalty_is_zero_on_the_windows_and_counts_noise() -> None:
    rng = np.random.default_rng(3)
    truth = rng.standard_normal((7, 10))
    gradient = gradient_of(truth, 2, 16, rng)
    form = outside(gradient, 4)
    assert truth.ravel() @ penalty(form, 7, 2, False) @ truth.ravel() == pytest.approx(0, abs=1e-9)
    drowned = outside(1e-6 * gradient + rng.standard_normal(gradient.shape), 4)
    assert np.trace(drowned) > np.trace(form)


def test_correlation_is_of_what_both_have() -> None:
    a = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert correlation(a, np.vstack([2 * a + 1, [[9.0, 9.0]]])) == pytest.approx(1)
    assert correlation(a, -a) == pytest.approx(-1)
    assert correlation(a, np.ones((2, 2))) == 0


def test_loudness_is_taken_off_each_frame() -> None:
    assert without_loudness(np.array([[1.0, 3.0], [5.0, 5.0]])).tolist() == [[-1.0, 1.0], [0.0, 0.0]]


def test_time_is_warped() -> None:
    a = np.array([[0.0], [1.0], [2.0]])
    slow = np.array([[0.0], [0.0], [1.0], [2.0], [2.0]])
    here, there = aligned(a, slow)
    assert here.tolist() == [0, 0, 1, 2, 2]
    assert there.tolist() == [0, 1, 2, 3, 4]
    assert warped_correlation(a, slow) == pytest.approx(1)


def test_equal_error_rates_by_hand() -> None:
    assert equal_error_rate(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 0
    assert equal_error_rate(np.array([0.0, 1.0]), np.array([2.0, 3.0])) == 1
    # At a threshold of 2 one of four genuine pairs is refused and one of four impostors accepted.
    assert equal_error_rate(np.array([1.0, 2.0, 3.0, 4.0]), np.array([-1.0, 0.0, 1.5, 2.5])) == 0.25
    assert equal_error_rate(np.ones(5), np.ones(7)) == 0.5


def test_cosines_are_of_what_differs_from_the_mean() -> None:
    rows = np.array([[1.0, 5.0], [-1.0, 5.0]])
    assert cosines(rows, rows).round(12).tolist() == [[1, -1], [-1, 1]]


def test_the_interval_of_an_equal_error_rate_holds_it_and_narrows() -> None:
    rng = np.random.default_rng(4)

    def scores(owners: int) -> np.ndarray:
        return rng.standard_normal((owners, owners)) + 2 * np.eye(owners)

    few, many = scores(15), scores(150)
    low, high = rate_interval(many, rng, draws=100)
    assert low <= rate_of(many) <= high
    wide = rate_interval(few, rng, draws=100)
    assert wide[1] - wide[0] > high - low


def test_the_area_under_the_curve_counts_ties_half() -> None:
    assert area_under_curve(np.array([1.0, 2.0]), np.array([1.0, 0.0])) == 0.875
