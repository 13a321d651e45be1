"""Pitch and formants of a synthetic vowel, moved by known factors; and recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.signal import lfilter

from fedasr.config.schema import DataConfig
from fedasr.data.corpus import SAMPLE_RATE_HZ
from fedasr.data.sources import open_corpus
from fedasr.data.voice_shift import Shifted, analysed, log_envelope, shift_voice

PITCH_HZ, FORMANT_HZ = 150.0, 1500.0


def vowel(pitch_hz: float = PITCH_HZ, formant_hz: float = FORMANT_HZ, seconds: float = 1.0) -> np.ndarray:
    """Return pulses at a pitch through one resonance."""
    pulses = np.zeros(round(seconds * SAMPLE_RATE_HZ))
    pulses[(np.arange(int(seconds * pitch_hz)) * SAMPLE_RATE_HZ / pitch_hz).astype(int)] = 1.0
    radius, angle = np.exp(-np.pi * 200 / SAMPLE_RATE_HZ), 2 * np.pi * formant_hz / SAMPLE_RATE_HZ
    sound = lfilter([1.0], [1.0, -2 * radius * np.cos(angle), radius**2], pulses)
    return (0.3 * sound / np.abs(sound).max()).astype(np.float32)


def pitch_of(waveform: np.ndarray) -> float:
    """Return the pitch of the middle of a vowel, by the highest peak of its autocorrelation."""
    middle = waveform[4000:12000] - waveform[4000:12000].mean()
    correlation = np.correlate(middle, middle, "full")[len(middle) - 1 :]
    lags = np.arange(SAMPLE_RATE_HZ // 400, SAMPLE_RATE_HZ // 70)
    return SAMPLE_RATE_HZ / lags[correlation[lags].argmax()]


def formant_of(waveform: np.ndarray) -> float:
    """Return the peak of the mean spectral envelope."""
    envelope = log_envelope(analysed(waveform).abs().double().numpy())[:, 8:-8].mean(axis=1)
    return float(envelope.argmax() * SAMPLE_RATE_HZ / 1024)


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_the_pitch_moves_by_the_factor_and_the_formant_stays(factor: float) -> None:
    before = vowel()
    after = shift_voice(before, pitch=factor)
    assert after.shape == before.shape
    assert pitch_of(after) == pytest.approx(factor * PITCH_HZ, rel=0.01)
    assert formant_of(after) == pytest.approx(FORMANT_HZ, rel=0.08)


@pytest.mark.parametrize("factor", [0.87, 1.15])
def test_the_formant_moves_by_the_factor_and_the_pitch_stays(factor: float) -> None:
    before = vowel()
    after = shift_voice(before, formants=factor)
    assert after.shape == before.shape
    assert pitch_of(after) == pytest.approx(PITCH_HZ, rel=0.005)
    assert formant_of(after) == pytest.approx(factor * FORMANT_HZ, rel=0.05)


def test_both_by_the_same_factor_are_a_change_of_scale() -> None:
    after = shift_voice(vowel(), pitch=1.25, formants=1.25)
    assert pitch_of(after) == pytest.approx(1.25 * PITCH_HZ, rel=0.01)
    assert formant_of(after) == pytest.approx(1.25 * FORMANT_HZ, rel=0.05)


def test_loudness_and_bounds_are_kept() -> None:
    before = vowel()
    for given in ({"pitch": 0.8}, {"formants": 1.15}):
        after = shift_voice(before, **given)
        assert np.sqrt(np.mean(after**2)) == pytest.approx(np.sqrt(np.mean(before**2)), rel=1e-3)
        assert np.abs(after).max() <= 1


def test_no_shift_changes_nothing() -> None:
    before = vowel(seconds=0.2)
    assert shift_voice(before) == pytest.approx(before, abs=1e-6)


@pytest.mark.parametrize("samples", [1, 100, 1023])
def test_the_shortest_clips_keep_their_length(samples: int) -> None:
    clip = np.sin(np.arange(samples)).astype(np.float32) / 2
    for given in ({"pitch": 1.25}, {"pitch": 0.8}, {"formants": 1.15}):
        after = shift_voice(clip, **given)
        assert after.shape == clip.shape
        assert np.isfinite(after).all()
    assert not shift_voice(np.zeros(samples, np.float32), pitch=1.25).any()


def test_factors_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.5 to 2"):
        shift_voice(vowel(), pitch=3)


def test_recordings_keep_length_and_words_and_get_another_key(speech: Path) -> None:
    manifest = speech / "speechocean762_mini" / "manifest.csv"
    corpus = open_corpus(DataConfig(corpus="manifest", manifest=str(manifest)), 0)
    shifted = Shifted(corpus, pitch=1.25)
    assert shifted.columns is corpus.columns
    assert len(shifted) == len(corpus)
    for index in (0, 5):
        before, after = corpus.waveform(index), shifted.waveform(index)
        assert after.shape == before.shape
        assert after.dtype == np.float32
        assert np.abs(after - before).max() > 0.01
        assert shifted.content_key(index) != corpus.content_key(index)
    assert shifted.content_key(0) != Shifted(corpus, formants=1.25).content_key(0)
