"""What a teacher gives a student, and which of the published findings hold in the small.

    python -m studies.distillation --out runs/distillation --seeds 1 2 3 4 5

For each seed a teacher (``simulations/distilled_teacher.yaml``) and from it the students of ``ARMS``
(``simulations/distilled_student.yaml``); runs that are there are not done again. Every student is also tested on the
same test speakers with poor microphones (0 to 10 dB). Prints Markdown tables: word error rates, and how much lower they
are than those of another arm, paired by seed, with 95 % t intervals. The findings are those of a million hours
(arXiv 1904.01624).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import fedasr
from fedasr.config import load
from fedasr.results.tables.statistics import mean_interval
from fedasr.runtime.launch import launch
from studies.tables import grid

TRANSCRIPTS, TAUGHT = "transcripts alone", "with the teacher"
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
}
BESIDE = {name: TRANSCRIPTS if name == TAUGHT else TAUGHT for name in ARMS if name != TRANSCRIPTS}
"""Arm → the arm that it is compared with."""
NOISY: dict[str, Any] = {"data.synthetic.min_snr_db": 0, "data.synthetic.max_snr_db": 10}
MINIATURE: dict[str, Any] = {
    "rounds": 2,
    "data.synthetic.speakers": 6,
    "data.synthetic.utterances_per_speaker": 3,
    "data.synthetic.test_speakers": 2,
    "model.channels": [8, 8],
    "model.hidden": 8,
    "interleave.labelled_share": 0.34,
    "selection.clients_per_round": 2,
    "evaluate.every": 2,
}

Rates = npt.NDArray[np.float64]


def folder(out: Path, seed: int, name: str) -> Path:
    """Return the folder of a run."""
    return out / f"{''.join(c if c.isalnum() or c == '.' else '_' for c in name)}-{seed}"


def noisy(out: Path, seed: int, name: str) -> Path:
    """Return the folder of the test of a run on noisier speech."""
    return folder(out / "noisy", seed, name)


def run_all(out: Path, seeds: Sequence[int], arms: Sequence[str], changes: dict[str, Any]) -> None:
    """Do the runs that are not there yet."""
    for seed in seeds:
        given = {"seed": seed, **changes}
        teacher = folder(out, seed, "teacher")
        launch(load("distilled_teacher", given), teacher, resume=True)
        for name in arms:
            student = folder(out, seed, name)
            keys = {**given, "distillation.teacher": str(teacher), **ARMS[name]}
            launch(load("distilled_student", keys), student, resume=True)
            test = {**given, **ALONE, **NOISY, "rounds": 0, "init_from": str(student)}
            launch(load("distilled_student", test), noisy(out, seed, name), resume=True)


def rates(out: Path, seeds: Sequence[int], name: str, noise: bool = False) -> Rates:
    """Return the word error rate of an arm, a seed each."""
    where = noisy if noise else folder
    return np.array([fedasr.load_run(where(out, seed, name)).summary["wer"] for seed in seeds])


def lower(rate: Rates, beside: Rates) -> str:
    """Return by how much a rate is lower than another, of the latter, in percent: the mean and its 95 % t interval."""
    mean, low, high = (100 * float(value) for value in mean_interval(1 - rate / beside))
    return f"{mean:+.0f} %" if len(rate) < 2 else f"{mean:+.0f} % [{low:+.0f}, {high:+.0f}]"


def body(out: Path, seeds: Sequence[int], arms: Sequence[str]) -> Iterator[list[str]]:
    """Yield a row for the teacher and one for each arm."""
    teacher = rates(out, seeds, "teacher")
    yield ["the teacher", *(f"{rate:.3f}" for rate in teacher), f"{teacher.mean():.3f}", "", "", ""]
    for name in arms:
        quiet, loud = rates(out, seeds, name), rates(out, seeds, name, noise=True)
        row = [name, *(f"{rate:.3f}" for rate in quiet), f"{quiet.mean():.3f}", f"{loud.mean():.3f}"]
        if BESIDE.get(name) not in arms:
            yield [*row, "", ""]
            continue
        other = BESIDE[name]
        pairs = ((quiet, rates(out, seeds, other)), (loud, rates(out, seeds, other, noise=True)))
        yield [*row, *(lower(mine, theirs) for mine, theirs in pairs)]


def markdown(out: Path, seeds: Sequence[int], arms: Sequence[str]) -> str:
    """Return the table."""
    head = ("WER", *(f"seed {seed}" for seed in seeds), "mean", "noisy", "lower by", "lower by, noisy")
    return grid(head, list(body(out, seeds, arms)))


def main() -> None:
    """Do the runs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--miniature", action="store_true", help="tiny runs, which show nothing: do they run?")
    given = parser.parse_args()
    run_all(given.out, given.seeds, given.arms, MINIATURE if given.miniature else {})
    print(markdown(given.out, given.seeds, given.arms))


if __name__ == "__main__":
    main()
