"""A teacher labels a manifest, or what a run would have labelled, in one process or several."""

from __future__ import annotations

import multiprocessing
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fedasr.config import load
from fedasr.config.rules.distillation import of_counterfactual
from fedasr.config.schema import DataConfig
from fedasr.data.corpus import Corpus
from fedasr.data.counterfactual import VOICES
from fedasr.data.posteriors import TARGETS, Header, PosteriorStore
from fedasr.data.sources import open_corpus
from fedasr.errors import InputError, RunFailed, nearest
from fedasr.experiment import Experiment
from fedasr.references import load_reference
from fedasr.runtime.threads import one_thread, threads_restored
from fedasr.teaching.report import described, facts
from fedasr.teaching.teacher import Teacher
from fedasr.teaching.writing import Part, Rows, in_other_voices, write_part

UNLABELLED = "fedasr.strategies.mixture:unlabelled_rows"


@dataclass(frozen=True)
class Request:
    """What is to be labelled, as the options of ``fedasr posteriors write`` say; each process reads it anew."""

    teacher: Path
    out: Path
    config: str | None
    overrides: tuple[str, ...]
    manifest: Path | None
    split: str | None
    targets: str
    top_k: int
    beam: int
    n_best: int
    counterfactual: str = "none"


@dataclass(frozen=True)
class Work:
    """What a request comes to."""

    teacher: Teacher
    header: Header
    corpus: Corpus
    data: DataConfig
    rows: Rows


def work_of(request: Request) -> Work:
    """Return what a request comes to.

    Raises:
        InputError: the teacher, the config or the manifest is wrong, or nothing is to be labelled.
    """
    if (request.config is None) == (request.manifest is None):
        raise InputError("expected one of --config and --manifest", where="fedasr posteriors write")
    teacher = Teacher(request.teacher)
    if request.config is not None:
        config = load(request.config, [*request.overrides, f"distillation.teacher={request.teacher.resolve()}"])
        run = Experiment(config)
        asked = config.distillation
        header = teacher.header(asked.targets, asked.top_k, asked.beam, asked.n_best, asked.counterfactual)
        rows: Rows = load_reference(UNLABELLED)(run)
        return Work(teacher, header, run.corpus, config.data, rows)
    if request.targets not in TARGETS:
        guess = nearest(request.targets, TARGETS)
        raise InputError(f"is '{request.targets}'{guess}; expected one of: {', '.join(TARGETS)}", where="--targets")
    voices = ("none", *VOICES)
    if request.counterfactual not in voices:
        guess = nearest(request.counterfactual, voices)
        raise InputError(
            f"is '{request.counterfactual}'{guess}; expected one of: {', '.join(voices)}", where="--counterfactual"
        )
    if problem := of_counterfactual(request.targets, request.counterfactual):
        raise InputError(f"is '{request.counterfactual}' but {problem}", where="--counterfactual")
    data = replace(
        teacher.config.data,
        corpus="manifest",
        manifest=str(request.manifest),
        where={},
        public_share=0.0,
        min_seconds=0.0,
        max_seconds=1e6,
    )
    corpus = open_corpus(data, teacher.config.seed)
    splits = np.asarray(corpus.columns["split"])
    rows = np.arange(len(corpus)) if request.split is None else np.flatnonzero(splits == request.split)
    if not len(rows):
        known = sorted({str(split) for split in splits})
        raise InputError(
            f"no utterances in split '{request.split}'{nearest(str(request.split), known)}; the manifest has:"
            f" {', '.join(known)}",
            where=str(request.manifest),
        )
    header = teacher.header(request.targets, request.top_k, request.beam, request.n_best, request.counterfactual)
    return Work(teacher, header, corpus, data, rows)


def parts_of(workers: int, part: str | None) -> list[Part]:
    """Return the parts that are written here.

    Raises:
        InputError: ``part`` is no part.
    """
    number, of = 1, 1
    if part is not None:
        match = re.fullmatch(r"(\d+)/(\d+)", part)
        number, of = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 1 <= number <= of:
            raise InputError(f"is '{part}'; expected NUMBER/OF, such as 1/4", where="--part")
    return [Part((number - 1) * workers + worker, of * workers) for worker in range(workers)]


def write_all(request: Request, workers: int, part: str | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Write the parts of a request that are to be written here; return what the store then holds.

    Raises:
        InputError: as ``work_of`` and ``write_part``.
        RunFailed: a worker has ended early.
    """
    parts = parts_of(workers, part)
    work = work_of(request)
    in_other_voices(work.corpus, work.header)  # refuses what cannot be before the folder is made
    work.header.create(request.out)
    if len(parts) == 1:
        with threads_restored():
            one_thread()  # the last bits depend on how many there are
            write(work, request.out, parts[0], say)
    else:
        context = multiprocessing.get_context("spawn")
        processes = [context.Process(target=write_in_process, args=(request, each)) for each in parts]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        failed = [process.exitcode for process in processes if process.exitcode]
        if failed:
            raise RunFailed(
                f"{len(failed)} of {workers} workers ended early, with status {failed[0]}; what they wrote is kept:"
                " give the command once more"
            )
    store = PosteriorStore(request.out)
    say(f"{request.out}: {described(store)}")
    return facts(store)


def write_in_process(request: Request, part: Part) -> None:
    """Write a part in a process of its own, which ends with status 2 where the input is wrong."""
    one_thread()
    try:
        write(work_of(request), request.out, part, lambda text: None)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None


def write(work: Work, folder: Path, part: Part, say: Callable[[str], None]) -> None:
    """Write a part, and say every now and then what is left."""
    last_shown = None
    for left in write_part(work.teacher, work.header, work.corpus, work.data, work.rows, folder, part):
        if last_shown is None or left <= 0.9 * last_shown:
            say(f"{left:,} utterances are left")
            last_shown = left
