"""FedNLP's matrix for speech: each rule to make a model of updates, on each partition, against central training.

    python -m studies.matrix --out runs/fednlp --family ctc --figure docs/results/fednlp_ctc.png

For a family a public initial model (``simulations/pate_seed_home.yaml``), and from it for every partition the sweep
``simulations/sweeps/fednlp.yaml``, into ``OUT/FAMILY/PARTITION``. What is finished is not run again.
Prints a Markdown table: the word error rate over the seeds and, paired by seed, how much higher it is than that of
central training at equal passes, with its 95 % interval.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import fedasr
from fedasr.config import load
from fedasr.files import replacing
from fedasr.results.figures import style
from fedasr.results.load import Run
from fedasr.results.tables.statistics import mean_interval
from fedasr.runtime.launch import launch
from studies.tables import grid

Keys = dict[str, Any]
SWEEP = Path(__file__).resolve().parents[1] / "simulations" / "sweeps" / "fednlp.yaml"
CENTRAL = "central"
START = "start"
NOTHING = "–"


def skewed(column: str, alpha: float) -> Keys:
    """Return the partition that FedNLP calls label skew: each client's labels follow Dir(α·prior)."""
    return {"name": "dirichlet-prior", "column": column, "alpha": alpha}


PARTITIONS: dict[str, Keys] = {
    "iid": {"name": "iid"},
    "topic-10": skewed("topic", 10),
    "topic-1": skewed("topic", 1),
    "topic-0.1": skewed("topic", 0.1),
    "quantity": {"name": "quantity-dirichlet", "alpha": 5},
    "accent": skewed("accent", 0.1),
    "device": skewed("device", 0.1),
    "natural": {"name": "natural"},
}
"""All of as many clients; ``natural`` clients are speakers."""
TRANSDUCER: Keys = {"model.name": "rnnt", "model.transducer": {"prediction": 48, "joint": 48, "context": 1}}
FAMILIES: dict[str, Keys] = {
    "ctc": {"model.name": "ctc"},
    # A transducer needs no frame for each character, and costs half with half the frames.
    "rnnt": {**TRANSDUCER, "data.features": {"hop_ms": 20, "window_ms": 40}},
}
TINY: Keys = {"channels": [8, 8], "hidden": 8}
MINIATURE: Keys = {
    "rounds": 1,
    "data.synthetic": {
        "speakers": 6,
        "utterances_per_speaker": 3,
        "test_speakers": 2,
        "test_utterances_per_speaker": 2,
    },
    "selection.clients_per_round": 3,
    "model": TINY,
}
MINIATURE_START: Keys = {"rounds": 0, "data.synthetic": {"speakers": 2, "test_speakers": 2}, "model": TINY}
MINIATURE_ONLY = ("central-seed[01]", "fedavg-seed[01]", "fedavg-frozen-encoder-seed[01]")


@dataclass(frozen=True)
class Cell:
    """A strategy on a partition: word error rates by seed, and how much higher they are than central training's."""

    rates: Mapping[int, float]
    central: Mapping[int, float]

    @property
    def gap(self) -> tuple[float, float, float]:
        """The mean of the gap over the seeds that both have, and its 95 % t interval; NaN where there is none."""
        both = [self.rates[seed] - self.central[seed] for seed in sorted(self.rates) if seed in self.central]
        mean, low, high = map(float, mean_interval(np.array(both))) if both else (np.nan,) * 3
        return mean, low, high


Matrix = dict[str, dict[str, Cell]]
"""Partition → strategy → cell."""


def run_family(out: Path, family: str, partitions: Iterable[str], only: Sequence[str], miniature: bool) -> Matrix:
    """Do the runs of a family that are not there yet, and return its matrix."""
    keys: Keys = {**FAMILIES[family], "data.cache.directory": str((out / "features").resolve())}
    start = out / family / START
    launch(load("pate_seed_home", merged(keys, MINIATURE_START if miniature else {"evaluate.every": 0})), start, True)
    matrix: Matrix = {}
    for name in partitions:
        partition = {f"data.partition.{key}": value for key, value in PARTITIONS[name].items()}
        changes = {**merged(keys, MINIATURE if miniature else {}), **partition, "init_from": str(start.resolve())}
        matrix[name] = cells(fedasr.sweep(SWEEP, out / family / name, overrides=changes, only=only))
    return matrix


def merged(keys: Keys, changes: Keys) -> Keys:
    """Return dotted keys with others changed; a section that is in both keeps what is not changed."""
    flat = dict(keys)
    for name, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(flat.get(name), Mapping)
        flat[name] = {**flat[name], **value} if both else value
    return flat


def cells(runs: Sequence[Run]) -> dict[str, Cell]:
    """Return the cells of a partition's finished runs, in the order of the sweep."""
    rates: dict[str, dict[int, float]] = {}
    for run in runs:
        if run.status == "done":
            rates.setdefault(run.path.name.rpartition("-seed")[0], {})[run.seed] = float(run.summary["wer"])
    return {name: Cell(found, rates.get(CENTRAL, {})) for name, found in rates.items()}


def strategies(matrix: Matrix) -> list[str]:
    """Return all strategies, in the order of the sweep."""
    return list(dict.fromkeys(name for row in matrix.values() for name in row))


def markdown(matrix: Matrix) -> str:
    """Return the table, in percent and points: a row a strategy, a column a partition."""
    body = [
        [name, *(shown(row[name], name) if name in row else NOTHING for row in matrix.values())]
        for name in strategies(matrix)
    ]
    return grid(["WER % (lowest–highest), gap", *matrix], body)


def shown(cell: Cell, name: str) -> str:
    """Return what the table says of a cell."""
    rates = 100 * np.array(list(cell.rates.values()))
    text = f"{rates.mean():.1f} ({rates.min():.1f}–{rates.max():.1f})"
    mean, low, high = (100 * value for value in cell.gap)
    if name == CENTRAL or not np.isfinite(mean):
        return text
    return f"{text}, {mean:+.1f}" + (f" [{low:+.1f}, {high:+.1f}]" if np.isfinite(low) else "")


def figure(matrix: Matrix, title: str) -> Figure:
    """Return the gaps to central training: a panel a partition, a row a strategy."""
    names = [name for name in strategies(matrix) if name != CENTRAL]
    columns = min(4, len(matrix))
    lines = -(-len(matrix) // columns)
    fig = style.figure(2.2 * columns + 1.2, (0.26 * len(names) + 0.9) * lines + 0.4)
    panels = fig.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for ax, (partition, row) in zip(panels.flat, matrix.items(), strict=False):
        gaps(style.quiet(ax), names, row)
        ax.set_title(partition, loc="left", color=style.INK, fontsize=style.TEXT_POINTS)
    for ax in panels.flat[len(matrix) :]:
        ax.set_visible(False)
    panels[0, 0].set_yticks(range(len(names)), names)
    panels[0, 0].invert_yaxis()
    fig.supxlabel(
        f"{title}: WER above central training, points, 95 % interval over seeds",
        color=style.INK,
        fontsize=style.TEXT_POINTS,
    )
    return fig


def gaps(ax: Axes, names: Sequence[str], row: Mapping[str, Cell]) -> None:
    """Draw the gaps of a partition."""
    ax.axvline(0, color=style.MUTED, linewidth=0.8)
    for place, name in enumerate(names):
        if name not in row:
            continue
        mean, low, high = (100 * value for value in row[name].gap)
        colour = style.SERIES[1 if "frozen" in name else 0]
        ax.plot(mean, place, "o", color=colour, markersize=4)
        if np.isfinite(low):
            ax.plot((low, high), (place, place), color=colour, linewidth=1.4)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--family", choices=FAMILIES, default="ctc")
    parser.add_argument("--partitions", nargs="+", choices=PARTITIONS, default=list(PARTITIONS))
    parser.add_argument("--only", nargs="+", default=[], help="labels or folders of the sweep, with * and ?")
    parser.add_argument("--miniature", action="store_true", help="all of it in seconds, which shows nothing")
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args(arguments)
    only = given.only or (MINIATURE_ONLY if given.miniature else ())
    matrix = run_family(given.out, given.family, given.partitions, only, given.miniature)
    print(markdown(matrix))
    if given.figure is not None:
        with replacing(given.figure) as temporary:
            figure(matrix, given.family).savefig(temporary, format="png")


if __name__ == "__main__":
    main()
