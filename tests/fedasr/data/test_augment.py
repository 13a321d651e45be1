from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedasr.config.schema import AugmentConfig
from fedasr.data.augment import add_noise, augment_waveform, change_speed, is_active, shift, spec_augment
from tests.fedasr.data.speech_files import noise

EVERYTHING = AugmentConfig(time_shift_ms=100, speed=0.1, noise_snr_db=10.0, gain_db=6, frequency_masks=2, time_masks=2)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_shift_moves_and_fills_with_zeros() -> None:
    x = np.array([1, 2, 3, 4], np.float32)
    assert shift(x, 1).tolist() == [0, 1, 2, 3]
    assert shift(x, -3).tolist() == [4, 0, 0, 0]
    assert shift(x, 0).tolist() == [1, 2, 3, 4]
    for far in (4, 9, -4, -9):
        assert shift(x, far).tolist() == [0, 0, 0, 0]


def test_speed_interpolates() -> None:
    ramp = np.arange(9, dtype=np.float32)
    assert change_speed(ramp, 2.0).tolist() == [0, 2, 4, 6]
    assert change_speed(ramp, 1.0).tolist() == ramp.tolist()
    assert change_speed(ramp, 0.5).tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5, 8, 8]


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 30.0])
@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
def test_noise_has_the_ratio_that_was_asked_for(snr_db: float, slope: float) -> None:
    x = noise(0.77)
    added = add_noise(x, snr_db, slope, rng()) - x
    assert 10 * np.log10(np.square(x).mean() / np.square(added).mean()) == pytest.approx(snr_db, abs=0.01)


def test_noise_falls_with_its_slope() -> None:
    x = noise(2)
    for slope in (0.0, 1.0, 2.0):
        power = np.square(np.abs(np.fft.rfft(add_noise(x, 0, slope, rng()) - x)))
        low, high = power[800:1200].mean(), power[8000:12000].mean()
        assert np.log(low / high) / np.log(10) == pytest.approx(slope, abs=0.15)


def test_silence_stays_silence() -> None:
    assert not add_noise(np.zeros(100, np.float32), 10, 1, rng()).any()


@given(st.integers(1, 3000), st.integers(0, 5))
def test_augmented_audio_is_a_pure_function_of_the_generator(samples: int, seed: int) -> None:
    x = noise(samples / 16_000, seed=seed)
    before = x.copy()
    result = augment_waveform(x, EVERYTHING, rng(seed))
    assert result.dtype == np.float32
    assert result.ndim == 1
    assert samples / 1.11 - 1 <= len(result) <= samples / 0.89 + 1
    assert np.abs(result).max() <= 1
    assert result.tobytes() == augment_waveform(x, EVERYTHING, rng(seed)).tobytes()
    assert x.tobytes() == before.tobytes()
    assert not np.shares_memory(result, x)


def test_other_generators_give_other_audio() -> None:
    result = {augment_waveform(noise(), EVERYTHING, rng(seed)).tobytes() for seed in range(5)}
    assert len(result) == 5


def test_gain_alone_scales() -> None:
    x = noise(0.1) / 4
    result = augment_waveform(x, AugmentConfig(gain_db=6), rng(3))
    ratio = result / x
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    assert 0.5 < ratio[0] < 2


def test_nothing_asked_for_changes_nothing() -> None:
    assert augment_waveform(noise(), AugmentConfig(), rng()).tobytes() == noise().tobytes()
    features = np.ones((10, 8), np.float32)
    assert spec_augment(features, AugmentConfig(), rng()).tobytes() == features.tobytes()


@given(st.integers(1, 60), st.integers(0, 50))
def test_masks_are_rectangles_no_wider_than_allowed(frames: int, seed: int) -> None:
    config = AugmentConfig(frequency_masks=1, frequency_mask_bins=5, time_masks=1, time_mask_share=0.2)
    features = np.ones((frames, 40), np.float32)
    result = spec_augment(features, config, rng(seed))
    assert features.all()
    bands = np.flatnonzero(~result.any(axis=0)) if result.any() else np.array([], int)
    times = np.flatnonzero(~result.any(axis=1))
    assert len(bands) <= 5
    assert len(times) <= 0.2 * frames
    expected = np.ones_like(features)
    expected[:, bands] = 0
    expected[times] = 0
    assert result.tolist() == expected.tolist()
    for masked in (bands, times):
        assert len(masked) == 0 or masked[-1] - masked[0] + 1 == len(masked)


def test_masks_reach_both_ends_and_their_full_width() -> None:
    config = AugmentConfig(frequency_masks=1, frequency_mask_bins=100, time_masks=0)
    widths = {int((spec_augment(np.ones((4, 8), np.float32), config, rng(s)) == 0).sum()) // 4 for s in range(200)}
    assert widths == set(range(9))


def test_activity_is_that_of_any_key() -> None:
    assert not is_active(AugmentConfig())
    changes: list[dict[str, float]] = [
        {"time_shift_ms": 1.0},
        {"speed": 0.1},
        {"noise_snr_db": 0.0},
        {"gain_db": 1.0},
        {"frequency_masks": 1},
        {"time_masks": 1},
    ]
    for change in changes:
        assert is_active(AugmentConfig(**change))  # type: ignore[arg-type]
