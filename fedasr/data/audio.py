"""Read audio files: mono, float32, 16,000 Hz, and a clear reason where one cannot be used."""

from __future__ import annotations

import os
import struct
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import soundfile as sf

from fedasr.data.corpus import SAMPLE_RATE_HZ, BadAudio, Waveform

if TYPE_CHECKING:
    import torch

READER_VERSION = 1
"""Part of every cache key: raise it whenever this module makes other waveforms of the same file."""

LONGEST_SECONDS = 24 * 3600
"""A header that declares more is wrong; believing it would allocate the memory first."""

UNDECLARED = 2**63 - 1
"""What libsndfile gives for a stream whose header leaves the number of frames open."""

MP3_SLACK = 2304
"""Frames by which an MP3 file may fall short of its declared length, which is an estimate: two MPEG frames."""

SIGNATURES = {b"RIFF": "WAV", b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"FORM": "AIFF", b".snd": "AU"}


class AudioProblem(BadAudio):
    """A file cannot be used as audio; ``kind`` classifies the reason.

    Kinds: ``missing``, ``empty`` (no bytes), ``not-audio``, ``header`` (wrong or damaged), ``zero-length`` (no
    samples), ``truncated`` and ``not-finite`` (NaN or infinite samples).
    """

    def __init__(self, message: str, kind: str = "not-audio") -> None:
        super().__init__(message)
        self.kind = kind


def read_audio(path: str | os.PathLike[str]) -> Waveform:
    """Return the audio of a file, mixed down and resampled, shape ``(samples,)``, float32, 16,000 Hz, within ±1.

    Raises:
        AudioProblem: the file is missing, empty, truncated, not audio, without samples, or its header is wrong. The
            message does not repeat the path.
    """
    samples, rate = decode(path)
    return resample(samples, rate)


def decode(path: str | os.PathLike[str]) -> tuple[Waveform, int]:
    """Return the audio of a file mixed down to mono, shape ``(samples,)``, and its own sample rate in hertz.

    Raises:
        AudioProblem: as ``read_audio``.
    """
    with _open(path) as file:
        declared = file.frames
        try:
            samples: npt.NDArray[np.float32] = file.read(dtype="float32")
        except (sf.LibsndfileError, RuntimeError):
            raise _short(declared) from None
        if len(samples) < declared - _slack(file):
            raise _short(declared, len(samples))
        rate = int(file.samplerate)
    if samples.ndim == 2:
        samples = samples.mean(axis=1, dtype=np.float32)
    peak = max(float(samples.max()), -float(samples.min()))
    if not np.isfinite(peak):
        raise AudioProblem("has samples that are not numbers", "not-finite")
    if peak > 1:
        np.clip(samples, -1, 1, out=samples)
    return samples, rate


def resample(samples: Waveform, rate_hz: int) -> Waveform:
    """Return ``samples`` of shape ``(samples,)`` at 16,000 Hz, by torchaudio's band-limited interpolation."""
    if rate_hz == SAMPLE_RATE_HZ:
        return samples
    import torch

    with torch.inference_mode():
        found: Waveform = _resampler(rate_hz)(torch.from_numpy(samples)).numpy()
    return np.clip(found, -1, 1)


def probe(path: str | os.PathLike[str]) -> tuple[int, int, int]:
    """Return ``(frames, sample rate in hertz, channels)`` from a file's header; nothing is decoded.

    Raises:
        AudioProblem: the header cannot be read, declares no frames, or contradicts the file's size.
    """
    with _open(path) as file:
        return int(file.frames), int(file.samplerate), int(file.channels)


def inspect(path: str | os.PathLike[str]) -> tuple[int, int, int]:
    """Return what ``probe`` does after reading the last frame as well: a third of the time of decoding the file.

    Raises:
        AudioProblem: as ``read_audio``, but for samples that are not numbers and damage in the middle.
    """
    with _open(path) as file:
        try:
            file.seek(max(0, file.frames - 1 - _slack(file)))
            tail = len(file.read(1, dtype="float32"))
        except (sf.LibsndfileError, RuntimeError):
            tail = 0
        if not tail:
            raise _short(file.frames)
        return int(file.frames), int(file.samplerate), int(file.channels)


def samples_at_16khz(frames: int, rate_hz: int) -> int:
    """Return how many samples ``resample`` makes of so many frames."""
    return -(-frames * SAMPLE_RATE_HZ // rate_hz)


def _open(path: str | os.PathLike[str]) -> sf.SoundFile:
    """Open a file whose header makes sense."""
    try:
        file = sf.SoundFile(os.fspath(path))
    except (sf.LibsndfileError, RuntimeError, TypeError, ValueError, OSError) as error:
        raise _diagnose(path, error) from None
    try:
        if file.format in ("WAV", "WAVEX"):
            _check_wav(path)
        if file.frames in (0, UNDECLARED):
            raise _without_frames(Path(path).stat().st_size)
        if file.frames > LONGEST_SECONDS * file.samplerate:
            raise AudioProblem("has a wrong header: it declares no plausible length; encode the file anew", "header")
    except BaseException:
        file.close()
        raise
    return file


def _diagnose(path: str | os.PathLike[str], error: Exception) -> AudioProblem:
    """Return why libsndfile could not open a file."""
    try:
        size = Path(path).stat().st_size
        if Path(path).is_dir():
            return AudioProblem("is a folder, not a file", "not-audio")
        if size == 0:
            return AudioProblem("is empty (0 bytes)", "empty")
        with Path(path).open("rb") as file:
            start = file.read(4)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return AudioProblem("is missing", "missing")
    except OSError as reason:
        return AudioProblem(f"cannot be read: {reason.strerror or reason}", "missing")
    name = next((name for signature, name in SIGNATURES.items() if start.startswith(signature)), None)
    if name is not None:
        return AudioProblem(f"has a wrong header: it starts as {name}, but is damaged or cut short", "header")
    detail = str(getattr(error, "error_string", error)).rstrip(".")
    return AudioProblem(f"is not audio that libsndfile reads ({detail})", "not-audio")


def _check_wav(path: str | os.PathLike[str]) -> None:
    """Compare a WAV header with itself and with the file's size, which libsndfile mends in silence."""
    path = Path(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(12)
        while len(head := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", head)
            if name == b"data":
                present = size - file.tell()
                # Writers that could not seek back leave the length at 0xFFFFFFFF.
                if present < length < 0xFFFFFFF0:
                    raise AudioProblem(
                        f"is truncated, or its header is wrong: it declares {length} bytes of samples, {present} are"
                        " there",
                        "truncated",
                    )
                return
            start = file.tell()
            if name == b"fmt " and length >= 16:
                code, channels, rate, bytes_per_second, block, bits = struct.unpack("<HHIIHH", file.read(16))
                pcm = code in (1, 3)
                if pcm and (block != channels * ((bits + 7) // 8) or bytes_per_second != rate * block):
                    raise AudioProblem(
                        f"has a wrong header: {rate} Hz, {channels} channels of {bits} bits do not make"
                        f" {bytes_per_second} bytes a second in blocks of {block}",
                        "header",
                    )
            file.seek(start + length + length % 2)


def _without_frames(size: int) -> AudioProblem:
    """Return what is wrong with a file that declares no frames; more than 4 kB are more than a header."""
    if size > 4096:
        return AudioProblem(
            f"is truncated, or its header is wrong: it declares no frames in {size} bytes; encode it anew", "header"
        )
    return AudioProblem("holds no samples", "zero-length")


def _short(declared: int, read: int | None = None) -> AudioProblem:
    """Return what is wrong with a file that holds fewer frames than it declares."""
    found = "fewer can" if read is None else f"only {read} can"
    return AudioProblem(
        f"is truncated, or its header is wrong: it declares {declared} frames, {found} be decoded", "truncated"
    )


def _slack(file: sf.SoundFile) -> int:
    return MP3_SLACK if file.format == "MP3" else 0


@lru_cache(maxsize=8)
def _resampler(rate_hz: int) -> torch.nn.Module:
    """Return the resampler from a rate; its kernel costs more than a second of audio does, so it is kept."""
    from torchaudio.transforms import Resample

    found: torch.nn.Module = Resample(rate_hz, SAMPLE_RATE_HZ)
    return found
