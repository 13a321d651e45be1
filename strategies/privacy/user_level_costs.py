"""What a run with user-level privacy costs, and the noise that its budget asks for."""

from __future__ import annotations

import math
from functools import partial

from fedasr.config import Config
from fedasr.errors import InputError
from fedasr.privacy.accountants import best_accountant, calibrate, settled
from fedasr.privacy.correlated.factory import make_noise
from fedasr.privacy.correlated.noise import CorrelatedNoise
from fedasr.privacy.events import Event, Gaussian
from fedasr.privacy.sampling import Sampling, Traits, sampling_assumption
from fedasr.runtime.clock import coupled_by

from ..selection import configured_traits


def sampling_of(config: Config, population: int, eligible: int | None = None, traits: Traits | None = None) -> Sampling:
    """Return what the accountant may assume of the cohorts of a run.

    Args:
        config: of the run.
        population: how many clients are registered.
        eligible: how many of them a cohort of fixed size is drawn among, where that is fewer; None: unknown.
        traits: of the selector; None: those of the one that the config names.

    Raises:
        InputError: nothing.
    """
    return sampling_assumption(
        config.selection.name,
        configured_traits(config.selection) if traits is None else traits,
        population=population,
        cohort=config.selection.clients_per_round,
        eligible=eligible,
        public_activity=config.privacy.public_activity,
        coupled_by=coupled_by(config.devices),
    )


def accountant_of(config: Config) -> str:
    """Return who computes ε on a server: the exact one where nothing else is asked for."""
    return config.privacy.accountant or "pld"


def noise_for_budget(config: Config, population: int, eligible: int | None = None) -> float:
    """Return the noise multiplier with which the whole run costs ``privacy.epsilon``.

    Args:
        config: of the run.
        population: how many clients are registered.
        eligible: how many of them a cohort is drawn among in every round at least; None: unknown.

    Raises:
        InputError: nothing may be assumed of the selection, or no noise is right.
    """
    privacy, sampling = config.privacy, sampling_of(config, population, eligible)
    assert privacy.epsilon is not None
    if privacy.noise == "independent":
        participations = max(1, sampling.participations(config.rounds))
        charges = sampling.gaussian
    else:
        participations, total = 1, noise_of(config).total(max(1, config.rounds))
        charges = partial(correlated_event, square=total)
    accountant = privacy.accountant or best_accountant([charges(1.0)], accountant_of(config))
    beside = estimates_of(config, charges(1.0).adjacency)
    return calibrate(
        lambda noise: [charges(noise).times(participations), *beside], privacy.epsilon, privacy.delta, accountant
    )


def estimates_of(config: Config, adjacency: str) -> list[Event]:
    """Return what the estimates of a run's error rate cost beside its rounds.

    Args:
        config: of the run.
        adjacency: of the rounds.

    Raises:
        InputError: they cost more than ``privacy.epsilon`` by themselves.
    """
    privacy, estimate = config.privacy, config.evaluate.estimate
    event = sums_event(config, adjacency)
    count = config.rounds // estimate.every if estimate.every else 0
    if event is None or not count:
        return []
    assert privacy.epsilon is not None
    alone = settled([event.times(count)], privacy.delta, accountant_of(config)).epsilon
    if alone >= privacy.epsilon:
        raise InputError(
            f"'evaluate.estimate.noise_multiplier' is {estimate.noise_multiplier:g}: {count} estimates cost"
            f" ε = {alone:.3g} by themselves, and 'privacy.epsilon' is {privacy.epsilon:g} for the whole run; raise it,"
            " or raise 'evaluate.estimate.every'"
        )
    return [event.times(count)]


def sums_event(config: Config, adjacency: str) -> Event | None:
    """Return what one estimate costs, of which every device may be a part; None: nothing, since it has no noise."""
    noise_multiplier = config.evaluate.estimate.noise_multiplier
    if not noise_multiplier:
        return None
    return Gaussian(unit="user", adjacency=adjacency, noise_multiplier=noise_multiplier)


def noise_of(config: Config) -> CorrelatedNoise:
    """Return the noise of a run, without the factor z·C."""
    privacy, rounds = config.privacy, max(1, config.rounds)
    traits = configured_traits(config.selection)
    separation = 1 if traits is None else max(1, traits.separation)
    return make_noise(privacy.noise, bands=privacy.bands, separation=separation, rounds=rounds)


def correlated_event(noise_multiplier: float, square: float) -> Event:
    """Return what is charged for correlated noise whose squared sensitivity, in clip norms, grows by ``square``."""
    return Gaussian(unit="user", adjacency="zero-out", noise_multiplier=noise_multiplier, sensitivity=math.sqrt(square))
