"""Band-limited interpolation to 16,000 Hz from any sample rate, in bounded time and memory.

torchaudio's kernel has an entry for each pair of an output phase and an input sample of a common period. Where the two
rates share no large divisor that is a table of gigabytes (16,001 Hz: 16,000 by 16,013); then the same kernel is
evaluated where it is needed, block by block.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedasr.data.corpus import SAMPLE_RATE_HZ, Waveform

if TYPE_CHECKING:
    import torch

ZEROS = 6
"""Zero crossings of the kernel on either side: torchaudio's ``lowpass_filter_width``."""

ROLLOFF = 0.99
"""Cut-off as a share of the lower Nyquist frequency: torchaudio's default."""

LARGEST_TABLE = 1 << 20
"""Entries of a kernel that is tabulated."""

BLOCK = 1 << 20
"""Entries of the kernel that are evaluated at once."""


def resample(samples: Waveform, rate_hz: int) -> Waveform:
    """Return ``samples`` of shape ``(samples,)`` at 16,000 Hz, within ±1."""
    if rate_hz == SAMPLE_RATE_HZ:
        return samples
    resampled = tabulated(samples, rate_hz) if table_size(rate_hz) <= LARGEST_TABLE else evaluated(samples, rate_hz)
    return np.clip(resampled, -1, 1)


def samples_at_16khz(frames: int, rate_hz: int) -> int:
    """Return how many samples ``resample`` makes of so many frames."""
    return -(-frames * SAMPLE_RATE_HZ // rate_hz)


def table_size(rate_hz: int) -> int:
    """Return how many entries torchaudio's kernel has."""
    divisor = math.gcd(rate_hz, SAMPLE_RATE_HZ)
    old, new = rate_hz // divisor, SAMPLE_RATE_HZ // divisor
    return new * (2 * math.ceil(ZEROS * old / (min(old, new) * ROLLOFF)) + old)


def tabulated(samples: Waveform, rate_hz: int) -> Waveform:
    """Return the samples resampled by torchaudio."""
    import torch

    with torch.inference_mode():
        resampled: Waveform = _resampler(rate_hz)(torch.from_numpy(samples)).numpy()
    return resampled


@lru_cache(maxsize=8)
def _resampler(rate_hz: int) -> torch.nn.Module:
    """Return the resampler from a rate; its kernel costs more than a second of audio does, so it is kept."""
    from torchaudio.transforms import Resample

    resampler: torch.nn.Module = Resample(rate_hz, SAMPLE_RATE_HZ)
    return resampler


def evaluated(samples: Waveform, rate_hz: int) -> Waveform:
    """Return what ``tabulated`` does up to rounding; the kernel is evaluated for every pair of samples it joins."""
    base = min(rate_hz, SAMPLE_RATE_HZ) * ROLLOFF
    reach = ZEROS * rate_hz / base
    taps = 2 * math.ceil(reach) + 1
    padded = np.pad(samples.astype(np.float64), taps)
    resampled = np.empty(samples_at_16khz(len(samples), rate_hz), np.float32)
    step = max(1, BLOCK // taps)
    offsets = np.arange(taps) - math.ceil(reach)
    for start in range(0, len(resampled), step):
        outputs = np.arange(start, min(start + step, len(resampled)), dtype=np.int64)
        inputs = (outputs * rate_hz // SAMPLE_RATE_HZ)[:, None] + offsets
        # Distances in exact integers: positions are large, differences small.
        distance = (inputs * SAMPLE_RATE_HZ - (outputs * rate_hz)[:, None]) / (rate_hz * SAMPLE_RATE_HZ)
        resampled[start : start + len(outputs)] = (padded[inputs + taps] * kernel(distance * base)).sum(axis=1) * (
            base / rate_hz
        )
    return resampled


def kernel(time: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the Hann-windowed sinc at times in zero crossings, any shape."""
    inside = np.clip(time, -ZEROS, ZEROS)
    window: npt.NDArray[np.float64] = np.cos(inside * (np.pi / ZEROS / 2)) ** 2
    return window * np.sinc(inside)
