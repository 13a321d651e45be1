"""One teacher of a finished PATE run, looked for in labels that are drawn anew from the run's own votes.

The teacher agrees with the plurality of every query, and in the other world with the runner-up: of all teachers that
the counts allow, the one whose vote matters most. Under consensus nobody's vote does, and then a bound of 0 is right.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import log_ndtr, ndtr
from scipy.stats import laplace, norm

from fedasr.audits.finding import EVERYBODY, Finding, Scores, finding_from, not_attacked
from fedasr.audits.mechanism.parts import AGGREGATOR, RECORD, part
from fedasr.audits.mechanism.votes import noise_of
from fedasr.config import load
from fedasr.errors import InputError
from fedasr.paths import is_file
from fedasr.privacy.events import GNMAX_SENSITIVITY, Event, Gaussian
from fedasr.privacy.pate import noise
from fedasr.privacy.pate.analysis import ORDERS, VoteMechanism, analyse
from fedasr.privacy.pate.votes import read_votes
from fedasr.results.load import load_run
from fedasr.typing import Floats

ATTACK = "one teacher of the run's own votes"
ACCESS = "the released labels"
ALPHA = 0.001
VOTERS, LAPLACE_VOTERS = 400, 80
"""How often the labels of all queries are drawn in each world; an exact Laplace sampler takes most of a millisecond."""
POINTS, TAIL = 2001, 40.0
"""Of the integral over the noise of the winner, and how many scales it reaches beyond the counts."""
LEAST = 1e-300


def audit_votes(path: str | Path, trials: int = 1, seed: int = 0, alpha: float = ALPHA) -> list[Finding]:
    """Return what the labels of a PATE run tell of one of its teachers.

    Args:
        path: of the run folder.
        trials: how often the attack is repeated, with other draws.
        seed: of the attack.
        alpha: probability of a false alarm, at most.

    Raises:
        InputError: it is no folder of a PATE run, or its votes are damaged.
    """
    run = load_run(path)
    config = load(run.path / "config.yaml", checked=False)
    if config.strategy.name != "pate":
        raise InputError(
            f"'strategy.name' is '{config.strategy.name}', whose clients do not vote; expected a run of 'pate'",
            where=str(run.path),
        )
    file = run.path / "votes.npy"
    if not is_file(file):
        reason = (
            "the run has kept no exact votes: it has released nothing, its votes are sums of posteriors or of noisy"
            " shares, or its unit is not 'utterance'"
        )
        return [not_attacked(ATTACK, reason, observer=EVERYBODY, access=ACCESS, unit="teacher")]
    votes = read_votes(file)
    answered = answers(run.path / "queries.parquet", len(votes))
    teachers = config.pate.simulated_teachers or int(run.summary.get("clients") or 0)
    aggregator = part(AGGREGATOR)(config, teachers, part(RECORD)(votes.shape[1], len(ORDERS)))
    scores = votes_attack(aggregator, votes, answered, config.privacy.delta, trials, seed)
    randomness = "secret" if config.privacy.secret_noise else "public seed"
    return [finding_from(scores, config.privacy.delta, alpha, teachers, randomness)]


def answers(path: Path, queries: int) -> npt.NDArray[np.bool_]:
    """Return which queries were answered, shape ``(queries,)``.

    Raises:
        InputError: the table is not of so many queries.
    """
    try:
        found_answers = pd.read_parquet(path, columns=["answered"])["answered"].to_numpy(bool)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"cannot be read: {error}; run again", where=str(path)) from None
    if len(found_answers) != queries:
        raise InputError(f"has {len(found_answers)} queries, and votes.npy has {queries}; run again", where=str(path))
    return found_answers


def votes_attack(
    aggregator: Any,
    votes: Floats,
    answered: npt.NDArray[np.bool_],
    delta: float,
    trials: int = 1,
    seed: int = 0,
) -> Scores:
    """Return the log-likelihood ratios of labels that the aggregator draws in both worlds.

    Args:
        aggregator: with exact votes; its noise is drawn anew for each query of each repetition.
        votes: of the run, shape ``(queries, classes)``.
        answered: which queries were.
        delta: at which ε is told.
        trials: how often the attack is repeated.
        seed: of the attack.
    """
    mechanism: VoteMechanism = aggregator.mechanism
    other = swapped(votes)
    ratios = np.log(probabilities(votes, mechanism)) - np.log(probabilities(other, mechanism))
    voters = trials * (LAPLACE_VOTERS if mechanism.name in noise.LAPLACE else VOTERS)
    numbers = iter(range(seed << 32, 2**62))
    coins = np.random.default_rng(seed)

    def seen(counts: Floats) -> Floats:
        # A query without a label has the last column. Coins tell equal sums apart.
        labels = np.array([[aggregator.label(row, next(numbers)) for row in counts] for _ in range(voters)])
        sums = ratios[np.arange(len(counts)), labels].sum(axis=1)
        return np.asarray(sums + 1e-9 * coins.random(voters))

    known = answered if mechanism.has_threshold else None

    def claim(factor: float) -> list[Event]:
        assert mechanism.scale is not None
        check = mechanism.threshold_scale and mechanism.threshold_scale * factor
        less = replace(mechanism, scale=min(max(mechanism.scale * factor, 1e-5), 1e6), threshold_scale=check)
        return [analyse(votes, less, delta, answered=known).event().data_independent()]

    def gaussian(factor: float) -> list[Gaussian]:
        assert mechanism.scale is not None
        events = [noise_of(mechanism.scale * factor, GNMAX_SENSITIVITY, len(votes))]
        if mechanism.threshold_scale is not None:
            events.append(noise_of(mechanism.threshold_scale * factor, 1.0, len(votes)))
        return events

    return Scores(
        f"{ATTACK}, {len(votes)} queries",
        seen(votes),
        seen(other),
        claim,
        "rdp",
        EVERYBODY,
        ACCESS,
        "all other teachers' votes",
        named=None if mechanism.name in noise.LAPLACE else gaussian,
    )


def swapped(votes: Floats) -> Floats:
    """Return the votes after one that was for the plurality of each query has gone to its runner-up."""
    rows, order = np.arange(len(votes)), np.argsort(votes, axis=1, kind="stable")
    moved = votes.copy()
    moved[rows, order[:, -1]] -= 1.0
    moved[rows, order[:, -2]] += 1.0
    return moved


def probabilities(votes: Floats, mechanism: VoteMechanism) -> Floats:
    """Return how likely each label is, and last that there is none, shape ``(queries, classes + 1)``.

    Class j wins with noise x − n_j where all others stay below x: ∫ f(x − n_j) Π_{k≠j} F(x − n_k) dx, by trapezoids.

    Args:
        votes: shape ``(queries, classes)``.
        mechanism: of labels.
    """
    assert mechanism.scale is not None
    scale, is_laplace = mechanism.scale, mechanism.name in noise.LAPLACE
    steps = np.linspace(-TAIL, TAIL, POINTS)
    rows = []
    for counts in votes:
        x = (counts.max() + scale * steps - counts[:, None]) / scale
        log_below = laplace.logcdf(x) if is_laplace else log_ndtr(x)
        log_density = laplace.logpdf(x) if is_laplace else norm.logpdf(x)
        wins = np.trapezoid(np.exp(log_density - log_below + log_below.sum(axis=0)), steps, axis=1)
        rows.append(wins / wins.sum())
    labels = np.array(rows)
    released = np.ones(len(votes))
    if mechanism.has_threshold:
        assert mechanism.threshold is not None
        assert mechanism.threshold_scale is not None
        released = ndtr((votes.max(axis=1) - mechanism.threshold) / mechanism.threshold_scale)
    chances: Floats = np.maximum(np.concatenate([labels * released[:, None], 1.0 - released[:, None]], axis=1), LEAST)
    return chances
