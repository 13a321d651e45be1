"""When a round closes, and whose answers it takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedasr.typing import Floats

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Closing:
    """How a round ended. Every selected device is in one of ``accepted``, ``late`` and ``dropped``."""

    accepted: Ids
    """whose answers count, the fastest first, shape ``(accepted,)``; empty: nobody answered in time"""
    durations: Floats
    """simulated seconds until each of their answers was in, shape ``(accepted,)``"""
    late: Ids
    """who was still at work when the round closed: their work is lost"""
    dropped: Ids
    """who would never have answered"""
    seconds: float
    """simulated seconds of the whole round, with the server's"""


def close(
    clients: Ids,
    durations: Floats,
    dropped: npt.NDArray[np.bool_],
    cohort: int,
    deadline_s: float | None = None,
    overhead_s: float = 0.0,
) -> Closing:
    """Return how a round ends that waits for the first ``cohort`` answers (Bonawitz et al. 2019).

    It closes as soon as ``cohort`` answers are in, every device is accounted for, or the deadline has passed. A device
    that drops out is found lost when its answer would have been due. Of two that answer at the same time the one
    with the smaller number is first; an answer at the deadline is in time.

    Args:
        clients: the selected devices, distinct, shape ``(n,)``.
        durations: seconds until the answer of each is in, or would have been, shape ``(n,)``.
        dropped: who never answers, shape ``(n,)``.
        cohort: how many answers are enough.
        deadline_s: seconds after which the round closes; None: never.
        overhead_s: seconds that the server needs for the round.
    """
    limit = np.inf if deadline_s is None else deadline_s
    order = np.lexsort((clients, durations))
    answering = order[~dropped[order]]
    accepted = answering[durations[answering] <= limit][:cohort]
    enough = len(accepted) == cohort
    # Where the round waits for more than it gets, it waits for the last of all, or for the deadline.
    closed = durations[accepted].max(initial=0.0) if enough else min(durations.max(initial=0.0), limit)
    return Closing(
        clients[accepted],
        durations[accepted],
        clients[answering[len(accepted) :]],
        clients[order[dropped[order]]],
        float(closed) + overhead_s,
    )
