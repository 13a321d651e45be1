"""Read audio files: mono, float32, 16,000 Hz, and a clear reason where one cannot be used."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from fedasr.data.corpus import BadAudio, Waveform
from fedasr.data.quiet import quiet
from fedasr.data.resampling import resample, samples_at_16khz

__all__ = ["AudioProblem", "Segment", "decode", "inspect", "probe", "read_audio", "resample", "samples_at_16khz"]

READER_VERSION = 1
"""Part of every cache key: raise it whenever this module makes other waveforms of the same file."""

LONGEST_SECONDS = 24 * 3600
"""A header that declares more is wrong; believing it would allocate the memory first."""

ROUNDING_S = 0.05
"""How far the end of a segment may lie behind that of its file: tables round."""

UNDECLARED = 2**63 - 1
"""What libsndfile gives for a stream whose header leaves the number of frames open."""

MP3_SLACK = 2304
"""Frames by which an MP3 file may fall short of its declared length, which is an estimate: two MPEG frames."""

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1_000, 768_000
"""Sample rates of recorders; others are damaged headers, and resampling them would take hours."""

LARGEST_PEAK = 16.0
"""Floats may go beyond full scale a little (and are clipped); from here on they are in another scale."""

BLOCK_FRAMES = 1 << 20
"""Frames that are decoded at once."""

FLOATS = ("FLOAT", "DOUBLE")
EXACT_FORMATS = ("WAV", "WAVEX", "FLAC", "AIFF", "AU", "W64", "RF64", "CAF")
EXACT_SUBTYPES = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "ULAW", "ALAW", *FLOATS)
"""In these a seek leads to the very frame; elsewhere a segment is read from the front of its file."""

SIGNATURES = {b"RIFF": "WAV", b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"FORM": "AIFF", b".snd": "AU"}


class AudioProblem(BadAudio):
    """A file cannot be used as audio; ``kind`` classifies the reason.

    Kinds: ``missing``, ``empty`` (no bytes), ``not-audio``, ``header`` (wrong or damaged), ``zero-length`` (no
    samples), ``truncated``, ``not-finite`` (NaN or infinite samples), ``scale`` (floats in the scale of integers) and
    ``segment`` (it lies outside the file).
    """

    def __init__(self, message: str, kind: str = "not-audio") -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Segment:
    """A part of a file, in seconds: NeMo's ``offset`` and ``duration``."""

    start_s: float = 0.0
    duration_s: float | None = None
    """None: to the end"""

    def frames(self, rate_hz: int, there: int, slack: int = 0) -> tuple[int, int]:
        """Return the first frame and the number of frames of a file that has ``there``.

        Raises:
            AudioProblem: the segment does not lie within the file.
        """
        if self.duration_s is None and not self.start_s:
            return 0, there
        first = round(self.start_s * rate_hz)
        last = there if self.duration_s is None else round((self.start_s + self.duration_s) * rate_hz)
        if first >= there or last > there + round(ROUNDING_S * rate_hz) + slack:
            end = "its end" if self.duration_s is None else f"{self.start_s + self.duration_s:.3f} s"
            raise AudioProblem(
                f"lasts {there / rate_hz:.3f} s, but the row's segment goes from {self.start_s:.3f} s to {end}",
                "segment",
            )
        if last <= first:
            raise AudioProblem("has no samples in the row's segment, which is too short", "segment")
        return first, min(last, there) - first


WHOLE = Segment()


def read_audio(path: str | os.PathLike[str], segment: Segment = WHOLE) -> Waveform:
    """Return the audio of a file, mixed down and resampled, shape ``(samples,)``, float32, 16,000 Hz, within ±1.

    Args:
        path: of the file.
        segment: the part that is read; nothing else is decoded where the format allows it.

    Raises:
        AudioProblem: the file is missing, empty, truncated, not audio, without samples, its header is wrong, or the
            segment lies outside it. The message does not repeat the path.
    """
    samples, rate = decode(path, segment)
    return resample(samples, rate)


def decode(path: str | os.PathLike[str], segment: Segment = WHOLE) -> tuple[Waveform, int]:
    """Return the audio of a file mixed down to mono, shape ``(samples,)``, and its own sample rate in hertz.

    Raises:
        AudioProblem: as ``read_audio``.
    """
    channels, rate = decode_channels(path, segment)
    samples = channels[:, 0] if channels.shape[1] == 1 else channels.mean(axis=1, dtype=np.float32)
    np.clip(samples, -1, 1, out=samples)
    return samples, rate


def decode_channels(path: str | os.PathLike[str], segment: Segment = WHOLE) -> tuple[Waveform, int]:
    """Return the audio of a file, shape ``(samples, channels)``, and its own sample rate in hertz.

    Raises:
        AudioProblem: as ``read_audio``.
    """
    with _opened(path) as file:
        rate = int(file.samplerate)
        first, wanted = segment.frames(rate, file.frames, _slack(file))
        samples = _read(file, first, wanted)
    _check_samples(samples)
    return samples, rate


def probe(path: str | os.PathLike[str]) -> tuple[int, int, int]:
    """Return ``(frames, sample rate in hertz, channels)`` from a file's header; nothing is decoded.

    Raises:
        AudioProblem: the header cannot be read, declares no frames or a rate of no recorder, or contradicts the file's
            size.
    """
    with _opened(path) as file:
        return int(file.frames), int(file.samplerate), int(file.channels)


def inspect(path: str | os.PathLike[str]) -> tuple[int, int, int]:
    """Return what ``probe`` does after reading the last frame as well: a third of the time of decoding the file.

    A format that cannot seek, and one of floats, whose scale only its samples tell, is read through.

    Raises:
        AudioProblem: as ``read_audio``, but for samples that are not numbers and damage in the middle.
    """
    with _opened(path) as file:
        header = int(file.frames), int(file.samplerate), int(file.channels)
        if file.subtype not in FLOATS and _tail_is_there(file):
            return header
    with _opened(path) as file:
        _check_samples(_read(file, 0, int(file.frames)))
    return header


class _ReadThrough(sf.SoundFile):  # type: ignore[misc]
    """A file that is read from front to back, whatever its format says of seeking.

    soundfile asks for its place before and after every read, which formats such as GSM 06.10 and DWVW refuse.
    """

    def seekable(self) -> bool:
        """Say no."""
        return False


def _tail_is_there(file: sf.SoundFile) -> bool:
    """Say whether the last frame can be reached and read without what lies before it."""
    if not sf.SoundFile.seekable(file):
        return False
    try:
        sf.SoundFile.seek(file, max(0, file.frames - 1 - _slack(file)))
        return len(file.read(1, dtype="float32")) > 0
    except (sf.LibsndfileError, RuntimeError):
        return False


def _read(file: sf.SoundFile, first: int, wanted: int) -> Waveform:
    """Return frames of a file, shape ``(frames, channels)``; memory follows what is there, not what is declared.

    Raises:
        AudioProblem: fewer are there than are declared.
    """
    skipped = 0
    blocks: list[Waveform] = []
    total = 0
    try:
        if first and file.format in EXACT_FORMATS and file.subtype in EXACT_SUBTYPES:
            sf.SoundFile.seek(file, first)
            skipped = first
        while skipped < first:
            step = len(file.read(min(BLOCK_FRAMES, first - skipped), dtype="float32"))
            if not step:
                break
            skipped += step
        while total < wanted:
            block: Waveform = file.read(min(BLOCK_FRAMES, wanted - total), dtype="float32", always_2d=True)
            if not len(block):
                break
            blocks.append(block)
            total += len(block)
    except (sf.LibsndfileError, RuntimeError):
        raise _short(file.frames) from None
    if total < wanted - _slack(file) or not total:
        raise _short(file.frames, skipped + total)
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _check_samples(samples: Waveform) -> None:
    """Raise where samples are no numbers, or floats that another full scale than 1 belongs to."""
    peak = max(float(samples.max()), -float(samples.min()))
    if not np.isfinite(peak):
        raise AudioProblem("has samples that are not numbers", "not-finite")
    if peak >= LARGEST_PEAK:
        bits = next((bits for bits in (8, 16, 24, 32) if peak <= 2 ** (bits - 1)), 0)
        scale = f"those of {bits}-bit integers; divide them by {2 ** (bits - 1)}" if bits else "none of audio"
        raise AudioProblem(f"has float samples up to {peak:g}, where full scale is 1: they are {scale}", "scale")


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[sf.SoundFile]:
    """Open a file whose header makes sense, without a word of libmpg123 on standard error."""
    with quiet(_start(path)), _open(path) as file:
        yield file


def _start(path: str | os.PathLike[str]) -> bytes:
    """Return the first bytes of a file; none where it cannot be read, which whoever opens it will say."""
    try:
        with Path(path).open("rb") as file:
            return file.read(4)
    except (OSError, ValueError):
        return b""


def _open(path: str | os.PathLike[str]) -> sf.SoundFile:
    """Open a file whose header makes sense."""
    if Path(path).name.startswith("._"):
        raise AudioProblem("is a macOS metadata file (its name starts with '._'), not audio", "not-audio")
    try:
        file = _ReadThrough(os.fspath(path))
    except (sf.LibsndfileError, RuntimeError, TypeError, ValueError, OSError) as error:
        raise _diagnose(path, error) from None
    try:
        if file.format in ("WAV", "WAVEX"):
            _check_wav(path)
        if file.frames in (0, UNDECLARED):
            raise _without_frames(Path(path).stat().st_size)
        if not LOWEST_RATE_HZ <= file.samplerate <= HIGHEST_RATE_HZ:
            raise AudioProblem(
                f"has a wrong header: it declares {file.samplerate} Hz; expected {LOWEST_RATE_HZ} to"
                f" {HIGHEST_RATE_HZ} Hz",
                "header",
            )
        if file.frames > LONGEST_SECONDS * file.samplerate:
            raise AudioProblem("has a wrong header: it declares no plausible length; encode the file again", "header")
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
            f"is truncated, or its header is wrong: it declares no frames in {size} bytes; encode it again", "header"
        )
    return AudioProblem("holds no samples", "zero-length")


def _short(declared: int, read: int | None = None) -> AudioProblem:
    """Return what is wrong with a file that holds fewer frames than it declares."""
    readable = "fewer can" if read is None else f"only {read} can"
    return AudioProblem(
        f"is truncated, or its header is wrong: it declares {declared} frames, {readable} be decoded", "truncated"
    )


def _slack(file: sf.SoundFile) -> int:
    return MP3_SLACK if file.format == "MP3" else 0
