"""Membership, exposure and inversion against ε: train small models, attack them, and write the page of results.

    FEDASR_DATA=FOLDER python -m studies.leakage --out runs/leakage --minutes 90 --page docs/results/leakage.md

Cells that are done are kept; those that the minutes do not suffice for are told as not run. Without ``--page`` nothing
but the table ``leakage.csv`` in ``--out`` is written.
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

import fedasr
from fedasr.errors import InputError, RunFailed
from fedasr.files import write_text
from fedasr.results.load import Run
from studies.leakage_attacks import codes, inverted, ledger, members
from studies.leakage_cells import DP_SGD, PATE, PLAIN, START, Cell, matrix, start_config, start_name

ROW, SCORES, TABLE = "cell.json", "scores.parquet", "leakage.csv"
NO_TWIN = "no model without the speaker was trained beside it"
NO_CODES = "no codes in real speech"
WHOLE_PAIRS = ((PLAIN, None), (DP_SGD, 10.0), (DP_SGD, 1.0), (PATE, 10.0))
"""Trainings whose models are inverted, each trained on either half of the speakers."""


def plan() -> Iterator[Cell]:
    """Yield all cells, the most informative first."""
    for seed in (1, 2):
        yield from matrix("digits", "ctc", seed)
        yield from matrix("digits", "rnnt", seed)
        if seed == 1:
            yield from matrix("commands", "ctc", seed)
            yield from real("sentences", seed)
            yield from halves("rnnt", seed)
    yield from matrix("digits", "ctc", 3)
    yield from matrix("digits", "rnnt", 3)
    for seed in (2, 3):
        yield from real("sentences", seed)
        yield from matrix("commands", "ctc", seed)
    yield from halves("ctc", 1)
    yield from matrix("commands", "rnnt", 1)


def real(data: str, seed: int) -> Iterator[Cell]:
    """Yield the cells of a corpus on which groups of speakers are compared."""
    yield from (Cell(data, "ctc", training, seed=seed) for training in (START, PLAIN))
    yield from (Cell(data, "ctc", DP_SGD, epsilon, seed) for epsilon in (8.0, 1.0))


def halves(family: str, seed: int) -> Iterator[Cell]:
    """Yield the second halves of the pairs whose models are inverted; the first ones come with them."""
    for training, epsilon in WHOLE_PAIRS:
        yield Cell("digits", family, training, epsilon, seed, half="b")


def trained(cell: Cell, out: Path, smaller: Sequence[str] = ()) -> Run:
    """Return the run of a cell, trained where it has not been, after those that it starts from."""
    start = out / start_name(cell.data, cell.family)
    fedasr.run(start_config(cell.data, cell.family), out=start, overrides=list(smaller), resume=True)
    if cell.votes is not None:
        trained(cell.votes, out, smaller)
    rounds = [one for one in smaller if cell.training != START or not one.startswith("rounds=")]
    return fedasr.run(cell.config(out), out=out / cell.name, overrides=rounds, resume=True)


def row_of(cell: Cell, out: Path, smaller: Sequence[str] = ()) -> dict[str, Any]:
    """Train and attack a cell; where that is not possible the row says why.

    Args:
        cell: which.
        out: folder of all cells.
        smaller: changes of every config, for a study in miniature.
    """
    place = out / cell.name / ROW
    if place.exists():
        found: dict[str, Any] = json.loads(place.read_text())
        return found
    started = time.process_time()
    row: dict[str, Any] = {"cell": cell.name, **asdict(cell), "asked": cell.epsilon}
    try:
        run = trained(cell, out, smaller)
        row |= {"wer": run.summary["wer"], "cer": run.summary["cer"], **ledger(run)}
        row["train_seconds"] = time.process_time() - started
        if cell.half:
            row |= inverted(trained(Cell(**{**asdict(cell), "half": "a"}), out, smaller), run)
        else:
            found, scores = members(run)
            scores.to_parquet(run.path / SCORES)
            row |= found | {"inversion_reason": NO_TWIN}
            row |= codes(run) if cell.data == "digits" else {"codes_reason": NO_CODES}
    except (InputError, RunFailed) as error:
        row["error"] = str(error)
    row["cpu_seconds"] = time.process_time() - started
    place.parent.mkdir(parents=True, exist_ok=True)
    write_text(place, json.dumps(row, indent=1, default=float) + "\n")
    return row


def rows_done(out: Path, cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Return the rows of the cells that are done."""
    places = [out / cell.name / ROW for cell in cells]
    return [json.loads(place.read_text()) for place in places if place.exists()]


def main() -> None:
    """Train, attack and write, until the time is up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/leakage"))
    parser.add_argument("--minutes", type=float, default=90.0, help="after which no further cell is begun; 0: none is")
    parser.add_argument("--page", type=Path)
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
        pd.DataFrame(rows_done(given.out, cells)).to_csv(given.out / TABLE, index=False)
    if given.page is not None:
        from studies.leakage_tables import write_page

        write_page(given.out, cells, rows_done(given.out, cells), given.page)


if __name__ == "__main__":
    main()
