"""A corpus whose utterances are audio files."""

from __future__ import annotations

import math
import os
import struct
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedasr.data.audio import (
    READER_VERSION,
    WHOLE,
    AudioProblem,
    Segment,
    inspect,
    probe,
    read_audio,
    samples_at_16khz,
)
from fedasr.data.corpus import SAMPLE_RATE_HZ, BadAudio, Column, Waveform
from fedasr.errors import InputError
from fedasr.paths import exists

TWICE = "the audio is listed already"
DURATION = "duration_s is"
"""How the reasons begin that are not about the audio itself."""

GLANCE_PARTS, GLANCE_BYTES = 16, 4096
"""Files of up to 64 kB are looked at whole; of others so many parts of so many bytes."""

_digests: dict[str, tuple[int, int, bytes]] = {}
"""Path to (size, time of change, digest): a file is hashed once a process as long as it does not change."""


class FileCorpus:
    """Utterances in audio files, read when they are asked for.

    Args:
        name: what messages call the corpus: the manifest, or the folder of a public corpus.
        base: the folder that relative paths start from.
        paths: the audio file of each utterance.
        columns: the columns of ``Corpus``; without ``duration_s``, or where it is NaN, the audio headers are read. The
            duration of a file whose header cannot be read is 0.
        lines: the line of each utterance in ``name``, or None where it has no lines.
        segments: the part of its file that each utterance is; None: the whole of it.
    """

    columns: Mapping[str, Column]

    def __init__(
        self,
        name: str,
        base: Path,
        paths: Sequence[str],
        columns: Mapping[str, Column],
        lines: Sequence[int] | None = None,
        segments: Sequence[Segment] | None = None,
    ) -> None:
        self.name = name
        self.base = base
        self.paths = paths
        self.lines = lines
        self.segments = None if segments is None or all(part == WHOLE for part in segments) else segments
        durations = columns.get("duration_s")
        seconds = np.full(len(paths), np.nan, np.float32) if durations is None else durations.astype(np.float32)
        self.declared: npt.NDArray[np.bool_] = ~np.isnan(seconds)
        for row in np.flatnonzero(~self.declared).tolist():
            seconds[row] = self._measure(row)
        self.columns = {**columns, "duration_s": seconds}

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self.paths)

    def path(self, index: int) -> Path:
        """Return the path of the audio file of utterance ``index``."""
        return audio_path(self.base, self.paths[index])

    def segment(self, index: int) -> Segment:
        """Return the part of its file that utterance ``index`` is."""
        return WHOLE if self.segments is None else self.segments[index]

    def waveform(self, index: int) -> Waveform:
        """Return utterance ``index`` as float32, mono, 16,000 Hz, shape ``(samples,)``, values within ±1.

        Raises:
            BadAudio: the audio is missing, empty, truncated or not audio.
        """
        try:
            return read_audio(self.path(index), self.segment(index))
        except AudioProblem as error:
            raise AudioProblem(f"{self.where(index)}: the audio {error}", error.kind) from None

    def content_key(self, index: int) -> bytes:
        """Return a digest of the bytes of the file with the version of the reader, 17 bytes, and the segment, if any.

        Raises:
            BadAudio: the file cannot be read.
        """
        try:
            return bytes([READER_VERSION]) + file_digest(self.path(index)) + segment_key(self.segment(index))
        except (OSError, ValueError) as error:
            reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
            raise AudioProblem(f"{self.where(index)}: the audio {reason}", "missing") from None

    def glance(self, index: int) -> bytes:
        """Return bytes that change with the content of the file in all likelihood, without reading a long one whole."""
        try:
            return file_glance(self.path(index)) + segment_key(self.segment(index))
        except (OSError, ValueError):
            return b"missing"

    def where(self, index: int) -> str:
        """Return ``manifest.csv:17 (audio/a.flac)``, or the path alone where the corpus has no lines."""
        if self.lines is None:
            return str(self.path(index))
        return f"{self.name}:{self.lines[index]} ({self.paths[index]})"

    def bad_audio(self, rows: Iterable[int]) -> list[tuple[int, str]]:
        """Return those of ``rows`` whose audio cannot be used, each with the reason.

        The header and the last frame of each file are read (0.1 ms); damage in the middle of a file is found when it
        is decoded. A file that a row before it lists already is bad too, and so is one that is not as long as the
        table says.
        """
        problems = []
        first: dict[tuple[str, Segment], int] = {}
        headers: dict[str, tuple[int, int] | BadAudio] = {}
        for row in map(int, rows):
            path, part = os.path.normpath(self.path(row)), self.segment(row)
            before = first.setdefault((path, part), row)
            if before != row:
                problems.append((row, f"{TWICE}: {self.where(before)}"))
                continue
            header = headers.get(path) or _header(path)
            if self.segments is not None:
                headers[path] = header
            try:
                if isinstance(header, BadAudio):
                    raise header
                frames, rate = header
                _, wanted = part.frames(rate, frames)
            except BadAudio as error:
                problems.append((row, f"the audio {error}"))
                continue
            seconds = float(self.columns["duration_s"][row])
            if self.declared[row] and not agree(seconds, wanted / rate):
                problems.append((row, disagreement(seconds, wanted / rate)))
        return problems

    def wrong_durations(self, rows: Iterable[int]) -> list[int]:
        """Return those of ``rows`` whose declared duration is not that of the audio, as its header has it."""
        mismatched = []
        for row in map(int, rows):
            if self.declared[row]:
                actual = self._measure(row)
                if actual and not agree(float(self.columns["duration_s"][row]), actual):
                    mismatched.append(row)
        return mismatched

    def _measure(self, row: int) -> float:
        try:
            frames, rate, _ = probe(self.path(row))
            _, wanted = self.segment(row).frames(rate, frames)
        except BadAudio:
            # The row stays, so that the run's check of its data reports it or skips and counts it.
            return 0.0
        return samples_at_16khz(wanted, rate) / SAMPLE_RATE_HZ


def audio_path(base: Path, name: str) -> Path:
    """Return the path of an audio file that a table names, relative to ``base``.

    A name that is there in another Unicode form is that file: systems disagree on the form of file names.
    """
    path = base / name
    if not name.isascii() and not exists(path):
        forms = (base / unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
        return next((other for other in forms if exists(other)), path)
    return path


def _header(path: str) -> tuple[int, int] | BadAudio:
    """Return the frames and the sample rate of a file that was looked into, or why it cannot be used."""
    try:
        return inspect(path)[:2]
    except BadAudio as error:
        return error


def segment_key(segment: Segment) -> bytes:
    """Return bytes that tell a segment from others of its file; none for all of it."""
    if segment == WHOLE:
        return b""
    return struct.pack("<dd", segment.start_s, math.nan if segment.duration_s is None else segment.duration_s)


def agree(declared_s: float, actual_s: float) -> bool:
    """Say whether two durations in seconds are the same up to rounding: 50 ms, or 2 %."""
    return abs(declared_s - actual_s) <= max(0.05, 0.02 * actual_s)


def disagreement(declared_s: float, actual_s: float) -> str:
    """Say that the table and the audio have different durations, in seconds."""
    return f"{DURATION} {declared_s:.3f}, but the audio lasts {actual_s:.3f} s"


def input_error(error: BadAudio) -> InputError:
    """Return the one line that a run stops with when audio turns out to be bad only when it is decoded."""
    return InputError(f"{error}; mend or remove it ('fedasr data check' lists every problem)", where="")


def file_glance(path: Path) -> bytes:
    """Return 16 bytes of the size of a file and of its content; of a long one, of its start, its end and 14 parts.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = blake2b(struct.pack("<q", size), digest_size=16)
        if size <= GLANCE_PARTS * GLANCE_BYTES:
            digest.update(file.read())
        else:
            for part in range(GLANCE_PARTS):
                file.seek(part * (size - GLANCE_BYTES) // (GLANCE_PARTS - 1))
                digest.update(file.read(GLANCE_BYTES))
    return digest.digest()


def file_digest(path: Path) -> bytes:
    """Return 16 bytes that change whenever the content of a file does.

    Raises:
        OSError: the file cannot be read.
    """
    stat = path.stat()
    known = _digests.get(str(path))
    if known is not None and known[:2] == (stat.st_size, stat.st_mtime_ns):
        return known[2]
    digest = blake2b(path.read_bytes(), digest_size=16).digest()
    _digests[str(path)] = (stat.st_size, stat.st_mtime_ns, digest)
    return digest
