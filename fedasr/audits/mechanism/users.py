"""User-level privacy with noise on the server: canary users, chosen by the real selector, in the real sum."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fedasr.audits.finding import EVERYBODY, Scores
from fedasr.audits.mechanism.parts import AGGREGATE, MECHANISM, POPULATION, RESULT, WEIGHTING, part
from fedasr.audits.mechanism.world import LARGE, World, nothing_released, scaled
from fedasr.models.weights import Layout
from fedasr.privacy.audit import scores
from fedasr.privacy.audit.canaries import LARGEST_ENTRY, Canaries, clip_weights
from fedasr.privacy.events import Event, Gaussian
from fedasr.typing import Floats, Integers

MOST_INSERTED, HELD_OUT = 1000, 20_000
"""Canary users that take part at most, and that do not."""
SMALL = Layout.of({name: np.zeros(4, np.float32) for name in "abcd"})
"""Of the model whose releases are looked at one by one."""
RELEASES = 600
AGREEING = 3
"""Users that all send the same, against whom one is audible."""


@dataclass
class Watched:
    """What a run of canaries released, and what the attacker knows of it."""

    products: Floats
    """of each release with each canary, less what all others added, in clip norms, ``(rounds, canaries)``"""
    turns: Floats
    """1 where an inserted canary was in a round, ``(rounds, inserted)``"""
    mechanism: Any
    events: list[Event]
    probability: float


def run_attack(world: World) -> Scores:
    """Return the scores of canary users over whole runs, against the whole ledger."""
    inside, outside, kind = [], [], "none"
    watched: Watched | None = None
    for trial in range(world.trials):
        here = world.of_trial(trial)
        rng = here.rng(1)
        chosen, coins = inserted(here, rng)
        kind = assumed(here)
        watched = watch(here, chosen, coins)
        z, q = watched.mechanism.update_noise_multiplier, watched.probability
        count = len(chosen)
        if kind == "fixed-size":
            result = scores.exchanged(watched.products[:, :count], z, q)
            inside.append(result[coins > 0])
            outside.append(result[coins < 0])
        elif kind == "poisson":
            result = scores.poisson(watched.products, z, q)
            inside.append(result[:count])
            outside.append(result[count:])
        else:
            matrix = watched.mechanism.noise.matrix(len(watched.products))
            # Who is held out gets the participations of somebody who took part: they say nothing of who it was.
            held = watched.turns[:, rng.integers(count, size=watched.products.shape[1] - count)]
            everybody = np.concatenate([watched.turns, held], axis=1)
            result = scores.matched(watched.products, everybody, matrix, z)
            inside.append(result[:count])
            outside.append(result[count:])
    assert watched is not None
    knows = {
        "poisson": "the canary, the cohorts and updates of all others, but not in which rounds the canary is",
        "fixed-size": "the two canaries, all others' updates, but not in which rounds the canary is",
        "none": "the canary, its participations and all others' updates",
    }[kind]
    return Scores(
        f"canary users over {len(watched.products)} rounds",
        np.concatenate(inside),
        np.concatenate(outside),
        partial(scaled, watched.events),
        watched.mechanism.ledger.accountant,
        EVERYBODY,
        "the global model after every round",
        knows,
    )


def inserted(world: World, rng: np.random.Generator) -> tuple[Integers, Floats]:
    """Return which users are canaries, and the sign of what each sends, shape ``(canaries,)`` both."""
    count = min(world.population, MOST_INSERTED, Canaries(world.layout.size, 0, np.zeros(0)).count // 2)
    chosen = np.sort(rng.choice(world.population, count, replace=False))
    coins = np.ones(count)
    if assumed(world) == "fixed-size":
        coins[rng.permutation(count)[: count // 2]] = -1.0
    return chosen, coins


def assumed(world: World) -> str:
    """Return which sampling the ledger counts on."""
    mechanism = part(MECHANISM)(world.config, SMALL, world.population, selector_of(world))
    return str(mechanism.sampling(world.population).name)


def selector_of(world: World) -> Any:
    """Return the selector of the run."""
    return part(POPULATION)(world.experiment, 0, 0, no_losses).selector


def no_losses(round: int, clients: Any) -> Floats:
    """Answer no question about losses: a private run asks none."""
    raise AssertionError("a private run asks for no losses")


def watch(world: World, chosen: Integers, coins: Floats) -> Watched:
    """Run the config's rounds on canaries instead of speech.

    Args:
        world: of a trial.
        chosen: which users are canaries.
        coins: the sign of what each sends.
    """
    config, layout = world.config, world.layout
    population = part(POPULATION)(world.experiment, 0, 0, no_losses)
    mechanism = part(MECHANISM)(config, layout, len(population), population.selector)
    start = np.zeros(layout.size, np.float32)
    nothing = layout.views(start)
    style = "flat" if mechanism.adaptive else config.privacy.clipping
    place = {int(user): number for number, user in enumerate(chosen)}
    rows, turns, probability = [], [], 1.0
    canaries = Canaries(layout.size, world.config.seed, clip_weights(layout, 1.0, style))
    kept = min(canaries.count, len(chosen) + HELD_OUT)
    for round in range(1, world.rounds + 1):
        waited = population.begin(round)
        if mechanism.stop(round, population.roster) is not None:
            break
        probability = mechanism.expected.probability
        cohort = population.choose(round, waited)
        mechanism.admit(cohort.selection, round)
        clients = cohort.selection.clients if cohort.closing is None else cohort.closing.accepted
        bound, clip = mechanism.bound, mechanism.clip()
        weighting = part(WEIGHTING)(config, len(population))
        mean = part(AGGREGATE)(config.strategy, layout, start, weighting, clip, None)
        large = min(LARGE, LARGEST_ENTRY / (bound * canaries.weights.max())) * bound
        added, there = np.zeros(layout.size), np.zeros(len(chosen))
        for client in clients.tolist():
            number = place.get(client)
            if number is None:
                mean.add(nothing, 1)
                continue
            canary = coins[number] * canaries.vector(number)
            mean.add(layout.views((large * canary).astype(np.float32)), 1)
            added += canary
            there[number] = 1.0
        result = part(RESULT)(mean, rows=[{"id": client, "client": str(client)} for client in clients.tolist()])
        released = mechanism.release(result, round, len(population))
        total = released.astype(np.float64) * min(float(config.selection.clients_per_round), len(population)) / bound
        products = canaries.products(total - added)[:kept]
        products[: len(chosen)] += there * coins
        rows.append(products)
        turns.append(there)
    if not rows:
        raise nothing_released(config)
    return Watched(
        np.array(rows), np.array(turns), mechanism, mechanism.ledger.events(("user", "everyone")), probability
    )


def release_attack(world: World) -> Scores:
    """Return the scores of single releases in which all others agree and one user says the opposite.

    It catches what random directions do not: a denominator, or a clip, that depends on who else is there.
    """
    config = world.config
    mechanism = part(MECHANISM)(config, SMALL, world.population, selector_of(world))
    kind = mechanism.sampling(world.population).name
    rng = world.rng(2)
    direction = clip_weights(SMALL, 1.0, "flat" if mechanism.adaptive else config.privacy.clipping)
    start = np.zeros(SMALL.size, np.float32)
    size = min(float(config.selection.clients_per_round), world.population)
    result: dict[bool, list[float]] = {True: [], False: []}
    for number in range(world.repeats(RELEASES)):
        present = bool(rng.random() < 0.5)
        fresh = part(MECHANISM)(world.of_trial(number).config, SMALL, world.population, mechanism.selector)
        bound = fresh.bound
        large = min(LARGE * bound, LARGEST_ENTRY / direction.max())
        mean = part(AGGREGATE)(
            config.strategy, SMALL, start, part(WEIGHTING)(config, world.population), fresh.clip(), None
        )
        senders = [1.0] * AGREEING
        if present:
            senders.append(-1.0)
        elif kind != "poisson":  # exchanged for its opposite, or silenced; never away
            senders.append(1.0 if kind == "fixed-size" else 0.0)
        for sign in senders:
            mean.add(SMALL.views((sign * large * direction).astype(np.float32)), 1)
        released = fresh.noisy(mean, 1, world.population).astype(np.float64) * size / bound
        result[present].append(AGREEING - float(released @ direction))
    z = config.privacy.noise_multiplier
    assert z is not None
    adjacency = {"poisson": "add-remove", "fixed-size": "replace-one", "none": "zero-out"}[kind]

    def claim(factor: float) -> list[Event]:
        return [Gaussian(unit="user", adjacency=adjacency, noise_multiplier=z * factor)]

    return Scores(
        "one user against all others in one release",
        np.array(result[True]),
        np.array(result[False]),
        claim,
        mechanism.ledger.accountant,
        EVERYBODY,
        "the global model after one round",
        f"who is in the round: {AGREEING} users who agree, and perhaps one more",
        of_ledger=False,
    )
