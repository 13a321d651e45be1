"""How much of what transcripts give do labels of the devices' own give, and what keeps them from collapsing.

    python -m studies.self_labels --out runs/self_labels --seeds 1 2 3

For each seed a public seed model (``simulations/self_labels_public.yaml``) and from it the runs of ``ARMS``
(``simulations/self_labels.yaml``); runs that are there are not done again. Prints a Markdown table of word error rates
after the last round. With ``--public-rounds 6`` the seed model is a poor one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import fedasr
from fedasr.config import load
from fedasr.runtime.launch import launch
from studies.tables import grid

TRUTH = {"client.labels": "truth", "self_labels.threshold": [0.9, 0.8]}
BARE = {"self_labels.threshold": [0.0, 0.0], "self_labels.guard": []}
CONTINUAL = {"stream.arrival": "poisson", "stream.periods": 5, "stream.keep": "window", "stream.window": 2}
"""Each device holds the speech of the last two of five periods."""
CONTINUALLY = "continual, "
TRANSCRIPTS = "transcripts"
ARMS: dict[str, dict[str, Any]] = {
    TRANSCRIPTS: TRUTH,
    "own labels": {},
    "frozen teacher": {"self_labels.teacher": "frozen"},
    "global teacher": {"self_labels.teacher": "global"},
    "student not augmented": {"self_labels.augment": False},
    "no threshold": {"self_labels.threshold": [0.0, 0.0]},
    "no threshold, without `empty`": {
        "self_labels.threshold": [0.0, 0.0],
        "self_labels.guard": ["repeated", "same"],
    },
    "no threshold, without `repeated`": {
        "self_labels.threshold": [0.0, 0.0],
        "self_labels.guard": ["empty", "same"],
    },
    "no threshold, without `same`": {
        "self_labels.threshold": [0.0, 0.0],
        "self_labels.guard": ["empty", "repeated"],
    },
    "no threshold, no guard, global teacher": {**BARE, "self_labels.teacher": "global"},
    "own labels, rate × 5": {"client.learning_rate": 0.01},
    "no threshold, no guard, rate × 5": {**BARE, "client.learning_rate": 0.01},
    "global teacher, rate × 5": {"self_labels.teacher": "global", "client.learning_rate": 0.01},
    "no threshold, no guard, global teacher, rate × 5": {
        **BARE,
        "self_labels.teacher": "global",
        "client.learning_rate": 0.01,
    },
    CONTINUALLY + TRANSCRIPTS: {**CONTINUAL, **TRUTH},
    CONTINUALLY + "labels of each round": CONTINUAL,
    CONTINUALLY + "labels on arrival": {**CONTINUAL, "self_labels.made": "on-arrival"},
}
MINIATURE: dict[str, Any] = {
    "rounds": 2,
    "data.synthetic.speakers": 4,
    "data.synthetic.utterances_per_speaker": 4,
    "data.synthetic.test_speakers": 2,
    "model.channels": [8, 8],
    "model.hidden": 8,
    "evaluate.every": 2,
}
MINIATURE_DEVICES: dict[str, Any] = {
    "rounds": 5,
    "selection.clients_per_round": 2,
    "self_labels.threshold": [0.0, 0.0],
}


def folder(out: Path, seed: int, name: str) -> Path:
    """Return the folder of a run."""
    kept = "".join(c if c.isalnum() else "_" for c in name)
    return out / f"{kept}-{seed}"


def run_all(
    out: Path,
    seeds: Sequence[int],
    arms: Sequence[str],
    executor: str,
    public_rounds: int | None = None,
    miniature: bool = False,
) -> None:
    """Do the runs that are not there yet."""
    smaller = MINIATURE if miniature else {}
    of_public = {} if public_rounds is None else {"rounds": public_rounds, "evaluate.every": public_rounds}
    for seed in seeds:
        public = folder(out, seed, "public")
        launch(load("self_labels_public", {"seed": seed, **smaller, **of_public}), public, resume=True)
        common = {"seed": seed, "init_from": str(public), "runtime.executor": executor}
        common.update({**MINIATURE, **MINIATURE_DEVICES} if miniature else {})
        for name in arms:
            changes = {**common, **ARMS[name]}
            launch(load("self_labels", changes), folder(out, seed, name), resume=True)


def markdown(out: Path, seeds: Sequence[int], arms: Sequence[str]) -> str:
    """Return the table: a row an arm, its error rates, and the share of what transcripts gain in the same setting."""
    start = np.array([fedasr.load_run(folder(out, seed, arms[0])).initial["wer"] for seed in seeds])
    head = ("", *(f"seed {seed}" for seed in seeds), "mean WER", "of the gain", "learnt", "WER of labels", "empty")
    body = [["the start", *(f"{wer:.3f}" for wer in start), f"{start.mean():.3f}", "0", "", "", ""]]
    for name in arms:
        runs = [fedasr.load_run(folder(out, seed, name)) for seed in seeds]
        wer = np.array([run.last("wer") for run in runs])
        full = (CONTINUALLY if name.startswith(CONTINUALLY) else "") + TRANSCRIPTS
        best = np.array([fedasr.load_run(folder(out, seed, full)).last("wer") for seed in seeds])
        gain = (start - wer).mean() / (start - best).mean()
        last = [np.mean([run.last(column) for run in runs]) for column in ("kept_share", "label_wer", "empty_share")]
        shown = [f"{value:.2f}" if value == value else "" for value in last]
        body.append([name, *(f"{each:.3f}" for each in wer), f"{wer.mean():.3f}", f"{100 * gain:.0f} %", *shown])
    return grid(head, body)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--arms", nargs="+", default=list(ARMS))
    parser.add_argument("--executor", default="pool")
    parser.add_argument("--public-rounds", type=int, help="of the public seed model; default: those of its config")
    parser.add_argument("--miniature", action="store_true", help="tiny runs, which show nothing: do they run?")
    given = parser.parse_args()
    run_all(given.out, given.seeds, given.arms, given.executor, given.public_rounds, given.miniature)
    print(markdown(given.out, given.seeds, given.arms))
