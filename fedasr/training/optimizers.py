"""Local optimisers over one flat parameter vector.

The arithmetic is torch's functional one. Its optimizer classes import ``torch._dynamo`` when the first is made, about
a second per worker process, and every client would make one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from fedasr.config.schema import TrainingConfig
from fedasr.errors import InputError
from fedasr.registry import is_reference, make_part


class LocalOptimizer(Protocol):
    """Updates the flat parameters in place from the flat gradient; starts afresh with every client and round.

    Where training goes on over the rounds, on a server, a checkpoint keeps its attributes that are tensors or numbers.
    """

    def step(self, parameters: torch.Tensor, gradient: torch.Tensor, learning_rate: float) -> None:
        """Take one step; all tensors of shape ``(parameters,)``."""
        ...


class SGD:
    """Stochastic gradient descent with momentum and L2 weight decay, as ``torch.optim.SGD`` has it."""

    def __init__(self, config: TrainingConfig) -> None:
        self.momentum = config.momentum
        self.weight_decay = config.weight_decay
        self.velocity: torch.Tensor | None = None

    def step(self, parameters: torch.Tensor, gradient: torch.Tensor, learning_rate: float) -> None:
        """Take one step."""
        if self.weight_decay:
            gradient = gradient.add(parameters, alpha=self.weight_decay)
        if self.momentum:
            if self.velocity is None:
                self.velocity = gradient.clone()
            else:
                self.velocity.mul_(self.momentum).add_(gradient)
            gradient = self.velocity
        parameters.add_(gradient, alpha=-learning_rate)


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), as ``torch.optim.AdamW`` has it."""

    def __init__(self, config: TrainingConfig) -> None:
        self.weight_decay = config.weight_decay
        self.first: torch.Tensor | None = None
        self.second: torch.Tensor | None = None
        self.steps = torch.zeros(())

    def step(self, parameters: torch.Tensor, gradient: torch.Tensor, learning_rate: float) -> None:
        """Take one step."""
        from torch.optim.adamw import adamw

        if self.first is None or self.second is None:
            self.first, self.second = torch.zeros_like(parameters), torch.zeros_like(parameters)
        adamw(
            [parameters],
            [gradient],
            [self.first],
            [self.second],
            [],
            [self.steps],
            foreach=False,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=learning_rate,
            weight_decay=self.weight_decay,
            eps=1e-8,
            maximize=False,
        )


def make_local_optimizer(config: TrainingConfig) -> LocalOptimizer:
    """Return a fresh optimiser of ``client.optimizer``.

    Raises:
        InputError: a reference that names no optimiser, or options that do not fit.
    """
    if not is_reference(config.optimizer):
        return AdamW(config) if config.optimizer == "adamw" else SGD(config)
    options = config.optimizer_options
    made = make_part(config.optimizer, "client.optimizer", {"config": config}, options, "client.optimizer_options")
    if not callable(getattr(made, "step", None)):
        raise InputError(
            f"'client.optimizer' is '{config.optimizer}', which makes no optimiser: it has no"
            " 'step(parameters, gradient, learning_rate)'"
        )
    optimizer: LocalOptimizer = made
    return optimizer


def state_of(optimizer: LocalOptimizer) -> dict[str, npt.NDArray[Any]]:
    """Return what a checkpoint must hold of an optimiser that goes on: tensors and numbers, none without a shape."""
    result: dict[str, npt.NDArray[Any]] = {}
    for name, value in vars(optimizer).items():
        if isinstance(value, torch.Tensor):
            result[name] = np.atleast_1d(value.detach().cpu().numpy())
        elif isinstance(value, (bool, int, float)):
            result[name] = np.atleast_1d(np.asarray(value))
    return result


def load_state(optimizer: LocalOptimizer, state: Mapping[str, npt.NDArray[Any]], device: torch.device) -> None:
    """Give a fresh optimiser what ``state_of`` returned.

    Args:
        optimizer: fresh.
        state: of the one before.
        device: of the parameters; what is no vector stays on the host.
    """
    for name, array in state.items():
        now = getattr(optimizer, name, None)
        if isinstance(now, (bool, int, float)):
            setattr(optimizer, name, array.item())
        elif isinstance(now, torch.Tensor) and now.ndim == 0:
            setattr(optimizer, name, torch.from_numpy(np.array(array)).reshape(()))
        else:
            setattr(optimizer, name, torch.from_numpy(np.array(array)).to(device))
