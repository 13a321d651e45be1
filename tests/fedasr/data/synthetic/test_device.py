from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.data.synthetic.device import NOISES, Device, apply
from tests.tiers import examples

CLEAN = Device(0.0, 200.0, "white", 0.0, 8000.0, 0.0, -40.0)


def tone(hertz: float, samples: int = 8000) -> np.ndarray:
    return (0.1 * np.sin(2 * np.pi * hertz * np.arange(samples) / 16_000)).astype(np.float32)


def rms(signal: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(signal, dtype=np.float64))))


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_a_perfect_device_changes_nothing() -> None:
    np.testing.assert_allclose(apply(tone(440), CLEAN, rng()), tone(440), atol=1e-4)


def test_gain_is_in_decibels() -> None:
    louder = apply(tone(440), replace(CLEAN, gain_db=6.0206), rng())
    np.testing.assert_allclose(louder, 2 * tone(440), atol=2e-4)


def test_a_high_gain_limits_at_one() -> None:
    heard = apply(tone(440), replace(CLEAN, gain_db=40.0), rng())
    assert np.abs(heard).max() == pytest.approx(1.0)


@pytest.mark.parametrize("noise", NOISES)
def test_noise_has_the_asked_ratio(noise: str) -> None:
    device = replace(CLEAN, snr_db=10.0, noise=noise)
    added = apply(tone(440), device, rng()) - apply(tone(440), CLEAN, rng())
    assert 20 * np.log10(rms(tone(440)) / rms(added)) == pytest.approx(10.0, abs=0.1)


def test_colours_differ_in_their_spectrum() -> None:
    def low_share(noise: str) -> float:
        power = np.abs(np.fft.rfft(apply(tone(440), replace(CLEAN, snr_db=-20.0, noise=noise), rng()))) ** 2
        return float(power[: len(power) // 8].sum() / power.sum())

    white, pink, brown = (low_share(noise) for noise in ("white", "pink", "brown"))
    assert white < 0.2 < pink < brown


def test_the_band_passes_the_middle_only() -> None:
    telephone = replace(CLEAN, low_hz=300.0, high_hz=3400.0)
    assert rms(apply(tone(1000), telephone, rng())) == pytest.approx(rms(tone(1000)), rel=0.02)
    assert rms(apply(tone(100), telephone, rng())) < 0.05 * rms(tone(100))
    assert rms(apply(tone(5000), telephone, rng())) < 0.05 * rms(tone(5000))


def test_a_room_adds_a_tail_of_the_asked_energy() -> None:
    click = np.zeros(8000, np.float32)
    click[100] = 0.5
    heard = apply(click, replace(CLEAN, reverb_s=0.2, reverb_db=-6.0), rng())
    assert heard[100] == pytest.approx(0.5, abs=0.01)
    tail = heard[110:]
    assert 10 * np.log10(np.sum(tail**2) / 0.25) == pytest.approx(-6.0, abs=0.3)
    assert rms(tail[:400]) > 5 * rms(tail[2000:2400])


@settings(deadline=None, max_examples=examples(30))
@given(st.integers(0, 3000), st.sampled_from(NOISES), st.floats(-10, 40), st.floats(-30, 30), st.floats(0, 0.4))
def test_shape_range_and_determinism(samples: int, noise: str, snr: float, gain: float, reverb: float) -> None:
    wave = tone(500, samples)
    before = wave.copy()
    device = Device(gain, snr, noise, 100.0, 7000.0, reverb, -6.0)
    heard = apply(wave, device, rng())
    assert heard.shape == wave.shape
    assert heard.dtype == np.float32
    assert np.isfinite(heard).all()
    assert (np.abs(heard) <= 1).all()
    np.testing.assert_array_equal(wave, before)
    np.testing.assert_array_equal(apply(wave, device, rng()), heard)


def test_an_unknown_noise_is_an_error() -> None:
    with pytest.raises(ValueError, match="there is no noise 'green'"):
        apply(tone(440), replace(CLEAN, noise="green"), rng())
