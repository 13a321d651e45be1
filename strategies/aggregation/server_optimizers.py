"""Server optimisers: what the mean update does to the global weights.

FedAvg (McMahan et al. 2017), FedAvgM (Hsu et al. 2019), FedAdam and FedYogi (Reddi et al. 2021, Algorithm 2: no bias
correction, tau is added to the root), and LAMB on the server (You et al. 2020, as in Azam et al. 2023: Adam's
direction with bias correction, scaled per tensor by ‖θ‖/‖direction‖).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from fedasr.config.schema import StrategyConfig
from fedasr.models.weights import Layout, Vector

State = dict[str, npt.NDArray[np.float32]]


class ServerOptimizer(ABC):
    """Turns the mean update of a round into new global weights; ``state`` goes into the checkpoint.

    Args:
        config: section ``strategy``.
        layout: of the model.
        cohort: clients a round.
    """

    def __init__(self, config: StrategyConfig, layout: Layout, cohort: int) -> None:
        self.config = config
        self.layout = layout
        self.cohort = cohort
        self.state: State = {}

    @abstractmethod
    def step(self, weights: Vector, update: Vector, round: int, rate: float) -> Vector:
        """Return the new weights, shape ``(parameters,)``.

        Args:
            weights: θ, shape ``(parameters,)``.
            update: the mean of θᵢ − θ, the same shape.
            round: counted from 1.
            rate: the server learning rate η of the round.
        """

    def moment(self, name: str, decay: float, value: Vector) -> Vector:
        """Update and return an exponential moving average."""
        old = self.state.get(name, np.zeros_like(value))
        self.state[name] = np.float32(decay) * old + np.float32(1 - decay) * value
        return self.state[name]


class FedAvg(ServerOptimizer):
    """θ ← θ + η·Δ."""

    def step(self, weights: Vector, update: Vector, round: int, rate: float) -> Vector:
        """Return θ + η·Δ."""
        return weights + np.float32(rate) * update


class FedAvgM(ServerOptimizer):
    """v ← μ·v + Δ, θ ← θ + η·v."""

    def step(self, weights: Vector, update: Vector, round: int, rate: float) -> Vector:
        """Return θ + η·v."""
        velocity = np.float32(self.config.momentum) * self.state.get("velocity", np.zeros_like(update)) + update
        self.state["velocity"] = velocity
        return weights + np.float32(rate) * velocity


class Bmuf(ServerOptimizer):
    """Blockwise model-update filtering: Δ ← η·Δ + ζ·G, θ ← θ + Δ, with G the mean update and ζ the learning rate.

    With the Nesterov form every client starts from where the momentum will lead, θ ← θ + Δ + η·(Δ − Δ before): the
    outer optimiser of DiLoCo, and SGD with Nesterov momentum on −G. The classical form is FedAvgM at a constant rate.
    """

    @property
    def momentum(self) -> float:
        """η: as given, or 1 − 1/N with N clients a round, so that a block counts as much as N workers' data."""
        given = self.config.block_momentum
        return 1 - 1 / max(1, self.cohort) if given is None else given

    def step(self, weights: Vector, update: Vector, round: int, rate: float) -> Vector:
        """Return the weights that the next round starts from."""
        momentum = np.float32(self.momentum)
        before = self.state.get("velocity", np.zeros_like(update))
        velocity = momentum * before + np.float32(rate) * update
        self.state["velocity"] = velocity
        if self.config.block_form == "classical":
            return weights + velocity
        return weights + velocity + momentum * (velocity - before)


class FedAdam(ServerOptimizer):
    """m ← β₁m + (1−β₁)Δ, v ← β₂v + (1−β₂)Δ², θ ← θ + η·m/(√v + τ); v starts at τ²."""

    def second_moment(self, update: Vector) -> Vector:
        """Return the new v."""
        keep = np.float32(self.config.beta2) * self.state["second"]
        new: Vector = keep + np.float32(1 - self.config.beta2) * update**2
        return new

    def step(self, weights: Vector, update: Vector, round: int, rate: float) -> Vector:
        """Return θ + η·m/(√v + τ)."""
        if "second" not in self.state:
            self.state["second"] = np.full_like(update, self.config.tau**2)
        first = self.moment("first", self.config.beta1, update)
        self.state["second"] = self.second_moment(update)
        direction = first / (np.sqrt(self.state["second"]) + np.float32(self.config.tau))
        return np.asarray(weights + np.float32(rate) * direction, np.float32)


class FedYogi(FedAdam):
    """As FedAdam with v ← v − (1−β₂)·Δ²·sign(v − Δ²)."""

    def second_moment(self, update: Vector) -> Vector:
        """Return the new v."""
        square = update**2
        second = self.state["second"]
        new: Vector = second - np.float32(1 - self.config.beta2) * square * np.sign(second - square)
        return new


class FedLamb(ServerOptimizer):
    """Adam's direction with bias correction, scaled per tensor by the trust ratio ‖θ‖/‖direction‖."""

    def step(self, weights: Vector, update: Vector, round: int, rate: float) -> Vector:
        """Return θ + η·r·direction, with r = 1 where a norm is zero."""
        config = self.config
        first = self.moment("first", config.beta1, update) / np.float32(1 - config.beta1**round)
        second = self.moment("second", config.beta2, update**2) / np.float32(1 - config.beta2**round)
        direction = first / (np.sqrt(second) + np.float32(config.tau))
        new = weights.copy()
        for part in self.layout.slices:
            length = float(np.linalg.norm(weights[part]))
            step = float(np.linalg.norm(direction[part]))
            trust = length / step if length > 0 and step > 0 else 1.0
            new[part] += np.float32(rate * trust) * direction[part]
        return new


OPTIMIZERS: dict[str, type[ServerOptimizer]] = {
    "fedavg": FedAvg,
    "fedprox": FedAvg,  # the proximal term is the clients': client.proximal
    "scaffold": FedAvg,  # so is the correction
    "fedavgm": FedAvgM,
    "bmuf": Bmuf,
    "fedadam": FedAdam,
    "fedyogi": FedYogi,
    "fedlamb": FedLamb,
}


def make_optimizer(config: StrategyConfig, layout: Layout, cohort: int) -> ServerOptimizer:
    """Return the server optimiser of ``strategy.name``; a strategy of a user's own steps as fedavg does.

    Args:
        config: section ``strategy``.
        layout: of the model.
        cohort: clients a round.
    """
    return OPTIMIZERS.get(config.name, FedAvg)(config, layout, cohort)
