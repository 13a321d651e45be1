"""What the tables of PATE are made of: the runs of a label, read from the folders of sweeps or from a recorded table.

A table in ``docs/results/pate`` outlives the run folders, so that seeds that were measured on another day, or on
another machine, are told together: records of one label are merged, and no seed counts twice.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from math import ceil, inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np

from fedasr.privacy.ledger import PUBLIC_SEED, SECRET
from fedasr.results.load import Run, load_run
from fedasr.results.tables.tradeoff import released_nothing
from studies.tables import runs_of


@dataclass(frozen=True)
class Record:
    """The runs of one label of a sweep, which differ in their seeds.

    Attributes:
        label: of the sweep.
        seeds: that were run.
        wers: the word error rate of each, the lowest first.
        epsilon: the largest of the seeds; 0: nothing was released; infinite: no privacy.
        independent: ε whatever the votes, the largest of the seeds; None: not of votes.
        delta: of both; None where nothing was released or nothing is private.
        unit: of privacy.
        population: people, as in ``privacy.json``.
        randomness: where the noise came from, a public seed if any run's did; empty: there was none.
        labels: released, mean of the seeds; None: no labels.
        right: share of right ones among them.
        own_right: the same of those that the student gave by itself in its last stage.
        all_labelled: whether no run ended its labelling because the budget was spent.
    """

    label: str
    seeds: tuple[int, ...]
    wers: tuple[float, ...]
    epsilon: float
    independent: float | None
    delta: float | None
    unit: str
    population: str
    randomness: str
    labels: float | None
    right: float | None
    own_right: float | None
    all_labelled: bool

    @property
    def wer(self) -> float:
        """The mean of the seeds."""
        return float(np.mean(self.wers))

    @classmethod
    def of(cls, label: str, runs: Sequence[Run]) -> Record:
        """Return the record of runs that differ in their seeds."""
        runs = sorted(runs, key=lambda run: run.seed)
        first = runs[0].summary
        # Of some seeds the budget may afford no label, and then there is no account.
        privacy: dict[str, Any] = next((run.privacy for run in runs if run.privacy), {})
        none = 0.0 if released_nothing(runs[0]) else inf

        def largest(name: str) -> float:
            return max(float(run.summary.get(name) or 0.0) for run in runs) if privacy else none

        def mean(name: str) -> float | None:
            return weighted([(run.summary.get(name), 1) for run in runs])

        return cls(
            label,
            tuple(run.seed for run in runs),
            tuple(sorted(float(run.summary["wer"]) for run in runs)),
            largest("epsilon"),
            largest("epsilon_data_independent") if "labels" in first else None,
            float(first["delta"]) if privacy else None,
            str(privacy.get("unit", "")),
            str(privacy.get("population", "")),
            randomness_of(runs),
            mean("labels"),
            mean("label_accuracy"),
            mean("own_label_accuracy"),
            all("labels" in run.summary and "stopped" not in run.summary for run in runs),
        )

    def with_others(self, others: Record) -> Record:
        """Return the record of these runs and of others of the same label.

        Raises:
            SystemExit: they have a seed in common, or are about other people.
        """
        twice = sorted(set(self.seeds) & set(others.seeds))
        if twice:
            raise SystemExit(f"seed {twice[0]} of '{self.label}' is there twice; name each seed once")
        mine = (self.delta, self.unit, self.population, self.randomness)
        theirs = (others.delta, others.unit, others.population, others.randomness)
        released = [facts for facts, of in ((mine, self), (theirs, others)) if of.delta is not None]
        if len(set(released)) > 1:
            raise SystemExit(f"'{self.label}' is about other people, or another unit, δ or randomness, here than there")
        delta, unit, population, randomness = released[0] if released else mine

        def mean(name: str) -> float | None:
            return weighted([(getattr(of, name), len(of.seeds)) for of in (self, others)])

        known = [of.independent for of in (self, others) if of.independent is not None]
        return replace(
            self,
            seeds=tuple(sorted(self.seeds + others.seeds)),
            wers=tuple(sorted(self.wers + others.wers)),
            epsilon=max(self.epsilon, others.epsilon),
            independent=max(known, default=None),
            delta=delta,
            unit=unit,
            population=population,
            randomness=randomness,
            labels=mean("labels"),
            right=mean("right"),
            own_right=mean("own_right"),
            all_labelled=self.all_labelled and others.all_labelled,
        )


def randomness_of(runs: Sequence[Run]) -> str:
    """Return where the noise of the runs came from; empty where none has an account."""
    known = [run.privacy.get("randomness") for run in runs if run.privacy]
    return (SECRET if all(source == SECRET for source in known) else PUBLIC_SEED) if known else ""


def weighted(values: Sequence[tuple[float | None, int]]) -> float | None:
    """Return the mean of what is known, by weight; None: nothing is."""
    known = [(value, weight) for value, weight in values if value is not None]
    return sum(value * weight for value, weight in known) / sum(weight for _, weight in known) if known else None


def records_of(sources: Sequence[Path], family: str | None = None) -> list[Record]:
    """Return the records of folders of sweeps and of recorded tables, each label once, in the order of mention.

    Args:
        sources: folders of sweeps, and recorded tables.
        family: where a sweep has several, the one whose labels are taken: those that begin with it, without it.
    """
    result: dict[str, Record] = {}
    for source in sources:
        for record in read(source) if source.suffix == ".csv" else of_sweep(source, family):
            known = result.get(record.label)
            result[record.label] = record if known is None else known.with_others(record)
    return list(result.values())


def of_sweep(folder: Path, family: str | None) -> Iterable[Record]:
    """Yield the records of the finished runs in the folder of a sweep; of one family where one is named."""
    begins = "" if family is None else f"{family}-"
    groups: dict[str, list[Run]] = defaultdict(list)
    for path in runs_of([folder]):
        run = load_run(path)
        if run.status == "done" and path.name.startswith(begins):
            groups[path.name.removeprefix(begins).rpartition("-seed")[0]].append(run)
    for label, runs in groups.items():
        yield Record.of(label, runs)


def read(path: Path) -> list[Record]:
    """Return the records of a table that ``write`` wrote."""
    result = []
    for row in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))):
        numbers = {name: float(row[name]) if row[name] else None for name in NUMBERS}
        result.append(
            Record(
                label=row["label"],
                seeds=tuple(map(int, row["seeds"].split())),
                wers=tuple(map(float, row["wers"].split())),
                epsilon=float(row["epsilon"]),
                unit=row["unit"],
                population=row["population"],
                randomness=row["randomness"],
                all_labelled=row["all_labelled"] == "yes",
                **numbers,
            )
        )
    return result


EPSILONS = ("epsilon", "independent")
NUMBERS = ("independent", "delta", "labels", "right", "own_right")


def write(records: Sequence[Record], path: Path) -> None:
    """Write records as a table with commas; several seeds and their error rates stand in one cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [field.name for field in fields(Record)]
    writer.writerow(names)
    for record in records:
        writer.writerow(
            as_text(up(getattr(record, name), 4) if name in EPSILONS else getattr(record, name)) for name in names
        )
    path.write_text(text.getvalue(), encoding="utf-8")


def up(epsilon: float | None, digits: int) -> float | None:
    """Return an ε with so many digits behind the point, rounded up: it is never told too small."""
    if epsilon is None or not isfinite(epsilon):
        return epsilon
    return float(ceil(10**digits * epsilon - 1e-6) / 10**digits)


def as_text(value: Any) -> str:
    """Return a cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " ".join(map(as_text, value))
    return f"{value:.8g}" if isinstance(value, float) else str(value)
