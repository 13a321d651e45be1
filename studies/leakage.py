"""Membership, exposure and inversion against ε: train small models, attack them, and write the page of results.

    FEDASR_DATA=FOLDER python -m studies.leakage --out runs/leakage --minutes 90 --record docs/results/leakage
    python -m studies.leakage_tables docs/results/leakage --figure docs/results/leakage.png

Cells that are done are kept, and those that the minutes do not suffice for have no row. ``leakage.csv`` has a row a
cell, ``leakage_groups.csv`` one for each group of speakers, ``leakage_other_seeds.csv`` one for each pair of seeds;
``--record`` is where they go beside ``--out``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from fedasr.config import load
from fedasr.errors import InputError, RunFailed
from fedasr.files import write_text
from fedasr.results.load import Run, load_run
from fedasr.runtime.launch import launch
from studies.leakage_attacks import codes, inverted, ledger, members
from studies.leakage_cells import (
    CLIPPED,
    CODED,
    DP_FEDAVG,
    DP_SGD,
    DROPOUT,
    EARLY,
    FAMILIES,
    LONG,
    PATE,
    PLAIN,
    START,
    Cell,
    curve,
    matrix,
    rest,
    start_config,
    start_name,
    trade,
)
from studies.leakage_groups import by_other_seeds, groups

ROW, SCORES = "cell.json", "scores.parquet"
TABLE, GROUPS, OTHERS = "leakage.csv", "leakage_groups.csv", "leakage_other_seeds.csv"
NO_TWIN = "no model without the speaker was trained beside it"
NO_CODES = "no codes in real speech"
NOTHING_PLAIN = "looked for in the models without privacy, where CTC shows nothing"
WHOLE_PAIRS = ((PLAIN, None), (DP_SGD, 10.0), (DP_SGD, 1.0), (PATE, 10.0))
"""Trainings whose models are inverted, each trained on either half of the speakers."""


def plan() -> Iterator[Cell]:
    """Yield all cells, the most informative first."""
    yield from curve("digits", "ctc", 1)
    yield Cell("digits", "ctc", DP_FEDAVG, 8.0)
    yield from curve("digits", "rnnt", 1)
    yield from trade("digits", "ctc", 2)
    yield from curve("home", "rnnt", 1)
    yield Cell("digits", "ctc", CLIPPED)
    yield from trade("digits", "ctc", 3)
    yield from (Cell("home", "rnnt", training) for training in (CLIPPED, EARLY))
    yield from (Cell("home", "rnnt", LONG, epsilon) for epsilon in (None, 1000.0, 100.0, 10.0, 1.0, 4.0))
    yield from (Cell("digits", "ctc", PATE, epsilon) for epsilon in (None, 8.0))
    yield Cell("home", "rnnt", DROPOUT)
    yield from (Cell("digits", family, DP_FEDAVG, 1.0) for family in FAMILIES)
    yield from trade("sentences", "ctc", 1)
    yield from trade("digits", "rnnt", 2)
    yield from matrix("home", "rnnt", 1)
    yield from rest("home", "rnnt", 1)
    for seed in (2, 3):
        yield from trade("home", "rnnt", seed)
    for seed in (1, 2, 3):
        for family in FAMILIES:
            yield from matrix("digits", family, seed)
            yield from rest("digits", family, seed)
    yield from halves("rnnt", 1)
    for seed in (1, 2, 3):
        for data in ("sentences", "commands"):
            yield from curve(data, "ctc", seed)
            yield from matrix(data, "ctc", seed)
            yield from rest(data, "ctc", seed)
    yield from halves("ctc", 1)
    for seed in (1, 2, 3):
        for data in ("commands", "sentences"):
            yield from matrix(data, "rnnt", seed)
            yield from rest(data, "rnnt", seed)


def halves(family: str, seed: int) -> Iterator[Cell]:
    """Yield the second halves of the pairs whose models are inverted; the first ones come with them."""
    for training, epsilon in WHOLE_PAIRS:
        yield Cell("digits", family, training, epsilon, seed, half="b")


def trained(cell: Cell, out: Path, smaller: Sequence[str] = ()) -> Run:
    """Return the run of a cell, trained where it has not been, after those that it starts from.

    Args:
        cell: which.
        out: folder of all cells.
        smaller: changes of every config, for a study in miniature.
    """
    finished(start_config(cell.data, cell.family), out / start_name(cell.data, cell.family), smaller)
    if cell.votes is not None:
        trained(cell.votes, out, smaller)
    rounds = [one for one in smaller if cell.training != START or not one.startswith("rounds=")]
    return finished(cell.config(out), out / cell.name, rounds)


def not_looked_for(cell: Cell) -> str | None:
    """Return why no codes are looked for in a model; None: they are."""
    if cell.data not in CODED:
        return NO_CODES
    return NOTHING_PLAIN if cell.family == "ctc" and cell.training not in (START, PLAIN) else None


def finished(config: dict[str, Any], out: Path, changes: Sequence[str]) -> Run:
    """Return a finished run; where it was interrupted so is the study, which goes on when it is started again."""
    done = load_run(out) if (out / "summary.json").exists() else None
    if done is not None and done.finished:
        return done  # to read and check its config again takes seconds
    run = load_run(launch(load(config, list(changes)), out, resume=True))  # no report: that takes seconds, too
    if not run.finished:
        raise SystemExit(f"{out}: the run is {run.status}; start the study again to go on")
    return run


def row_of(cell: Cell, out: Path, smaller: Sequence[str] = ()) -> dict[str, Any]:
    """Train and attack a cell; where that is not possible the row says why.

    Args:
        cell: which.
        out: folder of all cells.
        smaller: changes of every config, for a study in miniature.
    """
    place = out / cell.name / ROW
    if place.exists():
        result: dict[str, Any] = json.loads(place.read_text())
        return result
    started = time.process_time()
    row: dict[str, Any] = {"cell": cell.name, **asdict(cell), "asked": cell.epsilon}
    try:
        run = trained(cell, out, smaller)
        row |= {"wer": run.summary["wer"], "cer": run.summary["cer"], **ledger(run)}
        row["train_seconds"] = time.process_time() - started
        if cell.half:
            row |= inverted(trained(Cell(**{**asdict(cell), "half": "a"}), out, smaller), run)
        else:
            result, scores = members(run)
            scores.to_parquet(run.path / SCORES)
            row |= result | {"inversion_reason": NO_TWIN}
            why = not_looked_for(cell)
            row |= codes(run, cell.training in (START, PLAIN)) if why is None else {"codes_reason": why}
    except (InputError, RunFailed) as error:
        row["error"] = str(error)
    row["cpu_seconds"] = time.process_time() - started
    place.parent.mkdir(parents=True, exist_ok=True)
    write_text(place, json.dumps(row, indent=1, default=float) + "\n")
    return row


def record(out: Path, cells: Sequence[Cell], folder: Path) -> None:
    """Write the tables of all cells that are done into a folder."""
    done = [cell for cell in cells if (out / cell.name / ROW).exists()]
    folder.mkdir(parents=True, exist_ok=True)
    rows = [json.loads((out / cell.name / ROW).read_text()) for cell in done]
    pd.DataFrame(rows).to_csv(folder / TABLE, index=False, float_format="%.5g")
    scores = {cell: out / cell.name / SCORES for cell in done}
    known = {cell: pd.read_parquet(place) for cell, place in scores.items() if place.exists()}
    groups(known).to_csv(folder / GROUPS, index=False, float_format="%.5g")
    others = {cell: table for cell, table in known.items() if cell.training != START}
    by_other_seeds(others).to_csv(folder / OTHERS, index=False, float_format="%.5g")


def main() -> None:
    """Train, attack and write, until the time is up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/leakage"))
    parser.add_argument("--minutes", type=float, default=90.0, help="after which no further cell is begun; 0: none is")
    parser.add_argument("--record", type=Path)
    given = parser.parse_args()
    end = time.monotonic() + 60 * given.minutes
    cells = list(dict.fromkeys(plan()))
    for cell in cells:
        if time.monotonic() >= end:
            break
        if (given.out / cell.name / ROW).exists():
            continue
        row = row_of(cell, given.out)
        said = {name: row.get(name) for name in ("wer", "epsilon", "calibrated_auc", "language_exposure", "error")}
        print(cell.name, said, f"{row['cpu_seconds']:.0f} s", flush=True)
    for folder in (given.out, given.record or given.out):
        record(given.out, cells, folder)


if __name__ == "__main__":
    main()
