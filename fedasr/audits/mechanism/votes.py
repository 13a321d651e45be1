"""PATE: all other teachers are tied between two answers, and one votes for either, through the real aggregator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil, floor
from typing import Any

import numpy as np

from fedasr.audits.finding import EVERYBODY, SERVER, Scores
from fedasr.audits.mechanism.parts import AGGREGATOR, RECORD, part
from fedasr.audits.mechanism.world import World, nothing_released
from fedasr.privacy.events import GNMAX_SENSITIVITY, Event, Gaussian
from fedasr.privacy.pate import noise
from fedasr.privacy.pate.analysis import ORDERS, analyse
from fedasr.typing import Floats

CLASSES = 4
"""Answers that are voted on: two of them tied, the others without a vote. The accounts do not know their number."""
VOTERS, MOST_QUERIES, LEAST_QUERIES = 600, 200, 8
"""Repetitions of a teacher's votes in each of the two worlds, and queries of each."""
LAPLACE_VOTERS, LAPLACE_QUERIES = 150, 40
"""The same of Laplace noise, whose exact sampler takes most of a millisecond."""
AT_A_TIME = 50
"""Repetitions whose shares of noise are drawn together."""


@dataclass(frozen=True)
class Worlds:
    """Counts of one query, whichever way the teacher votes, shape ``(classes,)``."""

    inside: Floats
    outside: Floats


def aggregator(world: World) -> Any:
    """Return the run's aggregator, with nothing released."""
    return part(AGGREGATOR)(world.config, teachers(world), part(RECORD)(CLASSES, len(ORDERS)))


def teachers(world: World) -> int:
    """Return how many there are."""
    return world.config.pate.simulated_teachers or world.population


def queries_of(world: World) -> int:
    """Return over how many queries one teacher is looked for: as many as make μ about 1.4, or as the budget pays for.

    Raises:
        InputError: it pays for none.
    """
    result, counts, queries = aggregator(world), tie(world).inside, wanted(world)
    for number in range(queries):
        if not result.affords(counts, answered=True):
            queries = number
            break
        result.record.rdp += result.cost(counts, True)
    if not queries:
        raise nothing_released(world.config)
    return queries


def wanted(world: World) -> int:
    """Return how many queries are looked at where there is no budget."""
    pate = world.config.pate
    most = LAPLACE_QUERIES if pate.mechanism in noise.LAPLACE else MOST_QUERIES
    most = most if pate.queries is None else min(most, pate.queries)
    return max(1, min(most, max(LEAST_QUERIES, ceil(min(pate.scale, 1e3) ** 2))))


def voters_of(world: World) -> int:
    """Return how often the teacher's votes are repeated in each world."""
    return world.repeats(LAPLACE_VOTERS if world.config.pate.mechanism in noise.LAPLACE else VOTERS)


def tie(world: World) -> Worlds:
    """Return a tie between two answers that one teacher breaks."""
    half = (teachers(world) - 1) // 2
    counts = np.zeros(CLASSES)
    counts[:2] = half
    return Worlds(counts + np.eye(CLASSES)[0], counts + np.eye(CLASSES)[1])


def consensus(world: World) -> Worlds:
    """Return votes that are one short of the threshold, or not, by one teacher."""
    counts = np.zeros(CLASSES)
    counts[0] = max(0, floor(world.config.pate.threshold or 0.0))
    return Worlds(counts + np.eye(CLASSES)[0], counts + np.eye(CLASSES)[1])


def tie_attack(world: World) -> Scores:
    """Return how often the label, or what is released, takes the teacher's side."""
    result = aggregator(world)
    worlds = tie(world)
    if world.config.pate.noise_at == "teachers":
        return scored(world, worlds, shares(world, worlds), "a teacher that breaks ties, with shares of noise", SERVER)
    if result.mechanism.soft:
        return scored(world, worlds, whole(world, result, worlds), "a teacher whose posterior breaks ties", EVERYBODY)

    def sides(counts: Floats, number: int) -> float:
        label = result.label(counts, number)
        return float(label == 0) - float(label == 1)

    return scored(world, worlds, one_by_one(world, worlds, sides), "a teacher that breaks ties", EVERYBODY)


def consensus_attack(world: World) -> Scores:
    """Return how often the check finds a consensus that one teacher makes."""
    result, worlds = aggregator(world), consensus(world)

    def answered(counts: Floats, number: int) -> float:
        return float(result.label(counts, number) >= 0)

    return scored(world, worlds, one_by_one(world, worlds, answered), "a teacher that makes a consensus", EVERYBODY)


Pair = tuple[Floats, Floats]
"""Scores inside and outside."""


def one_by_one(world: World, worlds: Worlds, value: Callable[[Floats, int], float]) -> Pair:
    """Return the sums of a value of each query over the queries; the attacker's coins tell equal sums apart."""
    queries, voters, rng = queries_of(world), voters_of(world), world.rng(5)
    numbers = iter(range(first_number(world), 2**62))
    inside, outside = (
        np.array([sum(value(counts, next(numbers)) for _ in range(queries)) for _ in range(voters)])
        + rng.random(voters)
        for counts in (worlds.inside, worlds.outside)
    )
    return inside, outside


def first_number(world: World) -> int:
    """Return the number of the first query: other draws for another seed of the audit."""
    return world.seed << 32


def ratio(world: World, released: Floats, worlds: Worlds) -> Floats:
    """Return the log likelihood ratio of released counts, summed over the queries; ``(…, queries, classes)``."""
    pate = world.config.pate
    away, near = (released - counts for counts in (worlds.outside, worlds.inside))
    if pate.mechanism in noise.LAPLACE:
        return np.asarray((np.abs(away) - np.abs(near)).sum((-2, -1)) / pate.scale)
    return np.asarray((away**2 - near**2).sum((-2, -1)) / (2 * pate.scale**2))


def whole(world: World, mechanism: Any, worlds: Worlds) -> Pair:
    """Return the ratios of sums of posteriors as they are released."""
    queries = queries_of(world)
    numbers = iter(range(first_number(world), 2**62))

    def seen(counts: Floats) -> Floats:
        rows = [[mechanism.noisy(counts, next(numbers)) for _ in range(queries)] for _ in range(voters_of(world))]
        return ratio(world, np.array(rows), worlds)

    return seen(worlds.inside), seen(worlds.outside)


def shares(world: World, worlds: Worlds) -> Pair:
    """Return the ratios of sums of votes with a share of noise each, as the server gets the sum."""
    pate, many, queries = world.config.pate, teachers(world), queries_of(world)
    rng, coder = world.rng(4), aggregator(world).sums

    def seen(counts: Floats) -> Floats:
        # Whoever is not in the tie has no vote, and a share of noise all the same.
        votes = np.zeros((many, CLASSES))
        cast = np.repeat(np.arange(CLASSES), counts.astype(int))
        votes[np.arange(len(cast)), cast] = 1.0
        result = []
        for _ in range(ceil(voters_of(world) / AT_A_TIME)):
            total = np.zeros((AT_A_TIME, queries, CLASSES), np.int64)
            for number, vote in enumerate(votes):
                row = np.broadcast_to(vote, total.shape)
                if coder is None:
                    total += noise.to_fixed(noise.with_share(pate.mechanism, pate.scale, row, rng, many))
                else:  # as if the others had told their shares: on so many alone the account counts
                    total += coder.encode(row, rng) if number < coder.least else (row * coder.steps).astype(np.int64)
            result.append(ratio(world, noise.from_fixed(total) if coder is None else total / coder.steps, worlds))
        return np.concatenate(result)

    return seen(worlds.inside), seen(worlds.outside)


def scored(world: World, worlds: Worlds, pair: Pair, attack: str, observer: str) -> Scores:
    """Return the scores with what the ledger says of so many queries."""
    result, queries = aggregator(world), queries_of(world)
    for number in range(queries):
        result.record.rdp += result.cost(worlds.inside, True)
        result.record.add(number, 0, worlds.inside)

    def claim(factor: float) -> list[Event]:
        if factor == 1.0:
            [event] = result.ledger().events(("teacher", result.seen_by))
            return [event.data_independent()]
        old = result.mechanism
        less = old.threshold_scale and old.threshold_scale * factor
        mechanism = replace(old, scale=min(max(old.scale * factor, 1e-5), 1e6), threshold_scale=less)
        known = result.record.answered if old.has_threshold else None
        analysis = analyse(result.record.votes, mechanism, world.config.privacy.delta, answered=known)
        return [analysis.event().data_independent()]

    def gaussian(factor: float) -> list[Gaussian]:
        old = result.mechanism
        events = [noise_of(old.scale * factor, GNMAX_SENSITIVITY, queries)]
        if old.has_threshold:
            events.append(noise_of(old.threshold_scale * factor, 1.0, queries))
        return events

    return Scores(
        f"{attack}, {queries} queries",
        pair[0],
        pair[1],
        claim,
        "rdp",
        observer,
        "the noisy sums of the votes" if observer == SERVER or result.mechanism.soft else "the released labels",
        "all other teachers' votes",
        named=None if result.mechanism.name in noise.LAPLACE else gaussian,
    )


def noise_of(scale: float, sensitivity: float, queries: int) -> Gaussian:
    """Return what so many queries with Gaussian noise are."""
    return Gaussian(
        unit="teacher", adjacency="replace-one", noise_multiplier=scale, sensitivity=sensitivity, steps=queries
    )
