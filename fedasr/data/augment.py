"""Augmentation of training speech: functions of a waveform or of features, and of a generator, and of nothing else."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fedasr.config.schema import AugmentConfig
from fedasr.data.corpus import SAMPLE_RATE_HZ, Waveform

HIGHEST_SNR_DB = 40.0

Features = npt.NDArray[np.float32]


def is_active(config: AugmentConfig) -> bool:
    """Say whether the config changes anything."""
    waveform = config.time_shift_ms or config.speed or config.gain_db or config.noise_snr_db is not None
    return bool(waveform or config.frequency_masks or config.time_masks)


def augment_waveform(waveform: Waveform, config: AugmentConfig, rng: np.random.Generator) -> Waveform:
    """Return a changed copy of a waveform: speed, shift, noise and gain, each where the config asks for it.

    Args:
        waveform: shape ``(samples,)``, 16,000 Hz, within ±1.
        config: how far each change may go.
        rng: every draw is from it.

    Returns:
        float32, within ±1; the length changes with ``speed`` only.
    """
    augmented = waveform
    if config.speed:
        augmented = change_speed(augmented, rng.uniform(1 - config.speed, 1 + config.speed))
    if config.time_shift_ms:
        most = round(config.time_shift_ms * SAMPLE_RATE_HZ / 1000)
        augmented = shift(augmented, int(rng.integers(-most, most, endpoint=True)))
    if config.noise_snr_db is not None:
        snr_db = rng.uniform(config.noise_snr_db, max(config.noise_snr_db, HIGHEST_SNR_DB))
        augmented = add_noise(augmented, snr_db, rng.uniform(0, 2), rng)
    if config.gain_db:
        augmented = augmented * np.float32(10 ** (rng.uniform(-config.gain_db, config.gain_db) / 20))
    return np.clip(augmented, -1, 1).astype(np.float32, copy=False)


def change_speed(waveform: Waveform, factor: float) -> Waveform:
    """Return the waveform played ``factor`` times as fast, shape ``(samples / factor,)``.

    Tempo and pitch both change (Ko et al. 2015, "Audio augmentation"); samples are interpolated linearly.
    """
    length = max(1, round(len(waveform) / factor))
    at = np.minimum(np.arange(length, dtype=np.float64) * factor, len(waveform) - 1)
    before = at.astype(np.int64)
    after = np.minimum(before + 1, len(waveform) - 1)
    share = (at - before).astype(np.float32)
    resampled: Waveform = waveform[before] * (1 - share) + waveform[after] * share
    return resampled


def shift(waveform: Waveform, samples: int) -> Waveform:
    """Return the waveform ``samples`` later (earlier where negative), zeros in the gap, same shape."""
    shifted = np.zeros_like(waveform)
    if samples >= 0:
        shifted[samples:] = waveform[: max(0, len(waveform) - samples)]
    else:
        shifted[:samples] = waveform[-samples:]
    return shifted


def add_noise(waveform: Waveform, snr_db: float, slope: float, rng: np.random.Generator) -> Waveform:
    """Return the waveform with Gaussian noise whose power falls as ``1 / frequency**slope`` (0 white, 1 pink, 2 brown).

    The ratio of the powers of waveform and noise is ``snr_db``; silence stays silence.
    """
    power = float(np.mean(np.square(waveform, dtype=np.float64)))
    if power == 0:
        return waveform
    # A transform of an arbitrary length can be ten times as slow as the next power of two's.
    length = max(4, 1 << (len(waveform) - 1).bit_length())
    spectrum = np.fft.rfft(rng.standard_normal(length, dtype=np.float32))
    spectrum[0] = 0
    spectrum[1:] *= np.exp(np.float32(-slope / 2) * _log_frequencies(length // 2))
    noise = np.fft.irfft(spectrum, n=length)[: len(waveform)].astype(np.float32, copy=False)
    loudness = float(np.mean(np.square(noise, dtype=np.float64)))
    scale = np.sqrt(power / 10 ** (snr_db / 10) / loudness)
    return waveform + noise * np.float32(scale)


def spec_augment(features: Features, config: AugmentConfig, rng: np.random.Generator) -> Features:
    """Return a copy of features ``(frames, mel)`` with random bands and stretches of time set to 0, their mean.

    SpecAugment without time warping (Park et al. 2019): each mask has a width drawn uniformly from 0 to the widest.
    """
    masked = features.copy()
    frames, mel = masked.shape
    for _ in range(config.frequency_masks):
        width = int(rng.integers(0, min(config.frequency_mask_bins, mel), endpoint=True))
        start = int(rng.integers(0, mel - width, endpoint=True))
        masked[:, start : start + width] = 0
    for _ in range(config.time_masks):
        width = int(rng.integers(0, int(config.time_mask_share * frames), endpoint=True))
        start = int(rng.integers(0, frames - width, endpoint=True))
        masked[start : start + width] = 0
    return masked


@lru_cache(maxsize=8)
def _log_frequencies(count: int) -> Features:
    """Return the logarithms of 1 to ``count``."""
    return np.log(np.arange(1, count + 1, dtype=np.float32))
