"""How often each client took part, and how fairly the rounds were shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedasr.data.heterogeneity import gini
from fedasr.protocol import Status
from fedasr.results.tables.statistics import jain


@dataclass(frozen=True)
class Participation:
    """Who took part how often, in numbers.

    ``clients`` is the population, None where the run did not record it; ``gini`` is 0 and ``jain`` is 1 when all took
    part alike, and both are NaN before the first selection. ``counts`` holds the rounds of each client, ``(clients,)``.
    """

    clients: int | None
    took_part: int
    gini: float
    jain: float
    counts: NDArray[np.int64] = field(repr=False, compare=False)


def participation(clients: pd.DataFrame, population: int | None) -> Participation:
    """Return how the rounds of a run were shared among its clients.

    Args:
        clients: ``clients.parquet``.
        population: clients that the run could choose from; None where it did not record it.
    """
    participations = counts(clients, population)
    known = len(clients) > 0
    return Participation(
        clients=population,
        took_part=int((participations > 0).sum()),
        gini=gini(participations) if known else float("nan"),
        jain=jain(participations) if known else float("nan"),
        counts=participations,
    )


def counts(clients: pd.DataFrame, population: int | None) -> NDArray[np.int64]:
    """Return in how many rounds each client's update arrived, (clients,).

    Clients that were never selected count as zero where the run recorded its population; else only clients that were
    selected at least once are known.
    """
    replied = clients["status"].fillna(Status.OK).eq(Status.OK)
    participations = replied.groupby(clients["client"].astype(str)).sum().to_numpy(np.int64)
    never = (population or 0) - len(participations)
    return np.concatenate([np.zeros(max(never, 0), dtype=np.int64), participations])


def profile(runs: Sequence[Participation], points: int = 101) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the share of clients, most frequent first, (points,), and the rounds they took part in, the runs' mean."""
    at = np.linspace(0, 1, points)
    known = [participations for run in runs if len(participations := np.sort(run.counts)[::-1])]
    if not known:
        return at, np.full(points, np.nan)
    ranks = [
        np.minimum((at * len(participations)).astype(np.int64), len(participations) - 1) for participations in known
    ]
    return at, np.mean([participations[rank] for participations, rank in zip(known, ranks, strict=True)], axis=0)
