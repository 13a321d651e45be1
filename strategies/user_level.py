"""User-level central differential privacy: clip every update, add noise to the sum, divide by a fixed number.

McMahan et al. 2018 (arXiv 1710.06963), with per-layer clipping (arXiv 2310.00098) and adaptive clipping (Andrew et
al. 2021, arXiv 1905.03871). The cohort is Poisson-sampled, so its size is random and may be zero: the denominator is
its expectation, never the count, and a round in which nobody answers releases noise all the same.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from typing import Any

import numpy as np

from fedasr import seeds
from fedasr.config import Config
from fedasr.models.weights import Layout, Vector
from fedasr.privacy.events import PoissonGaussian
from strategies.aggregation.clipping import Clip
from strategies.aggregation.exact_mean import ExactMean

BITS_SHARE = 20
"""Andrew et al.: the noise on the count of unclipped updates is a twentieth of the cohort."""


class UserLevel:
    """The mechanism of a run; its state is the adaptive clip norm.

    Args:
        config: with ``privacy.unit: user`` and a noise multiplier.
        layout: of the model.
    """

    def __init__(self, config: Config, layout: Layout) -> None:
        assert config.privacy.noise_multiplier is not None
        self.config = config.privacy
        self.seed = config.seed
        self.layout = layout
        self.cohort = float(config.selection.clients_per_round)
        self.noise_multiplier = config.privacy.noise_multiplier
        self.bound = config.privacy.clip_norm

    @property
    def adaptive(self) -> bool:
        """Whether the clip norm follows a quantile of the updates."""
        return self.config.clipping == "adaptive"

    @property
    def bits_noise(self) -> float:
        """Standard deviation of the noise on the number of unclipped updates."""
        return self.cohort / BITS_SHARE

    @property
    def update_noise_multiplier(self) -> float:
        """The noise multiplier of the updates: a little more, so that with the count it costs what was asked for.

        z_Δ = (z⁻² − (2σ_b)⁻²)^(−½). The bits are ±½ around the quantile's centre, so one user moves the count by ½.
        """
        if not self.adaptive:
            return self.noise_multiplier
        return float((self.noise_multiplier**-2 - (2 * self.bits_noise) ** -2) ** -0.5)

    def clip(self) -> Clip:
        """Return how an update is clipped in this round."""
        return Clip(self.layout, self.bound, "flat" if self.adaptive else self.config.clipping)

    def event(self, population: int) -> PoissonGaussian:
        """Return what a round costs, in a population of so many selectable users."""
        q = min(1.0, self.cohort / max(1, population))
        return PoissonGaussian(unit="user", noise_multiplier=self.noise_multiplier, sampling_probability=q)

    def release(self, mean: ExactMean, round: int, population: int) -> Vector:
        """Return the noisy mean update, shape ``(parameters,)``, and move the clip norm.

        Args:
            mean: of the clipped updates, over the expected cohort.
            round: counted from 1.
            population: selectable users; a cohort is at most all of them.
        """
        rng = self.generator(round)
        cohort = min(self.cohort, float(population))
        scale = self.update_noise_multiplier * self.bound / cohort
        noisy = mean.mean().astype(np.float64) + rng.normal(0.0, scale, self.layout.size)
        if self.adaptive:
            # With bits of ±½ the count of the unclipped is Σ(b − ½) + ½·cohort, whoever took part.
            counted = mean.unclipped - 0.5 * mean.updates + rng.normal(0.0, self.bits_noise)
            share = 0.5 + counted / cohort
            self.bound *= math.exp(-self.config.quantile_rate * (share - self.config.quantile))
        return noisy.astype(np.float32)

    def generator(self, round: int) -> np.random.Generator:
        """Return the source of a round's noise."""
        if self.config.secret_noise:
            return np.random.Generator(np.random.PCG64(secrets.randbits(256)))
        return seeds.generator(self.seed, "central-noise", round)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold, as JSON values."""
        return {"bound": self.bound}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state_dict``."""
        self.bound = float(state["bound"])
