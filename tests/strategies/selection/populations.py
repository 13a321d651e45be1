"""Small populations, many draws from them, and the tests of what was drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from fedasr import seeds
from fedasr.data.roster import Roster
from fedasr.strategies.selection import Feedback, Selection, Selector
from fedasr.typing import Floats


def roster(counts: Sequence[int], seconds: Sequence[float] | None = None) -> Roster:
    """Return a roster with these counts; two seconds an utterance where not said otherwise."""
    stored = np.array(counts, np.int64)
    return Roster.from_counts(stored, stored * 2.0 if seconds is None else np.array(seconds))


def rng(round: int = 1, seed: int = 0) -> np.random.Generator:
    return seeds.generator(seed, "selection", round)


def feedback(
    round: int,
    clients: Sequence[int],
    loss: Sequence[float],
    utterances: Sequence[int] | None = None,
    duration: Sequence[float] | None = None,
    missing: Sequence[int] = (),
) -> Feedback:
    """Return what a round brought; a client's losses are all alike."""
    n = len(clients)
    losses = np.array(loss, np.float64)
    return Feedback(
        round,
        np.array(clients, np.int64),
        losses,
        losses**2,
        np.array([1] * n if utterances is None else utterances, np.int64),
        np.array([np.nan] * n if duration is None else duration, np.float64),
        np.array(missing, np.int64),
    )


def draws(make: Callable[[], Selector], table: Roster, k: int, times: int, round: int = 1) -> list[Selection]:
    """Return the cohorts of a round, drawn over and over with other seeds by a new selector each time."""
    return [make().select(round, table, k, rng(round, seed)) for seed in range(times)]


def indicators(drawn: Sequence[Selection], clients: int) -> Floats:
    """Return who was in which cohort, shape ``(draws, clients)``."""
    result = np.zeros((len(drawn), clients))
    for row, selection in zip(result, drawn, strict=True):
        row[selection.clients] = 1
    return result


def p_value(observed: Floats, expected: Floats) -> float:
    """Return the probability that means deviate so far from their expectations or further.

    Wald's chi-square test with the covariance of the observations: who is drawn excludes others, so that clients are
    not independent. Its degrees of freedom are the rank of the covariance.

    Args:
        observed: independent observations, shape ``(draws, clients)``.
        expected: of their means, shape ``(clients,)``.
    """
    difference = observed.mean(axis=0) - expected
    covariance = np.cov(observed, rowvar=False)
    values, vectors = np.linalg.eigh(covariance)
    free = values > 1e-9 * values.max(initial=1e-300)
    # What does not vary must be met exactly: a client that is certain, and the size of a cohort.
    if not np.allclose(vectors[:, ~free].T @ difference, 0, atol=1e-9):
        return 0.0
    if not free.any():
        return 1.0
    along = vectors[:, free].T @ difference
    return float(stats.chi2.sf(len(observed) * (along**2 / values[free]).sum(), free.sum()))
