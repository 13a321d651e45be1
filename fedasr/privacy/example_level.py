"""The mechanism of one device's round when single utterances are protected, as a function of the config and of N.

Device and server compute the same from the same numbers, so that nobody has to be told. N, how many utterances a
device stores, is taken as public; see ``docs/private-training.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from fedasr.config import Config
from fedasr.models.weights import Layout
from fedasr.privacy.accountants import calibrate
from fedasr.privacy.dpsgd import PrivateTraining, Release, decaying
from fedasr.privacy.events import Event, MicroBatchGaussian, PoissonGaussian
from fedasr.privacy.gradients.clipping import Automatic, Clipping, Flat, PerLayer


@dataclass(frozen=True)
class Plan:
    """How a device trains in a round.

    Args:
        utterances: N, stored by the device; at least 1.
        batch_size: utterances a step is expected to draw.
        epochs: passes a round.
        steps_a_round: instead of passes; None: as many as ``epochs`` takes.
    """

    utterances: int
    batch_size: int
    epochs: int
    steps_a_round: int | None = None

    @classmethod
    def of(cls, config: Config, utterances: int) -> Plan:
        """Return the plan of a device that stores so many utterances."""
        return cls(utterances, config.client.batch_size, config.client.epochs, config.client.steps)

    @property
    def sampling_probability(self) -> float:
        """q, with which each utterance is drawn in each step."""
        return min(1.0, self.batch_size / self.utterances)

    @property
    def steps_a_pass(self) -> int:
        """Steps in which each utterance is expected to be drawn about once, ⌈1/q⌉."""
        return ceil(1.0 / self.sampling_probability)

    @property
    def steps(self) -> int:
        """Steps of a round."""
        return self.epochs * self.steps_a_pass if self.steps_a_round is None else self.steps_a_round


def noise_multipliers(config: Config, plan: Plan, done: int) -> tuple[float, ...]:
    """Return z of each step of the next round.

    Where ``privacy.noise_multiplier`` is absent, it is found so that ``privacy.participations`` rounds of this device
    cost ``privacy.epsilon``: a device with little speech draws each utterance more often and needs more noise.

    Args:
        config: with ``privacy.unit: example``.
        plan: of the device.
        done: steps that the device has made in earlier rounds.

    Raises:
        InputError: no noise is right.
    """
    privacy = config.privacy
    z = privacy.noise_multiplier
    if z is None:
        assert privacy.epsilon is not None
        assert privacy.participations is not None
        z = found_noise(
            plan,
            privacy.participations * plan.steps,
            privacy.noise_decay,
            privacy.micro_batches is not None,
            privacy.epsilon,
            privacy.delta,
            privacy.accountant or "rdp",
        )
    return tuple(decaying(z, privacy.noise_decay, plan.steps, plan.steps_a_pass, done))


@lru_cache(maxsize=4096)
def found_noise(
    plan: Plan, steps: int, decay: float, micro_batches: bool, epsilon: float, delta: float, accountant: str
) -> float:
    """Return the noise multiplier of the first pass with which so many steps cost ε; many devices store equally much.

    Raises:
        InputError: no noise is right.
    """

    def made(noise: float) -> list[Event]:
        return events(decaying(noise, decay, steps, plan.steps_a_pass), plan.sampling_probability, micro_batches)

    return calibrate(made, epsilon, delta, accountant, tolerance=1e-3)


def events(noise: Sequence[float], sampling_probability: float, micro_batches: bool) -> list[Event]:
    """Return what an accountant composes for steps with these noise multipliers, equal neighbours as one."""
    kind = MicroBatchGaussian if micro_batches else PoissonGaussian
    charged: list[Event] = []
    for z in noise:
        event = kind(unit="example", noise_multiplier=z, sampling_probability=sampling_probability)
        merged = charged[-1].merged(event) if charged else None
        if merged is None:
            charged.append(event)
        else:
            charged[-1] = merged
    return charged


def events_of(releases: Sequence[Release]) -> list[Event]:
    """Return what an accountant composes for the steps that ran."""
    return [
        (PoissonGaussian if release.sensitivity_factor == 1.0 else MicroBatchGaussian)(
            unit="example",
            noise_multiplier=release.noise_multiplier,
            sampling_probability=release.sampling_probability,
            steps=release.steps,
        )
        for release in releases
    ]


def clipping_of(config: Config, layout: Layout) -> Clipping:
    """Return how ``privacy.clipping`` bounds an utterance's gradient."""
    privacy = config.privacy
    if privacy.clipping == "flat":
        return Flat(privacy.clip_norm)
    if privacy.clipping == "automatic":
        return Automatic(privacy.clip_norm)
    share = {"per-layer": "uniform", "per-layer-dim": "dimension"}[privacy.clipping]
    return PerLayer.of(layout, privacy.clip_norm, share)


def training_of(config: Config, layout: Layout, plan: Plan, noise: tuple[float, ...]) -> PrivateTraining:
    """Return what local training needs to know.

    Raises:
        InputError: a number is out of its range.
    """
    return PrivateTraining(
        clipping_of(config, layout),
        noise,
        plan.sampling_probability,
        plan.utterances,
        config.privacy.micro_batches,
        config.privacy.physical_batch,
    )
