"""Every problem of a manifest, with its line."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fedasr.data.audio import AudioProblem, decode, samples_at_16khz
from fedasr.data.corpus import SAMPLE_RATE_HZ
from fedasr.data.ctc_frames import frames_needed
from fedasr.data.files import agree, disagreement
from fedasr.data.manifest import ManifestError, Table, parse_duration, read_table

LATIN = frozenset("abcdefghijklmnopqrstuvwxyz' ")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a manifest.

    ``line`` is 0 where the whole file is meant. Kinds: ``manifest``, ``path``, ``speaker``, ``transcript``,
    ``characters``, ``duplicate``, ``missing``, ``empty``, ``not-audio``, ``header``, ``zero-length``, ``truncated``,
    ``not-finite``, ``duration``, ``too-long`` (the transcript, for its frames) and ``sample-rate``.
    """

    line: int
    path: str
    kind: str
    message: str


def check_manifest(
    path: str | Path,
    *,
    alphabet: Iterable[str] | None = None,
    lowercase: bool = True,
    hop_ms: float = 10.0,
    subsampling: int = 4,
) -> list[Problem]:
    """Return every problem of a manifest, by line; every audio file is decoded.

    Args:
        path: the manifest. One that cannot be read as a table gives a single problem.
        alphabet: the characters that transcripts may have; None: Latin a-z, apostrophe, space and Arabic letters.
        lowercase: lower-case transcripts first, as the tokenizer does.
        hop_ms: hop of the features in milliseconds.
        subsampling: feature frames an output frame of the model; CTC needs an output frame a character, and one more
            between equal neighbours.
    """
    try:
        table = read_table(path)
    except ManifestError as error:
        return [Problem(error.line, "", "manifest", error.reason)]
    problems = [*_transcripts(table, alphabet, lowercase), *_rows(table)]
    lengths: dict[int, int] = {}
    rates: dict[int, int] = {}
    for row, line in enumerate(table.lines):
        audio = table.columns["path"][row]
        if not audio:
            continue
        try:
            samples, rate = decode(table.path.parent / audio)
        except AudioProblem as error:
            problems.append(Problem(line, audio, error.kind, f"the audio {error}"))
            continue
        lengths[row], rates[row] = len(samples), rate
    problems += _durations(table, lengths, rates)
    problems += _mixed_rates(table, rates)
    hop = round(hop_ms * SAMPLE_RATE_HZ / 1000)
    frames = {row: samples_at_16khz(n, rates[row]) // hop + 1 for row, n in lengths.items()}
    problems += _too_long(table, {row: -(-n // subsampling) for row, n in frames.items()}, lowercase)
    return sorted(problems, key=lambda problem: problem.line)


def normalise(text: str, lowercase: bool = True) -> str:
    """Return a transcript in Unicode form NFC, white space collapsed, lower case where asked for."""
    return " ".join(unicodedata.normalize("NFC", text.lower() if lowercase else text).split())


def _transcripts(table: Table, alphabet: Iterable[str] | None, lowercase: bool) -> Iterator[Problem]:
    known = None if alphabet is None else frozenset(alphabet)
    for line, path, text in zip(table.lines, table.columns["path"], table.columns["text"], strict=True):
        text = normalise(text, lowercase)
        if not text:
            yield Problem(line, path, "transcript", "the transcript is empty")
        unknown = sorted({c for c in text if not (_usual(c) if known is None else c in known)})
        if unknown:
            named = ", ".join(f"'{c}' (U+{ord(c):04X})" if c.isprintable() else f"U+{ord(c):04X}" for c in unknown)
            yield Problem(line, path, "characters", f"the transcript has characters outside the alphabet: {named}")


def _usual(character: str) -> bool:
    """Say whether a character is in the default alphabet; Arabic letters and marks, not digits or punctuation."""
    if character.lower() in LATIN:
        return True
    return "\u0600" <= character <= "\u06ff" and unicodedata.category(character)[0] in "LM"


def _rows(table: Table) -> Iterator[Problem]:
    """Yield what is wrong with paths, speakers and durations by themselves."""
    first: dict[str, int] = {}
    for row, line in enumerate(table.lines):
        path = table.columns["path"][row]
        if not path:
            yield Problem(line, path, "path", "the path is empty")
        elif (before := first.setdefault(os.path.normpath(path), line)) != line:
            yield Problem(line, path, "duplicate", f"the same file as line {before}")
        if not table.columns["speaker"][row]:
            yield Problem(line, path, "speaker", "the speaker is empty")
        try:
            parse_duration(_declared(table, row), table.path, line)
        except ManifestError as error:
            yield Problem(line, path, "duration", error.reason)


def _declared(table: Table, row: int) -> str:
    durations = table.columns.get("duration_s")
    return durations[row] if durations else ""


def _durations(table: Table, lengths: dict[int, int], rates: dict[int, int]) -> Iterator[Problem]:
    for row, length in lengths.items():
        try:
            declared = parse_duration(_declared(table, row), table.path, table.lines[row])
        except ManifestError:
            continue  # reported with the row
        if declared == declared and not agree(declared, length / rates[row]):
            message = disagreement(declared, length / rates[row])
            yield Problem(table.lines[row], table.columns["path"][row], "duration", message)


def _mixed_rates(table: Table, rates: dict[int, int]) -> Iterator[Problem]:
    if not rates:
        return
    usual, count = Counter(rates.values()).most_common(1)[0]
    for row, rate in rates.items():
        if rate != usual:
            message = f"the sample rate is {rate} Hz; {count} of {len(rates)} files have {usual} Hz"
            yield Problem(table.lines[row], table.columns["path"][row], "sample-rate", message)


def _too_long(table: Table, available: dict[int, int], lowercase: bool) -> Iterator[Problem]:
    for row, frames in available.items():
        needed = frames_needed(normalise(table.columns["text"][row], lowercase))
        if needed > frames:
            message = f"the transcript needs {needed} output frames, but the audio gives {frames}"
            yield Problem(table.lines[row], table.columns["path"][row], "too-long", message)
