"""Membership by groups of speakers: gender, children and adults, and how much a device stores; and by a wrong model.

The wrong model is that of another seed, which drew its members anew from the same speech: what it tells of the first
one's members is the luck of the draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedasr.privacy.audit.roc import rates
from studies.leakage_cells import Cell

CHILD_YEARS = 15
"""The oldest child; the corpus of read sentences has children from 6 to 15."""
TENTHS = 10
FEWEST = 20
"""Members, and non-members, below which a group is not told."""
COLUMNS = ["data", "family", "training", "asked", "seeds", "group", "members", "non_members"]
COLUMNS += ["auc", "auc_low", "auc_high"]
OTHERS = ["data", "family", "training", "asked", "members_of", "model_of", "utterances"]
OTHERS += ["auc", "auc_low", "auc_high", "own"]
Bools = npt.NDArray[np.bool_]


def groups(scores: Mapping[Cell, pd.DataFrame]) -> pd.DataFrame:
    """Return a row for each group of each way of training, the scores of all its seeds together."""
    by_training: dict[Cell, list[pd.DataFrame]] = {}
    for cell, table in scores.items():
        marked = table.assign(speaker=[f"{cell.seed}/{name}" for name in table["speaker"]])
        by_training.setdefault(replace(cell, seed=0), []).append(marked.assign(decile=deciles(marked)))
    rows: list[dict[str, Any]] = []
    for cell, tables in by_training.items():
        whole = pd.concat(tables, ignore_index=True)
        for group, inside in divided(whole):
            part = whole[inside]
            member = part["member"].to_numpy(bool)
            if min(member.sum(), (~member).sum()) < FEWEST:
                continue
            area = rates(part["score"].to_numpy(float), member, part["speaker"].to_numpy()).auc
            rows.append(
                {
                    "data": cell.data,
                    "family": cell.family,
                    "training": cell.training,
                    "asked": cell.epsilon,
                    "seeds": len(tables),
                    "group": group,
                    "members": int(member.sum()),
                    "non_members": int((~member).sum()),
                    "auc": area.value,
                    "auc_low": area.low,
                    "auc_high": area.high,
                }
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def by_other_seeds(scores: Mapping[Cell, pd.DataFrame]) -> pd.DataFrame:
    """Return the area for the members of one seed under the model of another, for each way of training."""
    rows: list[dict[str, Any]] = []
    for (cell, table), (other, its) in permutations(scores.items(), 2):
        if replace(cell, seed=other.seed) != other:
            continue
        both = keyed(table).merge(keyed(its), on="key", suffixes=("", "_other"))
        member = both["member"].to_numpy(bool)
        area = rates(both["score_other"].to_numpy(float), member, both["speaker"].to_numpy()).auc
        own = rates(both["score"].to_numpy(float), member, both["speaker"].to_numpy()).auc
        about = {"data": cell.data, "family": cell.family, "training": cell.training, "asked": cell.epsilon}
        seeds = {"members_of": cell.seed, "model_of": other.seed, "utterances": len(both)}
        rows.append({**about, **seeds, "auc": area.value, "auc_low": area.low, "auc_high": area.high, "own": own.value})
    return pd.DataFrame(rows, columns=OTHERS)


def keyed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the utterances by speaker and loss before training, which tell them apart; those they do not, left out."""
    key = table["speaker"].astype(str) + "/" + table["loss_before"].map("{:.4f}".format)
    return table.assign(key=key).drop_duplicates("key", keep=False)


def deciles(table: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return the tenth of the speakers, by how much they store, that each utterance's speaker is in, from 0 up."""
    stored = table.groupby("speaker")["activity"].first()
    place = stored.rank(method="first").to_numpy() - 1
    tenth = dict(zip(stored.index, (TENTHS * place // len(stored)).astype(int), strict=True))
    return table["speaker"].map(tenth).to_numpy(np.int64)


def divided(table: pd.DataFrame) -> Iterator[tuple[str, Bools]]:
    """Yield the name of each group and which rows are in it; the lightest and the heaviest users, and those between."""
    yield "all", np.ones(len(table), bool)
    if "gender" in table:
        for name, short in (("women and girls", "f"), ("men and boys", "m")):
            yield name, (table["gender"].astype(str) == short).to_numpy(bool)
    if "age" in table:
        age = pd.to_numeric(table["age"], errors="coerce").to_numpy(float)
        yield "children", age <= CHILD_YEARS
        yield "adults", age > CHILD_YEARS
    if table["activity"].nunique() > 1:
        tenth = table["decile"].to_numpy(int)
        for low, high in ((0, 4), (5, 6), (7, 8), (9, 9)):
            name = f"activity deciles {low + 1}–{high + 1}" if low < high else f"activity decile {high + 1}"
            yield name, (tenth >= low) & (tenth <= high)
