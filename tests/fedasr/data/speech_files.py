"""Audio files for tests, sound and broken, each broken in one way."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf

from fedasr.data.corpus import Waveform


def noise(seconds: float = 1.0, rate_hz: int = 16_000, seed: int = 0, channels: int = 1) -> Waveform:
    """Return noise within ±0.5, shape ``(samples,)`` or ``(samples, channels)``."""
    shape = (round(seconds * rate_hz), channels) if channels > 1 else (round(seconds * rate_hz),)
    return np.random.default_rng(seed).uniform(-0.5, 0.5, shape).astype(np.float32)


def write(path: Path, seconds: float = 1.0, rate_hz: int = 16_000, seed: int = 0) -> Path:
    """Write noise in the format of the path's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, noise(seconds, rate_hz, seed), rate_hz)
    return path


def cut(path: Path, share: float) -> None:
    """Keep the first share of a file's bytes."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def patch(path: Path, offset: int, content: bytes) -> None:
    """Overwrite bytes of a file."""
    whole = bytearray(path.read_bytes())
    whole[offset : offset + len(content)] = content
    path.write_bytes(bytes(whole))


def flac_declares(path: Path, frames: int) -> None:
    """Change the number of frames in a FLAC header, the last 36 bits of bytes 18 to 25."""
    fields = int.from_bytes(path.read_bytes()[18:26], "big") & ~0xFFFFFFFFF | frames
    patch(path, 18, fields.to_bytes(8, "big"))


def _missing(folder: Path) -> Path:
    return folder / "missing.flac"


def _empty(folder: Path) -> Path:
    (folder / "empty.wav").write_bytes(b"")
    return folder / "empty.wav"


def _text(folder: Path) -> Path:
    (folder / "text.wav").write_bytes(b"this is not audio\n" * 100)
    return folder / "text.wav"


def _folder(folder: Path) -> Path:
    (folder / "folder.wav").mkdir()
    return folder / "folder.wav"


def _zero_wav(folder: Path) -> Path:
    return write(folder / "zero.wav", seconds=0)


def _zero_flac(folder: Path) -> Path:
    path = write(folder / "zero.flac")
    path.write_bytes(path.read_bytes()[:42])
    flac_declares(path, 0)
    patch(path, 4, b"\x80")  # the stream information is the last block of the header
    return path


def _cut_flac(folder: Path) -> Path:
    path = write(folder / "cut.flac")
    cut(path, 0.9)
    return path


def _cut_wav(folder: Path) -> Path:
    path = write(folder / "cut.wav")
    cut(path, 0.5)
    return path


def _flac_too_long(folder: Path) -> Path:
    path = write(folder / "declares-more.flac")
    flac_declares(path, 20_000)
    return path


def _flac_without_length(folder: Path) -> Path:
    path = write(folder / "declares-none.flac")
    flac_declares(path, 0)
    return path


def _flac_absurd(folder: Path) -> Path:
    path = write(folder / "declares-days.flac")
    flac_declares(path, (1 << 36) - 1)
    return path


def _flac_header_only(folder: Path) -> Path:
    path = write(folder / "header-only.flac")
    path.write_bytes(path.read_bytes()[:20])
    return path


def _wav_other_rate(folder: Path) -> Path:
    path = write(folder / "other-rate.wav")
    patch(path, 24, struct.pack("<I", 8000))
    return path


def _wav_no_rate(folder: Path) -> Path:
    path = write(folder / "no-rate.wav")
    patch(path, 24, struct.pack("<I", 0))
    return path


def _wav_no_data(folder: Path) -> Path:
    path = write(folder / "no-data.wav")
    patch(path, path.read_bytes().index(b"data") + 4, struct.pack("<I", 0))
    return path


def _not_a_number(folder: Path) -> Path:
    samples = noise()
    samples[100] = np.nan
    sf.write(folder / "nan.wav", samples, 16_000, subtype="FLOAT")
    return folder / "nan.wav"


BROKEN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (_missing, "missing"),
    "empty": (_empty, "empty"),
    "text": (_text, "not-audio"),
    "folder": (_folder, "not-audio"),
    "zero-wav": (_zero_wav, "zero-length"),
    "zero-flac": (_zero_flac, "zero-length"),
    "cut-flac": (_cut_flac, "truncated"),
    "cut-wav": (_cut_wav, "truncated"),
    "flac-declares-more": (_flac_too_long, "truncated"),
    "flac-declares-none": (_flac_without_length, "header"),
    "flac-declares-days": (_flac_absurd, "header"),
    "flac-header-only": (_flac_header_only, "header"),
    "wav-other-rate": (_wav_other_rate, "header"),
    "wav-no-rate": (_wav_no_rate, "header"),
    "wav-no-data": (_wav_no_data, "header"),
    "nan": (_not_a_number, "not-finite"),
}
"""Name to (who writes the file, the kind of the problem)."""
