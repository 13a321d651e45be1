"""What every attack on a mechanism starts from: a settled config, its clients, the model's shape."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from fedasr.config import Config
from fedasr.errors import InputError
from fedasr.experiment import Experiment
from fedasr.models.weights import Layout, model_arrays
from fedasr.privacy.events import (
    Event,
    FixedSizeGaussian,
    Gaussian,
    Laplace,
    PoissonGaussian,
    Skellam,
    ZeroConcentrated,
)

LARGE = 1e4
"""Clip norms that a canary sends: far beyond what is to be clipped."""
MASK = 2**64 - 1
MOST_ROUNDS = 200
"""That an attack looks at; the claim is then that of the ledger after so many."""


@dataclass(frozen=True)
class World:
    """A settled config without its speech.

    Args:
        config: with everything explicit that depends on the data.
        experiment: knows the clients.
        seed: of the audit.
        trials: how often each attack is repeated.
        effort: share of the usual number of scores that an attack draws; canary users over a run cost little and stay.
    """

    config: Config
    experiment: Experiment
    seed: int = 0
    trials: int = 1
    effort: float = 1.0

    @cached_property
    def layout(self) -> Layout:
        """The model's."""
        return Layout.of(model_arrays(self.experiment.model()))

    @property
    def rounds(self) -> int:
        """How many rounds an attack looks at."""
        return min(self.config.rounds, MOST_ROUNDS)

    @property
    def population(self) -> int:
        """How many users are registered."""
        return self.experiment.registered

    def repeats(self, usual: int) -> int:
        """Return how often a part of an attack is drawn that is usually drawn so often in a trial."""
        return max(1, round(self.effort * usual)) * self.trials

    def of_trial(self, trial: int) -> World:
        """Return the world of a trial: the same clients, other draws."""
        words = np.random.SeedSequence([self.config.seed & MASK, self.seed, trial]).generate_state(1)
        config = replace(self.config, seed=int(words[0]) >> 1)
        experiment = copy.copy(self.experiment)
        experiment.config = config
        return replace(self, config=config, experiment=experiment)

    def rng(self, purpose: int) -> np.random.Generator:
        """Return a generator of the attacker's own coins."""
        return np.random.default_rng([self.config.seed & MASK, self.seed, purpose])


def nothing_released(config: Config) -> InputError:
    """Return why there is nothing to audit."""
    if not config.rounds and config.strategy.name != "pate":
        return InputError("'rounds' is 0, so nothing is released; an audit needs at least 1")
    return InputError(
        f"'privacy.epsilon' is {config.privacy.epsilon:g}, which allows no release at all with this noise; raise either"
    )


def scaled(events: Sequence[Event], factor: float) -> list[Event]:
    """Return events with all noise multiplied by a factor."""
    result: list[Event] = []
    for event in events:
        if isinstance(event, Laplace):
            result.append(replace(event, scale=event.scale * factor))
        elif isinstance(event, ZeroConcentrated):
            result.append(replace(event, rho=event.rho / factor**2))
        elif isinstance(event, (PoissonGaussian, FixedSizeGaussian, Gaussian, Skellam)):
            result.append(replace(event, noise_multiplier=event.noise_multiplier * factor))
        else:
            raise TypeError(f"{event.describe()} is scaled by its own analysis")
    return result
