"""The votes in ``docs/results/pate/votes``, labelled again as a sweep says: the labels and what they cost."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from fedasr.privacy.pate.analysis import ORDERS
from fedasr.privacy.pate.votes import read_votes
from fedasr.strategies.pate.aggregator import Aggregator
from fedasr.strategies.pate.record import Record
from fedasr.sweeps.plan import Plan, Planned, read_plan

ROOT = Path(__file__).resolve().parent.parent
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
"""The sweep of the students of each table."""
OF_SEVERAL = ("pate_home_attention", "pate_keywords_synthetic")
"""Sweeps of several families, whose labels begin with the family."""


def votes_of(table: str) -> dict[int, Path]:
    """Return the folders of the recorded votes of a table, by seed."""
    return {int(folder.name.rpartition("-seed")[2]): folder for folder in (TABLES / "votes").glob(f"{table}-seed*")}


@lru_cache
def plan_of(table: str) -> Plan:
    """Return the plan of the sweep that a table's students are in."""
    return read_plan(ROOT / "simulations" / "sweeps" / f"{SWEEPS[table]}.yaml")


def runs_of(table: str, label: str) -> list[Planned]:
    """Return the runs of a label of a table of which the votes are recorded.

    Args:
        table: of ``SWEEPS``.
        label: as the table has it, without the family; with ``*`` and ``?`` those of several labels.
    """
    name = f"{table.removeprefix(KEYWORDS)}-{label}" if SWEEPS[table] in OF_SEVERAL else label
    return [planned for planned in plan_of(table).only([name]).runs if planned.seed in votes_of(table)]


def labelled(table: str, planned: Planned) -> Aggregator:
    """Return the aggregator after it has labelled the recorded votes of a run's seed, as far as the budget goes."""
    folder = votes_of(table)[planned.seed]
    votes = read_votes(folder / "votes.npy")
    teachers = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["clients"]
    aggregator = Aggregator(planned.config, teachers, Record(votes.shape[1], len(ORDERS)))
    for utterance, counts in enumerate(votes):
        if not aggregator.release(utterance, counts):
            break
    return aggregator
