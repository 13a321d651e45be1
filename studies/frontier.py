"""Word error rate against bytes: codecs both ways, BMUF and gradient threshold compression, at equal data.

    FEDASR_DATA=FOLDER python -m studies.frontier --out runs/frontier --record docs/results/compression_frontier
    python -m studies.frontier_tables docs/results/compression_frontier --figure docs/results/compression_frontier.png \
      --page docs/results/compression_frontier.md

Every arm takes equally many batches on equally many workers, all of whom take part in each round; what differs is after
how many of them they send, and what. Cells that are done are kept; ``--minutes`` ends the study early, whole seeds
first. ``--miniature`` does a few tiny ones.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from fedasr.files import write_text
from fedasr.results.load import Run
from studies.leakage import finished

Tree = dict[str, Any]

TABLE = "frontier.csv"
WORKERS, BATCH, BATCHES = 4, 8, 150
"""Batches of a worker over the run."""
MODEL: Tree = {"name": "ctc", "encoder": "blstm", "channels": [16, 24], "hidden": 32, "alphabet": "latin"}
FEATURES: Tree = {"hop_ms": 20, "window_ms": 40}
KEYWORDS: Tree = {
    "grammar": "keywords",
    "clip_seconds": 1.0,
    "activity": "constant",
    "test_speakers": 48,
    "test_utterances_per_speaker": 4,
}
ROOM: Tree = {"min_snr_db": 3, "max_snr_db": 12}
"""Noisy rooms, which the public initial model has never heard."""
SPEECH: dict[str, Tree] = {
    "synthetic": {
        "corpus": "synthetic",
        "synthetic": {**KEYWORDS, **ROOM, "speakers": 100, "utterances_per_speaker": 10, "seed": 1},
    },
    "real": {
        "corpus": "manifest",
        "manifest": "${oc.env:FEDASR_DATA,../shared/data}/speech_commands_v2_testset_mini/manifest.csv",
        "on_bad_audio": "skip",
    },
}
"""All seeds hear the same speech; they differ in which of it a worker has, in the order and in what codecs draw."""
PARTITIONS = {"IID": "iid", "by speaker": "grouped"}
PUBLIC_PASSES = 40
RATE = 0.1
SEEDS = (1, 2, 3)
START = "start"


@dataclass(frozen=True)
class Arm:
    """A way to train.

    Attributes:
        family: by which figures and tables group.
        steps: batches between messages.
        compression: the section.
        strategy: the section's changes; FedAvg without any.
    """

    family: str
    steps: int
    compression: Tree = field(default_factory=dict)
    strategy: Tree = field(default_factory=dict)


AVERAGING, UP, BOTH, GTC, BMUF = "averaging", "codec up", "codec up and down", "GTC up and down", "BMUF"
BLOCK: Tree = {"name": "bmuf", "block_form": "nesterov"}
TOP: Tree = {"density": 0.01}


def both(codec: str, **options: Any) -> Tree:
    """Return section ``compression`` with a codec each way."""
    given = {f"{way}_options": options for way in ("up", "down")} if options else {}
    return {"up": codec, "down": codec, **given}


ARMS: dict[str, Arm] = {
    "every batch": Arm(AVERAGING, 1),
    "10 batches": Arm(AVERAGING, 10),
    "BMUF, 1 batch": Arm(BMUF, 1, {}, BLOCK),
    "BMUF, 10 batches": Arm(BMUF, 10, {}, BLOCK),
    "BMUF, 50 batches": Arm(BMUF, 50, {}, BLOCK),
    "BMUF, 50 batches, int8": Arm(BMUF, 50, both("int8"), BLOCK),
    "GTC, τ = 0.003": Arm(GTC, 1, both("threshold", tau=0.003)),
    "GTC, τ = 0.01": Arm(GTC, 1, both("threshold", tau=0.01)),
    "GTC, τ = 0.03": Arm(GTC, 1, both("threshold", tau=0.03)),
    "fp16 up": Arm(UP, 10, {"up": "fp16"}),
    "int8 up": Arm(UP, 10, {"up": "int8"}),
    "int4 up": Arm(UP, 10, {"up": "int4"}),
    "EDEN up": Arm(UP, 10, {"up": "eden"}),
    "sign up": Arm(UP, 10, {"up": "sign"}),
    "top-k 1 % up": Arm(UP, 10, {"up": "top-k", "up_options": TOP}),
    "random-k 10 % up": Arm(UP, 10, {"up": "random-k"}),
    "int8": Arm(BOTH, 10, both("int8")),
    "EDEN": Arm(BOTH, 10, both("eden")),
    "top-k 1 %": Arm(BOTH, 10, both("top-k", **TOP)),
}
REFERENCE = "every batch"
"""Exact averaging: what is sent after every batch, as it is."""
REFERENCES = {BMUF: "BMUF, 1 batch"}
"""The same with the family's own momentum, with which equal data go further."""


def reference_of(arm: str) -> str:
    """Return the arm with which another one is compared: the same training, sent after every batch as it is."""
    return REFERENCES.get(ARMS[arm].family, REFERENCE)


@dataclass(frozen=True)
class Cell:
    """One run of the study.

    Args:
        data: ``synthetic`` or ``real``.
        partition: how it becomes the workers'.
        arm: how they train.
        seed: of everything but the speech and the public initial model.
    """

    data: str
    partition: str
    arm: str
    seed: int

    @property
    def name(self) -> str:
        """Return the name of its folder."""
        kept = "".join(c if c.isalnum() else "-" for c in f"{self.data}-{self.partition}-{self.arm}".lower())
        return f"{kept}-seed{self.seed}"

    def config(self, out: Path, batches: int = BATCHES) -> Tree:
        """Return the config; the public initial model is in ``out``.

        Args:
            out: folder of all cells.
            batches: of a worker over the run; with fewer a message comes after fewer, too.
        """
        arm = ARMS[self.arm]
        steps = max(1, arm.steps * batches // BATCHES)
        return {
            "name": self.name,
            "seed": self.seed,
            "rounds": batches // steps,
            "init_from": str(out / START),
            "data": {
                **SPEECH[self.data],
                "features": FEATURES,
                "clients": WORKERS,
                "partition": {"name": PARTITIONS[self.partition]},
            },
            "model": MODEL,
            "client": {
                "optimizer": "sgd",
                "learning_rate": RATE,
                "schedule": "cosine",
                "batch_size": BATCH,
                "steps": steps,
            },
            "strategy": {"name": "fedavg", "weighting": "uniform", **arm.strategy},
            "selection": {"name": "uniform", "clients_per_round": WORKERS},
            "runtime": {"executor": "serial"},
            "evaluate": {"every": 0, "transcripts": 0},
            **({"compression": arm.compression} if arm.compression else {}),
        }


def start_config() -> Tree:
    """Return the config of the public initial model, on synthetic speech that is nobody's."""
    return {
        "name": START,
        "rounds": PUBLIC_PASSES,
        "data": {
            "corpus": "synthetic",
            "synthetic": {**KEYWORDS, "speakers": 120, "utterances_per_speaker": 10, "seed": 1000},
            "features": FEATURES,
            "augment": {"frequency_masks": 1, "frequency_mask_bins": 4, "time_masks": 1},
        },
        "model": MODEL,
        "client": {"optimizer": "adamw", "learning_rate": 0.006, "batch_size": 16, "schedule": "cosine"},
        "strategy": {"name": "central", "central_round": "all"},
        "runtime": {"executor": "serial"},
        "evaluate": {"every": 0, "transcripts": 0},
    }


def plan(seeds: Sequence[int] = SEEDS, data: Sequence[str] = tuple(SPEECH)) -> Iterator[Cell]:
    """Yield all cells, whole seeds one after the other."""
    for seed in seeds:
        for speech in data:
            for partition in PARTITIONS:
                yield from (Cell(speech, partition, arm, seed) for arm in ARMS)


MINIATURE_BATCHES = 8
MINIATURE_CELLS = tuple(
    Cell("synthetic", "IID", arm, 1) for arm in (REFERENCE, "EDEN up", "EDEN", "GTC, τ = 0.003", "BMUF, 50 batches")
)
MINIATURE = (
    "data.synthetic.speakers=10",
    "data.synthetic.utterances_per_speaker=2",
    "data.synthetic.test_speakers=2",
    "data.synthetic.test_utterances_per_speaker=2",
    "model.channels=[4,4]",
    "model.hidden=4",
    "client.batch_size=2",
)
"""Changes of every config, for the study in miniature."""


def row_of(cell: Cell, run: Run) -> dict[str, Any]:
    """Return the row of a finished cell; bytes are those of all workers and rounds."""
    arm, summary = ARMS[cell.arm], run.summary
    return {
        "data": cell.data,
        "partition": cell.partition,
        "family": arm.family,
        "arm": cell.arm,
        "seed": cell.seed,
        "wer": summary["wer"],
        "initial_wer": summary["initial_wer"],
        "bytes_up": summary["bytes_up"],
        "bytes_down": summary["bytes_down"],
        "rounds": summary["rounds"],
        "workers": summary["clients"],
        "parameters": summary["parameters"],
        "seconds": round(summary["wall_seconds"], 1),
    }


def run_all(
    out: Path, cells: Sequence[Cell], minutes: float = float("inf"), smaller: Sequence[str] = (), batches: int = BATCHES
) -> list[dict[str, Any]]:
    """Do the cells that are not there yet, and return the rows of all that are done.

    Args:
        out: folder of all cells.
        cells: in this order.
        minutes: after which no cell is begun.
        smaller: changes of every config, for a study in miniature.
        batches: of a worker over a run.
    """
    end = time.monotonic() + 60 * minutes
    finished(start_config(), out / START, [*smaller, "rounds=1"] if smaller else [])
    rows = []
    for number, cell in enumerate(cells, 1):
        folder = out / cell.name
        if time.monotonic() > end and not (folder / "summary.json").exists():
            continue
        rows.append(row_of(cell, finished(cell.config(out, batches), folder, smaller)))
        print(f"{number} of {len(cells)}: {cell.name}: WER {rows[-1]['wer']:.3f}", flush=True)
    return rows


def record(rows: Sequence[dict[str, Any]], folder: Path) -> None:
    """Write the rows to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / TABLE, pd.DataFrame(rows).to_csv(index=False))


def main() -> None:
    """Do the study, or a part of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--record", type=Path, help="where the table goes beside --out")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--data", nargs="+", choices=list(SPEECH), default=list(SPEECH))
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which no run is begun")
    parser.add_argument("--miniature", action="store_true", help="a few tiny runs on synthetic speech")
    given = parser.parse_args()
    if given.miniature:
        rows = run_all(given.out, MINIATURE_CELLS, given.minutes, MINIATURE, MINIATURE_BATCHES)
    else:
        rows = run_all(given.out, list(plan(given.seeds, given.data)), given.minutes)
    for folder in {given.out, given.record or given.out}:
        record(rows, folder)


if __name__ == "__main__":
    main()
