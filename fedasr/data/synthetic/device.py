"""The device between a voice and the recogniser: a small room, a band limit, noise and a gain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedasr.data.corpus import SAMPLE_RATE_HZ, Waveform

NOISES = ("white", "pink", "brown", "hum")


@dataclass(frozen=True)
class Device:
    """A device and where it stands.

    ``gain_db`` is the gain; ``snr_db`` the signal-to-noise ratio over the utterance, in decibels; ``noise`` one of
    ``NOISES``; ``low_hz`` and ``high_hz`` the band that the microphone passes. ``reverb_s`` is the room's reverberation
    time (decay by 60 dB) in seconds, 0 for none, and ``reverb_db`` the energy of the reverberation relative to the
    direct sound, in decibels.
    """

    gain_db: float
    snr_db: float
    noise: str
    low_hz: float
    high_hz: float
    reverb_s: float
    reverb_db: float


def apply(waveform: Waveform, device: Device, rng: np.random.Generator) -> Waveform:
    """Return ``waveform`` as ``device`` hears it: same shape, float32, 16,000 Hz, peaks within ±1.

    All draws (the room's impulse response, the noise) come from ``rng``.
    """
    samples = waveform.size
    if not samples:
        return waveform
    room = _room(device, rng)
    length = _fft_length(samples + room.size)
    hertz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ)
    band = _band(hertz, device.low_hz, device.high_hz)
    spectrum = np.fft.rfft(waveform, length) * band
    if room.size:
        spectrum *= 1 + np.fft.rfft(room, length)
    speech = np.fft.irfft(spectrum, length)[:samples]
    noise = _noise(device.noise, hertz, band, rng)[:samples]
    scale = _rms(speech) * 10 ** (-device.snr_db / 20) / max(_rms(noise), 1e-12)
    heard = (speech + scale * noise) * 10 ** (device.gain_db / 20)
    # A device whose gain is too high limits; it does not fold over.
    return np.asarray(heard / max(float(np.abs(heard).max()), 1.0), np.float32)


def _room(device: Device, rng: np.random.Generator) -> Waveform:
    """Return the reverberant tail: exponentially decaying noise that starts 2 ms after the direct sound."""
    if device.reverb_s <= 0:
        return np.zeros(0, np.float32)
    seconds = np.arange(round(device.reverb_s * SAMPLE_RATE_HZ), dtype=np.float32) / SAMPLE_RATE_HZ
    tail = rng.standard_normal(seconds.size, np.float32) * np.exp(-6.9078 * seconds / device.reverb_s, dtype=np.float32)
    tail[: SAMPLE_RATE_HZ // 500] = 0
    energy = float(np.sum(np.square(tail)))
    return np.asarray(tail * np.sqrt(10 ** (device.reverb_db / 10) / max(energy, 1e-12)), np.float32)


def _band(hertz: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    """Return the gain of a band-pass whose edges fade over a third of ``low_hz`` and over 300 Hz at the top."""
    rise = np.clip((hertz - low_hz * 2 / 3) / max(low_hz / 3, 1.0), 0, 1)
    fall = np.clip((high_hz + 300 - hertz) / 300, 0, 1)
    return np.asarray(rise * fall, np.float32)


def _noise(colour: str, hertz: np.ndarray, band: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return noise of a colour within the band; its level has no meaning. Shape: that of the signal of the spectrum."""
    parts = rng.standard_normal((2, hertz.size), np.float32)
    above = np.maximum(hertz, 20.0)
    if colour == "white":
        shape = np.ones_like(hertz)
    elif colour == "pink":
        shape = above**-0.5
    elif colour == "brown":
        shape = 1 / above
    elif colour == "hum":
        # Mains: lines at the multiples of 50 Hz that fall off, over a faint white floor.
        near = np.abs(hertz - 50 * np.round(hertz / 50)) < 1.0
        shape = np.where(near, 100 / above, 0.002)
    else:
        raise ValueError(f"there is no noise '{colour}'; expected one of {', '.join(NOISES)}")
    return np.asarray(np.fft.irfft((parts[0] + 1j * parts[1]) * (shape * band).astype(np.float32)), np.float32)


def _fft_length(least: int) -> int:
    """Return a length from ``least`` on that the FFT likes: a power of two, or three quarters of one."""
    power = 1 << (least - 1).bit_length()
    return power * 3 // 4 if power * 3 // 4 >= least and power >= 4 else power


def _rms(signal: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(signal, dtype=np.float64))))
