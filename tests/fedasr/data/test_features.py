from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import torchaudio
from hypothesis import given
from hypothesis import strategies as st

from fedasr.config.schema import FeatureConfig
from fedasr.data.features import FLOOR, LogMel
from fedasr.data.speech import frames_of
from tests.fedasr.data.speech_files import noise


@pytest.mark.parametrize("mel_bins", [40, 80])
@pytest.mark.parametrize(("window_ms", "hop_ms"), [(25.0, 10.0), (20.0, 12.5), (32.0, 8.0)])
def test_energies_equal_torchaudio(mel_bins: int, window_ms: float, hop_ms: float) -> None:
    waveform = noise(1.234)
    config = FeatureConfig(mel_bins=mel_bins, window_ms=window_ms, hop_ms=hop_ms, normalize="none")
    result = LogMel(config)(waveform)
    mel = torchaudio.transforms.MelSpectrogram(
        16_000, n_fft=512, win_length=round(16 * window_ms), hop_length=round(16 * hop_ms), f_min=20.0, n_mels=mel_bins
    )
    expected = torch.log(mel(torch.from_numpy(waveform)).T + float(FLOOR)).numpy()
    assert result.dtype == np.float32
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, atol=2e-4)


def test_every_band_has_mean_zero_and_variance_one() -> None:
    result = LogMel(FeatureConfig())(noise(0.7))
    np.testing.assert_allclose(result.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(result.var(axis=0), 1, atol=1e-4)


def test_loudness_does_not_matter_after_normalisation() -> None:
    log_mel = LogMel(FeatureConfig())
    np.testing.assert_allclose(log_mel(noise()), log_mel(noise() / 4), atol=0.02)


def test_silence_and_a_single_frame_are_zero() -> None:
    log_mel = LogMel(FeatureConfig())
    assert not log_mel(np.zeros(16_000, np.float32)).any()
    assert not log_mel(noise(0.005)).any()


@given(st.integers(1, 4000))
def test_clips_of_any_length_have_their_frames(samples: int) -> None:
    log_mel = LogMel(FeatureConfig())
    result = log_mel(noise(samples / 16_000))
    assert result.shape == (log_mel.frames(samples), 40) == (samples // 160 + 1, 40)
    assert np.isfinite(result).all()
    assert log_mel.frames(samples) == frames_of(np.array([samples / 16_000], np.float32), 10.0)[0]


def test_a_read_only_waveform_is_taken_without_a_warning() -> None:
    waveform = noise(0.1)
    waveform.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = LogMel(FeatureConfig())(waveform)
    assert result.flags.writeable


@pytest.mark.parametrize("shape", [(0,), (2, 100)])
def test_what_is_no_waveform_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected a waveform"):
        LogMel(FeatureConfig())(np.zeros(shape, np.float32))


def test_the_key_follows_every_parameter() -> None:
    changes: list[dict[str, object]] = [
        {},
        {"mel_bins": 80},
        {"window_ms": 20.0},
        {"hop_ms": 12.5},
        {"normalize": "none"},
    ]
    keys = [LogMel(FeatureConfig(**change)).key for change in changes]  # type: ignore[arg-type]
    assert len(set(keys)) == len(keys)
    assert LogMel(FeatureConfig()).key == keys[0]
