"""Another pitch, or other formants, for speech that is there: the same words at the same times."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from fedasr.data.corpus import SAMPLE_RATE_HZ, Column, Corpus, Waveform
from fedasr.data.resampling import resample
from fedasr.typing import Floats

if TYPE_CHECKING:
    import torch

TRANSFORM, HOP = 1024, 256
"""Of the analysis, in samples at 16,000 Hz: 64 ms, a quarter of it from one frame to the next."""
LIFTER = 32
"""Cepstral coefficients that are the envelope: up to 2 ms, below the pitch period of any voice up to 500 Hz."""
MOST_GAIN = np.log(30.0)
"""Natural logarithm of the factor by which a frequency is raised or lowered at most: nothing is made of silence."""
VERSION = 1
"""Part of the content key: raise it whenever a change below changes waveforms."""


def shift_voice(waveform: Waveform, pitch: float = 1.0, formants: float = 1.0) -> Waveform:
    """Return speech with its fundamental frequency, its formants, or both multiplied; the length stays.

    Pitch: a phase vocoder (torchaudio's) changes the duration, and resampling gives it back, which multiplies all
    frequencies; then the formants are put back. Formants: the spectral envelope of each frame, from its low cepstral
    coefficients, is stretched along the frequency axis, and what is below it stays.

    Args:
        waveform: shape ``(samples,)``, 16,000 Hz, within ±1.
        pitch: factor of the fundamental frequency, ½ to 2.
        formants: factor of the formants, ½ to 2.

    Returns:
        The same shape, as loud (RMS) as before, or a little less where it would exceed ±1.

    Raises:
        ValueError: a factor is out of range.
    """
    if not (0.5 <= pitch <= 2 and 0.5 <= formants <= 2):
        raise ValueError(f"pitch {pitch:g} and formants {formants:g}; expected factors from 0.5 to 2")
    shifted = at_pitch(waveform, pitch) if pitch != 1 else waveform
    if formants != pitch:
        shifted = with_formants(shifted, formants / pitch)
    loud, now = (float(np.sqrt(np.mean(np.square(each, dtype=np.float64)))) for each in (waveform, shifted))
    if now > 0:
        shifted = shifted * np.float32(loud / now)
    peak = float(np.abs(shifted).max(initial=0.0))
    return (shifted / np.float32(max(peak, 1.0))).astype(np.float32, copy=False)


def at_pitch(waveform: Waveform, factor: float) -> Waveform:
    """Return the waveform with all its frequencies multiplied, as long as before."""
    import torch
    from torchaudio.functional import phase_vocoder

    advance = torch.linspace(0, np.pi * HOP, TRANSFORM // 2 + 1)[:, None]
    stretched = phase_vocoder(analysed(waveform)[None], 1 / factor, advance)[0]
    longer = synthesised(stretched, round(max(len(waveform), TRANSFORM) * factor))
    played = resample(longer, round(SAMPLE_RATE_HZ * factor))[: len(waveform)]
    return np.pad(played, (0, len(waveform) - len(played)))


def with_formants(waveform: Waveform, factor: float) -> Waveform:
    """Return the waveform with its spectral envelope stretched along the frequency axis."""
    import torch

    spectrum = analysed(waveform)
    envelope = log_envelope(spectrum.abs().double().numpy())
    bins = np.arange(len(envelope))
    moved = np.stack([np.interp(bins / factor, bins, frame) for frame in envelope.T], axis=1)
    gain = np.exp(np.clip(moved - envelope, -MOST_GAIN, MOST_GAIN))
    return synthesised(spectrum * torch.from_numpy(gain).to(spectrum.dtype), max(len(waveform), TRANSFORM))[
        : len(waveform)
    ]


def log_envelope(magnitudes: Floats) -> Floats:
    """Return the logarithm of the spectral envelope of each frame, by cepstral smoothing; ``(frequencies, frames)``."""
    loudest = max(float(magnitudes.max(initial=0.0)), 1e-12)
    cepstrum = np.fft.irfft(np.log(np.maximum(magnitudes, 1e-6 * loudest)), axis=0)
    cepstrum[LIFTER:-LIFTER] = 0
    return np.asarray(np.fft.rfft(cepstrum, axis=0).real, np.float64)


def analysed(waveform: Waveform) -> torch.Tensor:
    """Return the short-time spectrum, ``(frequencies, frames)`` complex."""
    import torch

    padded = np.pad(waveform, (0, max(0, TRANSFORM - len(waveform))))
    return torch.stft(torch.from_numpy(padded), TRANSFORM, HOP, window=window(), return_complex=True)


def synthesised(spectrum: torch.Tensor, samples: int) -> Waveform:
    """Return the waveform of a short-time spectrum, shape ``(samples,)``."""
    import torch

    result: Waveform = torch.istft(spectrum, TRANSFORM, HOP, window=window(), length=samples).numpy()
    return result


@lru_cache(maxsize=1)
def window() -> torch.Tensor:
    """Return the Hann window of the analysis."""
    import torch

    return torch.hann_window(TRANSFORM)


class Shifted:
    """A corpus with another pitch or other formants; its columns are those of before.

    Args:
        corpus: one that has waveforms.
        pitch: as in ``shift_voice``.
        formants: as in ``shift_voice``.
    """

    columns: Mapping[str, Column]

    def __init__(self, corpus: Corpus, pitch: float = 1.0, formants: float = 1.0) -> None:
        self.corpus = corpus
        self.columns = corpus.columns
        self.pitch = pitch
        self.formants = formants

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self.corpus)

    def waveform(self, index: int) -> Waveform:
        """Return utterance ``index``, shape ``(samples,)``."""
        return shift_voice(self.corpus.waveform(index), self.pitch, self.formants)

    def content_key(self, index: int) -> bytes:
        """Return bytes that change whenever the waveform would."""
        return self.corpus.content_key(index) + f"shift {VERSION} {self.pitch!r} {self.formants!r}".encode()

    def where(self, index: int) -> str:
        """Return where utterance ``index`` comes from."""
        return self.corpus.where(index)
