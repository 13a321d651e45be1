"""The votes in ``docs/results/pate/votes`` give the labels and the ε that the tables beside them tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from benchmarks.pate_budgets import place_of
from benchmarks.pate_records import Record as Told
from benchmarks.pate_records import read
from fedasr.privacy.pate.analysis import ORDERS
from fedasr.privacy.pate.votes import read_votes
from fedasr.sweeps.plan import Plan, read_plan
from strategies.pate.aggregator import Aggregator
from strategies.pate.record import Record

from .tiny import ROOT

TABLES = ROOT / "docs" / "results" / "pate"
KEYWORDS = "keywords-"
"""Begins the names of the tables of real people who vote on synthetic words."""
SWEEPS = {
    "hybrid": "pate_home_attention",
    "las": "pate_home_attention",
    "rnnt": "pate_home_rnnt",
    "ctc": "pate_home",
    **{f"{KEYWORDS}{family}": "pate_keywords_synthetic" for family in ("hybrid", "las", "rnnt")},
}
KEPT = {
    "hybrid": ("gnmax", "lnmax"),
    "rnnt": (),
    "las": ("confident", "gnmax", "lnmax"),
    "ctc": (),
    **{f"{KEYWORDS}{family}": ("confident", "gnmax", "lnmax") for family in ("hybrid", "las", "rnnt")},
}
"""Beginnings of the labels of which every seed in the table is of votes that are kept; of the others some were lost."""


def votes_of(family: str) -> dict[int, Path]:
    """Return the folders of recorded votes of a family, by seed."""
    return {int(folder.name.rpartition("-seed")[2]): folder for folder in (TABLES / "votes").glob(f"{family}-seed*")}


@lru_cache
def plan_of(family: str) -> Plan:
    """Return the plan of the sweep that a family's students are in."""
    return read_plan(ROOT / "simulations" / "sweeps" / f"{SWEEPS[family]}.yaml")


def labelled(family: str, told: Told) -> Iterator[tuple[float, int]]:
    """Yield ε and the number of labels of the recorded votes of each seed."""
    several = SWEEPS[family] in ("pate_home_attention", "pate_keywords_synthetic")
    name = f"{family.removeprefix(KEYWORDS)}-{told.label}" if several else told.label
    for planned in plan_of(family).only([name]).runs:
        folder = votes_of(family).get(planned.seed)
        if folder is None:
            continue
        votes = read_votes(folder / "votes.npy")
        teachers = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["clients"]
        aggregator = Aggregator(planned.config, teachers, Record(votes.shape[1], len(ORDERS)))
        for utterance, counts in enumerate(votes):
            if not aggregator.release(utterance, counts):
                break
        yield aggregator.epsilons()[0] or 0.0, int(aggregator.record.answered.sum())


@pytest.mark.parametrize("family", sorted(SWEEPS))
def test_labels_come_out_as_recorded(family: str) -> None:
    if not votes_of(family):
        pytest.skip(f"no votes of {family} are recorded")
    for told in read(TABLES / f"{family}.csv"):
        name, budget = place_of(told)
        # Large budgets take long, and no other path through the code.
        if told.unit != "teacher" or name.startswith("simulated") or budget > 1:
            continue
        spent, labels = zip(*labelled(family, told), strict=True)
        assert max(spent) <= budget, told.label
        if told.label.startswith(KEPT[family]):
            assert told.seeds == tuple(sorted(votes_of(family)))
            assert max(spent) - 1e-9 <= told.epsilon <= max(spent) + 1.1e-4, told.label
            assert told.labels == pytest.approx(np.mean(labels), rel=1e-4), told.label


def test_something_is_kept() -> None:
    """Else the test above could not fail."""
    assert votes_of("hybrid")
    assert any(told.label.startswith(KEPT["hybrid"]) for told in read(TABLES / "hybrid.csv"))
