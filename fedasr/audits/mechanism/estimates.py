"""Estimates of the error rate under user-level privacy: one device among a few, in the real sums with their noise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

import numpy as np

from fedasr.audits.finding import EVERYBODY, Scores
from fedasr.audits.mechanism.parts import MECHANISM, NOISY_SUMS, part
from fedasr.audits.mechanism.users import AGREEING, RELEASES, SMALL, selector_of
from fedasr.audits.mechanism.world import LARGE, World, scaled
from fedasr.evaluation.prediction_powered import PANEL
from fedasr.evaluation.secure_sums import ALL, Count
from fedasr.privacy.events import Event


def sums_attack(world: World) -> Scores:
    """Return the scores of single estimates: a device of the panel is there and counts as much as it can, or is not."""
    words = world.config.evaluate.estimate.words
    assert words is not None
    mechanism = part(MECHANISM)(world.config, SMALL, world.population, selector_of(world))
    rng, sampling = world.rng(3), mechanism.sampling(world.population)
    most = Count(True, [LARGE * words] * len(PANEL), round(LARGE * words))
    others = [{ALL: Count(False, [0.25 * words, 0.5 * words])}] * AGREEING
    noisy = part(NOISY_SUMS)(world.experiment, mechanism)
    sums, mine = noisy.sums, dict.fromkeys(first_of_each(noisy.sums.groups), most)
    known, alone = (sums.weighed(sums.summed(told)) for told in (others, [mine]))
    result: dict[bool, list[float]] = {True: [], False: []}
    charged: list[Event] = []
    for number in range(world.repeats(RELEASES)):
        present = bool(rng.random() < 0.5)
        fresh = part(MECHANISM)(world.of_trial(number).config, SMALL, world.population, mechanism.selector)
        fresh.expected = sampling
        noisy.mechanism = fresh
        released = sums.weighed(noisy.released([*others, mine] if present else others, 1, world.population))
        result[present].append(float((released - known) @ alone / np.linalg.norm(alone)) / sums.sensitivity)
        charged = fresh.ledger.events(("user", "everyone"))
    return Scores(
        "one device in one estimate of the error rate",
        np.array(result[True]),
        np.array(result[False]),
        partial(scaled, charged),
        mechanism.ledger.accountant,
        EVERYBODY,
        "the sums of an estimate",
        f"what all others count: {AGREEING} devices",
        of_ledger=False,
    )


def first_of_each(groups: Sequence[str]) -> list[str]:
    """Return all speech and the first group of each column."""
    columns = {json.loads(group)[0]: group for group in reversed(groups) if group}
    return [ALL, *columns.values()]
