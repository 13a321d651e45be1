"""Which utterances of a run can be used: no bad audio, no foreign characters, no label longer than its frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from fedasr.config.schema import DataConfig
from fedasr.data.corpus import Corpus
from fedasr.data.ctc_frames import frames_needed
from fedasr.data.files import DURATION, TWICE
from fedasr.data.speech import Encoder, frames_of
from fedasr.errors import InputError

OutputFrames = Callable[[torch.Tensor], torch.Tensor]

EMPTY = "the transcript is empty"
TOO_LONG = "the transcript needs"
UNKNOWN = "characters outside the tokenizer"
"""How the reasons begin."""


def usable_rows(
    corpus: Corpus,
    config: DataConfig,
    tokenizer: Encoder,
    output_frames: OutputFrames,
    transcripts: bool | npt.NDArray[np.bool_] = True,
) -> tuple[npt.NDArray[np.bool_], dict[str, int]]:
    """Return which utterances can be used, shape ``(utterances,)``, and how many cannot, by kind of reason.

    Only utterances of the training and test split are looked at.

    Args:
        corpus: any.
        config: the splits, and what to do about an utterance that cannot be used.
        tokenizer: of the models.
        output_frames: how many a model makes of input frames.
        transcripts: whether they are read, of all or of each utterance; without, any will do.

    Raises:
        InputError: one cannot, and ``data.on_bad_audio`` is ``stop``; the line names it.
    """
    splits = np.asarray(corpus.columns["split"])
    used = np.flatnonzero((splits == config.train_split) | (splits == config.test_split))
    read = used[np.broadcast_to(transcripts, len(corpus))[used]]
    bad = dict(bad_transcripts(corpus, read, tokenizer))
    exact = getattr(corpus, "bad_audio", None)
    if exact is not None:
        bad.update(exact(used))
        bad.update(too_short(corpus, read, tokenizer, output_frames, config, bad))
    usable = np.ones(len(corpus), bool)
    for row in sorted(bad):
        if config.on_bad_audio == "stop":
            raise InputError(
                f"{bad[row]}; mend or remove it, or set data.on_bad_audio=skip"
                f" ({len(bad)} of {len(used)} utterances cannot be used)",
                where=corpus.where(row),
            )
        usable[row] = False
    return usable, dict(sorted(Counter(kind_of(reason) for reason in bad.values()).items()))


def kind_of(reason: str) -> str:
    """Return what kind of reason one is, as a summary counts it."""
    kinds = {
        EMPTY: "empty transcript",
        UNKNOWN: "characters outside the alphabet",
        TOO_LONG: "transcript too long for its audio",
        TWICE: "audio listed more than once",
        DURATION: "duration_s other than that of the audio",
    }
    return next((kind for start, kind in kinds.items() if reason.startswith(start)), "audio that cannot be used")


def bad_transcripts(corpus: Corpus, rows: npt.NDArray[np.int64], tokenizer: Encoder) -> list[tuple[int, str]]:
    """Return the rows whose transcript is empty or outside the tokenizer, each with the reason."""
    texts = corpus.columns["text"]
    reasons: dict[str, str | None] = {}
    problems: list[tuple[int, str]] = []
    for row in rows.tolist():
        text = str(texts[row])
        if text not in reasons:
            reasons[text] = transcript_problem(text, tokenizer)
        reason = reasons[text]
        if reason is not None:
            problems.append((row, reason))
    return problems


def transcript_problem(text: str, tokenizer: Encoder) -> str | None:
    """Return why a transcript cannot be used, or None."""
    try:
        return None if tokenizer.encode(text) else EMPTY
    except InputError as error:
        return str(error)


def too_short(
    corpus: Corpus,
    rows: npt.NDArray[np.int64],
    tokenizer: Encoder,
    output_frames: OutputFrames,
    config: DataConfig,
    known: dict[int, str],
) -> list[tuple[int, str]]:
    """Return the rows whose transcript needs more CTC frames than the audio gives, each with the reason."""
    texts = corpus.columns["text"]
    durations = np.asarray(corpus.columns["duration_s"], dtype=np.float32)
    good = [row for row in rows.tolist() if row not in known]
    if not good:
        return []
    frames = output_frames(torch.from_numpy(frames_of(durations[good], config.features.hop_ms))).tolist()
    needed: dict[str, int] = {}
    problems = []
    for row, available in zip(good, frames, strict=True):
        text = str(texts[row])
        if text not in needed:
            needed[text] = frames_needed(tokenizer.encode(text))
        if needed[text] > available:
            problems.append(
                (
                    row,
                    f"{TOO_LONG} {needed[text]} frames but {durations[row]:.2f} s of audio give {available}",
                )
            )
    return problems
