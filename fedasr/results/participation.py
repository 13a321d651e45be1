"""How often each client took part, and how fairly the rounds were shared."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedasr.results.load import Run

OK = "ok"


def counts(run: Run) -> NDArray[np.int64]:
    """Return in how many rounds each client's update arrived, (clients,).

    Clients that were never selected count as zero where the run recorded its population; else only clients that were
    selected at least once are known.
    """
    clients = run.clients
    replied = clients["status"].fillna(OK).eq(OK)
    times = replied.groupby(clients["client"].astype(str)).sum().to_numpy(np.int64)
    never = (population(run) or 0) - len(times)
    return np.concatenate([np.zeros(max(never, 0), dtype=np.int64), times])


def population(run: Run) -> int | None:
    """Return how many clients the run could choose from, None where it did not record it."""
    value = run.summary.get("clients")
    return int(value) if isinstance(value, (int, float)) else None
