"""Log-mel features."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from fedasr.config.schema import FeatureConfig
from fedasr.data.corpus import SAMPLE_RATE_HZ, Waveform

VERSION = 1
"""Part of every cache key: raise it whenever a change below changes features."""

LOWEST_HZ = 20.0
FLOOR = np.float32(1e-6)
"""Added to mel energies before the logarithm: about -80 dBFS, below any microphone's noise."""

SMALLEST_DEVIATION = np.float32(1e-3)
"""A mel band that does not change over an utterance (one frame, digital silence) becomes zero, not noise."""

Features = npt.NDArray[np.float32]


class LogMel:
    """Natural logarithm of mel energies, normalised per utterance.

    Frames are centred (the waveform is reflected at its ends), so that a clip of any length has
    ``samples // hop + 1`` frames. Energies equal torchaudio's ``MelSpectrogram`` (Hann window, HTK scale, 20 Hz to
    8 kHz, power 2), computed by NumPy, which is faster on one thread and the same whatever the number of threads.

    Args:
        config: mel bands, window and hop in milliseconds, normalisation.
    """

    def __init__(self, config: FeatureConfig) -> None:
        self.window = max(1, round(config.window_ms * SAMPLE_RATE_HZ / 1000))
        self.hop = max(1, round(config.hop_ms * SAMPLE_RATE_HZ / 1000))
        self.transform = 1 << (self.window - 1).bit_length()
        self.mel_bins = config.mel_bins
        self.normalize = config.normalize == "utterance"
        recipe = (VERSION, SAMPLE_RATE_HZ, self.window, self.hop, self.transform, self.mel_bins, self.normalize)
        self.key = blake2b(repr(recipe).encode(), digest_size=8).digest()
        """Bytes that change whenever the parameters do: part of the key of the feature cache."""

    def frames(self, samples: int) -> int:
        """Return how many frames so many samples at 16,000 Hz make."""
        return samples // self.hop + 1

    def __call__(self, waveform: Waveform) -> Features:
        """Return the features of a waveform of shape ``(samples,)`` at 16,000 Hz, shape ``(frames, mel)``, float32.

        With ``normalize: utterance`` every mel band has mean 0 and variance 1 over time.

        Raises:
            ValueError: the waveform has no samples.
        """
        if waveform.ndim != 1 or not len(waveform):
            raise ValueError(f"expected a waveform of shape (samples,), at least one; got shape {waveform.shape}")
        frames = self.frames(len(waveform))
        # The window sits in the middle of the transform; what lies outside it would only be multiplied by zero.
        margin = self.window // 2
        padded = _reflect(waveform, margin, (frames - 1) * self.hop + self.window)
        step = padded.strides[0]
        framed = np.lib.stride_tricks.as_strided(
            padded, (frames, self.window), (self.hop * step, step), writeable=False
        )
        spectrum = np.fft.rfft(framed * _hann(self.window), n=self.transform)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        mel: Features = power @ _filterbank(self.transform, self.mel_bins)
        mel += FLOOR
        np.log(mel, out=mel)
        if self.normalize:
            # In double precision, so that a constant band becomes exactly zero.
            mel -= mel.mean(axis=0, dtype=np.float64).astype(np.float32)
            deviation = np.sqrt(np.square(mel).mean(axis=0))
            mel /= np.maximum(deviation, SMALLEST_DEVIATION)
        return mel


def _reflect(waveform: Waveform, margin: int, length: int) -> Waveform:
    """Return ``waveform`` reflected at both ends, ``margin`` samples before it and ``length`` in all."""
    after = max(0, length - margin - len(waveform))
    if max(margin, after) >= len(waveform):
        return np.pad(waveform, (margin, after), mode="reflect").astype(np.float32, copy=False)
    padded = np.empty(margin + len(waveform) + after, np.float32)
    padded[margin : margin + len(waveform)] = waveform
    padded[:margin] = waveform[margin:0:-1]
    padded[margin + len(waveform) :] = waveform[-2 : -2 - after : -1]
    return padded


@lru_cache(maxsize=8)
def _hann(window: int) -> Features:
    """Return the periodic Hann window, shape ``(window,)``."""
    weights = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32)
    return weights


@lru_cache(maxsize=8)
def _filterbank(transform: int, mel_bins: int) -> Features:
    """Return torchaudio's triangular filters, shape ``(transform / 2 + 1, mel)``."""
    from torchaudio.functional import melscale_fbanks

    filters: Features = melscale_fbanks(
        transform // 2 + 1, LOWEST_HZ, SAMPLE_RATE_HZ / 2, mel_bins, SAMPLE_RATE_HZ
    ).numpy()
    return filters
