"""Every problem of a manifest, with its line."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.data.audio import WHOLE, AudioProblem, decode_channels, samples_at_16khz
from fedasr.data.corpus import SAMPLE_RATE_HZ
from fedasr.data.ctc_frames import frames_needed
from fedasr.data.files import agree, audio_path, disagreement
from fedasr.data.manifest import ManifestError, Table, read_table, row_duration, row_segment

WITHIN_WORDS = frozenset(" '\u2019\u02bc\u00b7\u05be\u05f3\u05f4\u200c\u200d")
"""Space, apostrophes, the Catalan middle dot, Hebrew maqaf, geresh and gershayim, the joiners of Persian and Hindi."""

SILENCE = 10 ** (-70 / 20)
"""Peak below which audio is silent: 70 dB below full scale, ten steps of 16 bits."""

CANCELLED = 0.2
"""Share of the channels' level that mixing them leaves, below which they cancel out; independent ones leave 0.7."""

Unknown = Callable[[str], Collection[str]]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a manifest.

    ``line`` is 0 where the whole file is meant. Kinds: ``manifest``, ``path``, ``speaker``, ``transcript``,
    ``characters``, ``duplicate``, ``missing``, ``empty``, ``not-audio``, ``header``, ``zero-length``, ``truncated``,
    ``not-finite``, ``scale`` (floats of integers), ``segment`` (outside its file), ``silence``, ``antiphase``,
    ``split`` (a speaker on both sides), ``duration``, ``too-long`` (the transcript, for its frames) and
    ``sample-rate``.
    """

    line: int
    path: str
    kind: str
    message: str


@dataclass(frozen=True)
class Report:
    """What was found in a manifest: every problem by line, and what is worth knowing though it is none."""

    problems: list[Problem]
    characters: str = ""
    """the characters of its transcripts, sorted"""
    left_out: dict[str, int] = field(default_factory=dict)
    """how many of its utterances a run would leave out, by reason"""


def check_manifest(
    path: str | Path,
    *,
    alphabet: Iterable[str] | None = None,
    lowercase: bool = True,
    hop_ms: float = 10.0,
    subsampling: int = 4,
    transcribed: bool = True,
) -> list[Problem]:
    """Return every problem of a manifest, by line; arguments as ``inspect_manifest``."""
    known = None if alphabet is None else frozenset(alphabet)
    unknown = unusual if known is None else (lambda text: set(normalise(text, lowercase)) - known)
    settings: dict[str, Any] = {"lowercase": lowercase, "hop_ms": hop_ms, "subsampling": subsampling}
    return inspect_manifest(path, unknown=unknown, transcribed=transcribed, **settings).problems


def has_transcripts(path: str | Path) -> bool:
    """Say whether a manifest has any transcript; of one that cannot be read nobody says that it has none."""
    try:
        return any(read_table(path, transcribed=False).columns["text"])
    except ManifestError:
        return True


def inspect_manifest(
    path: str | Path,
    *,
    unknown: Unknown,
    lowercase: bool = True,
    hop_ms: float = 10.0,
    subsampling: int = 4,
    seconds: tuple[float, float] = (0.0, 30.0),
    splits: tuple[str, str] = ("train", "test"),
    transcribed: bool = True,
) -> Report:
    """Return what is wrong with a manifest, and what a run would make of it; every audio file is decoded.

    Args:
        path: the manifest. One that cannot be read as a table gives a single problem.
        unknown: returns the characters of a transcript that no run could use.
        lowercase: lower-case transcripts first, as the tokenizer does.
        hop_ms: hop of the features in milliseconds.
        subsampling: feature frames an output frame of the model; CTC needs an output frame a character, and one more
            between equal neighbours.
        seconds: shortest and longest utterance that a run takes.
        splits: of training and of testing, which share no speaker.
        transcribed: whether it must have transcripts.
    """
    try:
        table = read_table(path, transcribed)
    except ManifestError as error:
        return Report([Problem(error.line, "", "manifest", error.reason)])
    problems = [*_rows(table), *_both_splits(table, splits)]
    if transcribed:
        problems += _transcripts(table, unknown, lowercase)
    lengths: dict[int, int] = {}
    rates: dict[int, int] = {}
    for row, line in enumerate(table.lines):
        audio = table.columns["path"][row]
        if not audio:
            continue
        try:
            part = row_segment(table, row, row_duration(table, row))
        except ManifestError:
            part = WHOLE  # reported with the row
        try:
            channels, rate = decode_channels(audio_path(table.path.parent, audio), part)
        except AudioProblem as error:
            problems.append(Problem(line, audio, error.kind, f"the audio {error}"))
            continue
        heard = _inaudible(channels)
        if heard is not None:
            problems.append(Problem(line, audio, *heard))
        lengths[row], rates[row] = len(channels), rate
    problems += _durations(table, lengths, rates)
    problems += _mixed_rates(table, rates)
    hop = round(hop_ms * SAMPLE_RATE_HZ / 1000)
    frames = {row: samples_at_16khz(n, rates[row]) // hop + 1 for row, n in lengths.items()}
    problems += _too_long(table, {row: -(-n // subsampling) for row, n in frames.items()}, lowercase)
    texts = (normalise(text, lowercase) for text in table.columns["text"])
    return Report(
        sorted(problems, key=lambda problem: problem.line),
        "".join(sorted(set().union(*texts))),
        _left_out({row: n / rates[row] for row, n in lengths.items()}, seconds),
    )


def _left_out(lasting: dict[int, float], seconds: tuple[float, float]) -> dict[str, int]:
    """Return how many utterances are shorter or longer than a run takes them."""
    shortest, longest = seconds
    counts = {
        f"shorter than data.min_seconds ({shortest:g} s)": sum(s < shortest for s in lasting.values()),
        f"longer than data.max_seconds ({longest:g} s)": sum(s > longest for s in lasting.values()),
    }
    return {reason: count for reason, count in counts.items() if count}


def _inaudible(channels: npt.NDArray[np.float32]) -> tuple[str, str] | None:
    """Return the kind and the description of audio in which the reader, which mixes channels, hears nothing."""
    swing = channels - channels.mean(axis=0)
    peak = float(np.abs(swing).max())
    if peak < SILENCE:
        return "silence", f"the audio is silent: it never leaves its mean by more than {peak:.1e} of full scale"
    if channels.shape[1] > 1:
        whole, mixed = np.sqrt(np.mean(swing**2)), np.sqrt(np.mean(swing.mean(axis=1) ** 2))
        if mixed < CANCELLED * whole:
            return "antiphase", (
                f"the channels of the audio cancel out when they are mixed, to {mixed / whole:.1%}; reverse the"
                " polarity of one, or keep one"
            )
    return None


def _both_splits(table: Table, splits: tuple[str, str]) -> Iterator[Problem]:
    """Yield the first row of each speaker who is trained on in one row and tested on in another."""
    where: dict[str, dict[str, int]] = {}
    for row, split in enumerate(table.columns.get("split", ())):
        if split in splits:
            where.setdefault(table.columns["speaker"][row], {}).setdefault(split, row)
    for speaker, rows in where.items():
        if len(rows) > 1:
            row = max(rows.values())
            other = table.lines[min(rows.values())]
            message = f"speaker '{speaker}' is in split '{table.columns['split'][row]}', and on line {other} in another"
            yield Problem(table.lines[row], table.columns["path"][row], "split", message)


def normalise(text: str, lowercase: bool = True) -> str:
    """Return a transcript in Unicode form NFC, white space collapsed, lower case where asked for."""
    return " ".join(unicodedata.normalize("NFC", text.lower() if lowercase else text).split())


def _transcripts(table: Table, unknown: Unknown, lowercase: bool) -> Iterator[Problem]:
    for line, path, text in zip(table.lines, table.columns["path"], table.columns["text"], strict=True):
        if not normalise(text, lowercase):
            yield Problem(line, path, "transcript", "the transcript is empty")
        foreign = sorted(unknown(text))
        if foreign:
            named = ", ".join(f"'{c}' (U+{ord(c):04X})" if c.isprintable() else f"U+{ord(c):04X}" for c in foreign)
            yield Problem(line, path, "characters", f"the transcript has characters outside the alphabet: {named}")


def unusual(text: str) -> set[str]:
    """Return the characters of a transcript that no alphabet is expected to have: digits, punctuation, symbols.

    Letters and marks of any script are usual, and so is what stands within words.
    """
    characters = set(normalise(text)) - WITHIN_WORDS
    return {character for character in characters if unicodedata.category(character)[0] not in "LM"}


def _rows(table: Table) -> Iterator[Problem]:
    """Yield what is wrong with paths, speakers and durations by themselves."""
    first: dict[tuple[str, str], int] = {}
    offsets = table.columns.get("offset", [""] * len(table))
    for row, line in enumerate(table.lines):
        path = table.columns["path"][row]
        if not path:
            yield Problem(line, path, "path", "the path is empty")
        elif (before := first.setdefault((os.path.normpath(path), offsets[row]), line)) != line:
            yield Problem(line, path, "duplicate", f"the same file as line {before}")
        if not table.columns["speaker"][row]:
            yield Problem(line, path, "speaker", "the speaker is empty")
        try:
            row_segment(table, row, row_duration(table, row))
        except ManifestError as error:
            yield Problem(line, path, "duration", error.reason)


def _durations(table: Table, lengths: dict[int, int], rates: dict[int, int]) -> Iterator[Problem]:
    for row, length in lengths.items():
        try:
            declared = row_duration(table, row)
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
