"""Distributed DP: a canary update among others in a sum of the least number of shares, as the server sees it."""

from __future__ import annotations

from functools import partial

import numpy as np

from fedasr.audits.finding import Scores
from fedasr.audits.mechanism.devices import HELD_OUT, MOST_INSERTED, most_turns
from fedasr.audits.mechanism.parts import SHARED, part
from fedasr.audits.mechanism.world import LARGE, World, scaled
from fedasr.config import Config
from fedasr.models.weights import Layout, Vector
from fedasr.privacy.audit.canaries import LARGEST_ENTRY, Canaries, clip_weights
from fedasr.secure.coders import ShareCoder
from fedasr.secure.modulus import wrapped
from fedasr.secure.terms import least_updates
from fedasr.typing import Floats

MOST_SHARES = 10_000
"""Updates with a share of the noise of an attack."""
SUM = "the server, which sees the sum of a round"


def sum_attack(world: World) -> Scores:
    """Return the scores of the sums in which the user takes part that participates most, against its whole ledger.

    No other client sends anything but its share of the noise, and there are no more of them than the ledger counts on.
    """
    inside: list[float] = []
    outside: list[Floats] = []
    mechanism, rounds = most_turns(world)
    config, layout = world.config, world.layout
    z, bound = config.privacy.noise_multiplier, config.privacy.clip_norm
    assert z is not None
    canaries = Canaries(layout.size, world.of_trial(0).config.seed, clip_weights(layout, 1.0, config.privacy.clipping))
    large = min(LARGE, LARGEST_ENTRY / (bound * canaries.weights.max())) * bound
    most = min(MOST_INSERTED, MOST_SHARES // (len(rounds) * least_updates(config)), canaries.count - HELD_OUT)
    for user in range(world.repeats(max(20, most))):
        number = user % (canaries.count - HELD_OUT)
        canary = canaries.vector(number)
        update = (large * canary).astype(np.float32)
        total = np.zeros(canaries.count)
        for round in rounds:
            seen = summed(world.of_trial(0).config, layout, update, round, user)
            total += canaries.products(seen / bound - canary)
        total /= z * np.sqrt(len(rounds))
        inside.append(float(total[number]) + np.sqrt(len(rounds)) / z)
        outside.append(total[-HELD_OUT:])
    return Scores(
        "canary updates of the user who participates most, in sums with the least number of shares",
        np.array(inside),
        np.concatenate(outside),
        partial(scaled, mechanism.ledger.events(("user", "server"))),
        mechanism.ledger.accountant,
        SUM,
        "the sum of each round in which the user takes part",
        "the canary, when the user participates, and the updates of all others",
    )


def summed(config: Config, layout: Layout, update: Vector, round: int, user: int) -> Floats:
    """Return the sum of an update and of nothing, each with a share of the noise, shape ``(parameters,)``."""
    least = least_updates(config)
    coder = ShareCoder(config, layout.size)
    total = np.zeros(coder.length, np.int64)
    for place in range(least):
        sent = update.copy() if not place else np.zeros_like(update)
        total += part(SHARED)(sent, config, layout, round, user * least + place)
    mean, _ = coder.decode(wrapped(total, coder.bits), least, round)
    return least * mean.astype(np.float64)
