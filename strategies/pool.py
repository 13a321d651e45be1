"""How private central training goes about: how large a step is, how many there are, and how much noise each has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedasr.config import Config
from fedasr.experiment import Experiment
from fedasr.privacy.dpsgd import decaying
from fedasr.privacy.example_level import Plan, found_noise

from .budget import Work, make_budget, pooled


@dataclass(frozen=True)
class Pool:
    """Pooled speech, and the steps that are made on it."""

    rows: npt.NDArray[np.integer]
    """of the corpus"""
    plan: Plan
    work: list[Work]
    """of each round"""
    ends: list[int]
    """steps made at the end of each round"""

    @classmethod
    def of(cls, experiment: Experiment) -> Pool:
        """Return the pool of a config with ``privacy.unit: example``.

        A round makes as many steps as its budget of utterances holds expected batches; what is left of a batch goes to
        the next round.
        """
        rows, config = pooled(experiment, 1), experiment.config
        budget = make_budget(experiment)
        work = [budget.of(number) for number in range(1, config.rounds + 1)]
        trained = np.cumsum([0, *(of_round.utterances for of_round in work)])[1:]
        ends = np.rint(trained / min(config.client.batch_size, len(rows))).astype(int).tolist()
        steps = ends[-1] if ends else 0
        return cls(rows, Plan(len(rows), config.client.batch_size, 1, max(1, steps)), work, ends)

    def noise(self, config: Config) -> tuple[float, ...]:
        """Return z of each step of the run; ``privacy.noise_multiplier`` is known."""
        privacy = config.privacy
        assert privacy.noise_multiplier is not None
        steps = self.ends[-1] if self.ends else 0
        return tuple(decaying(privacy.noise_multiplier, privacy.noise_decay, steps, self.plan.steps_a_pass))


def noise_for_budget(config: Config, experiment: Experiment) -> float:
    """Return the noise multiplier of the first pass with which the whole run costs ``privacy.epsilon``.

    Raises:
        InputError: no noise is right.
    """
    privacy, plan = config.privacy, Pool.of(experiment).plan
    assert privacy.epsilon is not None
    micro_batches = privacy.micro_batches is not None
    accountant = privacy.accountant or "rdp"
    return found_noise(plan, plan.steps, privacy.noise_decay, micro_batches, privacy.epsilon, privacy.delta, accountant)
