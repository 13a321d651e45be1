"""User-level privacy with noise on the devices: canary updates through the protection of the device, one by one."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from fedasr.audits.device_protection import protected
from fedasr.audits.finding import SERVER, Scores
from fedasr.audits.mechanism.parts import MECHANISM, POPULATION, part
from fedasr.audits.mechanism.users import no_losses
from fedasr.audits.mechanism.world import LARGE, World, nothing_released, scaled
from fedasr.flower.messages import assume_identity
from fedasr.privacy.audit.canaries import LARGEST_ENTRY, Canaries, clip_weights
from fedasr.typing import Floats

MOST_UPDATES, MOST_INSERTED, HELD_OUT = 2000, 300, 60
"""Protected updates of an attack, canary users, and canaries without a user that each update is compared with."""


def turns_attack(world: World) -> Scores:
    """Return the scores of the updates of the user who participates most, against its whole ledger."""
    inside: list[float] = []
    outside: list[Floats] = []
    mechanism, rounds = most_turns(world)
    config, layout = world.of_trial(0).config, world.layout
    z, bound = config.privacy.noise_multiplier, config.privacy.clip_norm
    assert z is not None
    canaries = Canaries(layout.size, config.seed, clip_weights(layout, 1.0, config.privacy.clipping))
    large = min(LARGE, LARGEST_ENTRY / (bound * canaries.weights.max())) * bound
    start = np.zeros(layout.size, np.float32)
    assume_identity()
    users = world.repeats(max(20, min(MOST_INSERTED, MOST_UPDATES // len(rounds), canaries.count - HELD_OUT)))
    for user in range(users):
        number = user % (canaries.count - HELD_OUT)
        canary = canaries.vector(number)
        update = (large * canary).astype(np.float32)
        total = np.zeros(canaries.count)
        for round in rounds:
            seen = protected(config, layout, start, update, round, user)
            total += canaries.products(seen.astype(np.float64) / bound - canary)
        total /= z * np.sqrt(len(rounds))
        inside.append(float(total[number]) + np.sqrt(len(rounds)) / z)
        outside.append(total[-HELD_OUT:])
    return Scores(
        "canary updates of the user who participates most",
        np.array(inside),
        np.concatenate(outside),
        partial(scaled, mechanism.ledger.events(("user", "server"))),
        mechanism.ledger.accountant,
        SERVER,
        "each noisy update of the user",
        "the canary and when the user participates",
    )


def most_turns(world: World) -> tuple[Any, list[int]]:
    """Return the server's ledger after all rounds, and the rounds of the user who participates most."""
    population = part(POPULATION)(world.experiment, 0, 0, no_losses)
    mechanism = part(MECHANISM)(world.config, world.layout, len(population), population.selector)
    taken: dict[int, list[int]] = {}
    for round in range(1, world.rounds + 1):
        waited = population.begin(round)
        if mechanism.stop(round, population.roster) is not None:
            break
        cohort = population.choose(round, waited)
        mechanism.admit(cohort.selection, round)
        clients = cohort.selection.clients.tolist()
        mechanism.lost(clients, round)
        population.roster.exclude(mechanism.excluded)
        for client in clients:
            taken.setdefault(client, []).append(round)
    if not taken:
        raise nothing_released(world.config)
    return mechanism, max(taken.values(), key=len)
