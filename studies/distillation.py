"""What a teacher gives a student, and which of the published findings hold in the small.

    python -m studies.distillation --out runs/distillation --seeds 1 2 3 4 5
    python -m studies.distillation --speech sentences --out runs/distillation --seeds 1 2 3 4 5

For each seed a teacher and from it the students of ``ARMS``: of synthetic digit strings
(``simulations/distilled_teacher.yaml``, ``distilled_student.yaml``), or of real sentences
(``distilled_sentences_teacher.yaml``, ``distilled_sentences_student.yaml``, from seed models that all seeds share).
Runs that are there are not done again. Every student is also tested on noisy speech of the same test speakers, 0 to
10 dB: synthetic speech into poor microphones, recordings with pink noise. Prints Markdown tables: error rates, and how
much lower they are than those of another arm, paired by seed, with 95 % t intervals. The findings are those of a
million hours (arXiv 1904.01624).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import fedasr
from fedasr.config import load
from fedasr.results.tables.statistics import mean_interval
from fedasr.runtime.launch import launch
from studies.tables import grid

TRANSCRIPTS, TAUGHT, CONSTANT = "transcripts alone", "with the teacher", "constant rate"
PUBLIC = "with the public model as teacher"
ALONE: dict[str, Any] = {"distillation.teacher": None, "distillation.shift_frames": 0}
ARMS: dict[str, dict[str, Any]] = {
    TRANSCRIPTS: ALONE,
    TAUGHT: {},
    "segregated": {"interleave.order": "segregated"},
    "labelled rate × 2": {"interleave.labelled_rate": 2.0},
    "labelled rate × 0.5": {"interleave.labelled_rate": 0.5},
    "top 1": {"distillation.top_k": 1},
    "top 2": {"distillation.top_k": 2},
    "top 4": {"distillation.top_k": 4},
    CONSTANT: {"client.schedule": "constant"},
    "segregated, constant rate": {"client.schedule": "constant", "interleave.order": "segregated"},
    PUBLIC: {},
}
BESIDE = {name: TAUGHT for name in ARMS if name not in (TRANSCRIPTS, TAUGHT)}
"""Arm → the arm that it is compared with."""
BESIDE |= {TAUGHT: TRANSCRIPTS, "segregated, constant rate": CONSTANT, PUBLIC: TRANSCRIPTS}


class Speech(NamedTuple):
    """The runs on one kind of speech."""

    teacher: str
    student: str
    noisy: dict[str, Any]
    """The keys of the test on noisy speech."""
    miniature: dict[str, Any]
    seeds: tuple[str, ...]
    """Configs of the public seed models, each from the one before it; the last is the teacher of arm ``PUBLIC``."""
    seed_miniature: tuple[dict[str, Any], ...]
    student_model: dict[str, Any]
    """The keys that make a seed model one of the student."""


DIGITS = Speech(
    teacher="distilled_teacher",
    student="distilled_student",
    noisy={"data.synthetic.min_snr_db": 0, "data.synthetic.max_snr_db": 10},
    miniature={
        "rounds": 2,
        "data.synthetic.speakers": 6,
        "data.synthetic.utterances_per_speaker": 3,
        "data.synthetic.test_speakers": 2,
        "model.channels": [8, 8],
        "model.hidden": 8,
        "interleave.labelled_share": 0.34,
        "selection.clients_per_round": 2,
        "evaluate.every": 2,
    },
    seeds=(),
    seed_miniature=(),
    student_model={},
)
SMALL: dict[str, Any] = {"rounds": 1, "model.channels": [8, 8], "model.hidden": 8, "model.layers": 1}
SENTENCES = Speech(
    teacher="distilled_sentences_teacher",
    student="distilled_sentences_student",
    noisy={"data.corpus": "studies.noisy_speech:noisy_manifest"},
    miniature={**SMALL, "data.max_seconds": 2.2, "selection.clients_per_round": 2, "evaluate.every": 1},
    seeds=("seed_sentences", "seed_readers"),
    seed_miniature=(
        {**SMALL, "data.synthetic.speakers": 4, "data.synthetic.utterances_per_speaker": 4},
        {**SMALL, "data.max_seconds": 2.8},
    ),
    student_model={"model.encoder": "lstm", "model.channels": [32, 64], "model.hidden": 128, "model.layers": 1},
)
SPEECH = {"digits": DIGITS, "sentences": SENTENCES}

Rates = npt.NDArray[np.float64]


def folder(out: Path, seed: int, name: str) -> Path:
    """Return the folder of a run."""
    return out / f"{''.join(c if c.isalnum() or c == '.' else '_' for c in name)}-{seed}"


def noisy(out: Path, seed: int, name: str) -> Path:
    """Return the folder of the test of a run on noisier speech."""
    return folder(out / "noisy", seed, name)


def seed_models(out: Path, speech: Speech, of: str, changes: dict[str, Any], miniature: bool) -> dict[str, Any]:
    """Do the runs of the seed models that are not there yet, and return the keys of who starts from the last."""
    start: dict[str, Any] = {}
    for at, name in enumerate(speech.seeds):
        smaller = speech.seed_miniature[at] if miniature else {}
        launch(load(name, {**changes, **smaller, **start}), out / f"{name}{of}", resume=True)
        start = {"init_from": str(out / f"{name}{of}")}
    return start


def run_all(
    out: Path,
    speech: Speech,
    seeds: Sequence[int],
    arms: Sequence[str],
    miniature: bool = False,
    share: float | None = None,
) -> None:
    """Do the runs that are not there yet.

    Args:
        out: where they are.
        speech: the kind of speech.
        seeds: of each of them a teacher and its students.
        arms: the students.
        miniature: tiny runs.
        share: of the speakers who are transcribed; None: that of the config.
    """
    changes = speech.miniature if miniature else {}
    if share is not None:
        changes = {**changes, "interleave.labelled_share": share}
    before = seed_models(out, speech, "", {}, miniature)
    start = seed_models(out, speech, "_student", speech.student_model, miniature)
    for seed in seeds:
        given = {"seed": seed, **changes}
        teacher = folder(out, seed, "teacher")
        launch(load(speech.teacher, {**given, **before}), teacher, resume=True)
        for name in arms:
            student = folder(out, seed, name)
            taught_by = before["init_from"] if name == PUBLIC else str(teacher)
            keys = {**given, **start, "distillation.teacher": taught_by, **ARMS[name]}
            launch(load(speech.student, keys), student, resume=True)
            test = {**given, **ALONE, **speech.noisy, "rounds": 0, "init_from": str(student)}
            launch(load(speech.student, test), noisy(out, seed, name), resume=True)


def rates(out: Path, seeds: Sequence[int], name: str, metric: str = "wer", noise: bool = False) -> Rates:
    """Return the error rate of an arm, a seed each."""
    where = noisy if noise else folder
    return np.array([fedasr.load_run(where(out, seed, name)).last(metric) for seed in seeds])


def lower(rate: Rates, beside: Rates) -> str:
    """Return by how much a rate is lower than another, of the latter, in percent: the mean and its 95 % t interval."""
    mean, low, high = (100 * float(value) for value in mean_interval(1 - rate / beside))
    return f"{mean:+.0f} %" if len(rate) < 2 else f"{mean:+.0f} % [{low:+.0f}, {high:+.0f}]"


def body(out: Path, seeds: Sequence[int], arms: Sequence[str], metric: str) -> Iterator[list[str]]:
    """Yield a row for the teacher and one for each arm."""
    teacher = rates(out, seeds, "teacher", metric)
    yield ["the teacher", *(f"{rate:.3f}" for rate in teacher), f"{teacher.mean():.3f}", "", "", ""]
    for name in arms:
        quiet, loud = (rates(out, seeds, name, metric, noise) for noise in (False, True))
        row = [name, *(f"{rate:.3f}" for rate in quiet), f"{quiet.mean():.3f}", f"{loud.mean():.3f}"]
        if BESIDE.get(name) not in arms:
            yield [*row, "", ""]
            continue
        beside = (rates(out, seeds, BESIDE[name], metric, noise) for noise in (False, True))
        yield [*row, *(lower(mine, theirs) for mine, theirs in zip((quiet, loud), beside, strict=True))]


def markdown(out: Path, seeds: Sequence[int], arms: Sequence[str], metric: str = "wer") -> str:
    """Return the table of one error rate."""
    head = (metric.upper(), *(f"seed {seed}" for seed in seeds), "mean", "noisy", "lower by", "lower by, noisy")
    return grid(head, list(body(out, seeds, arms, metric)))


def main() -> None:
    """Do the runs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", choices=sorted(SPEECH), default="digits")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), help="all that there are of the speech, by default")
    parser.add_argument("--share", type=float, help="of the speakers who are transcribed, instead of 0.05")
    parser.add_argument("--miniature", action="store_true", help="tiny runs, which show nothing: do they run?")
    given = parser.parse_args()
    speech = SPEECH[given.speech]
    arms = given.arms or [name for name in ARMS if name != PUBLIC or speech.seeds]
    if PUBLIC in arms and not speech.seeds:
        parser.error(f"there is no public model of {given.speech}")
    run_all(given.out, speech, given.seeds, arms, given.miniature, given.share)
    for metric in ("wer", "cer") if given.speech == "sentences" else ("wer",):
        print(markdown(given.out, given.seeds, arms, metric))


if __name__ == "__main__":
    main()
