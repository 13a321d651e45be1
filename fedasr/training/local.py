"""Local training as three functions: ``init``, ``step``, ``final``.

Plain, proximal, private and distillation training differ in one of them, and an executor may run them as it likes.
The model is resident: a process builds it once and loads the global weights into it for every client.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from fedasr.config.schema import TrainingConfig
from fedasr.data.batches import Batch
from fedasr.models.base import SpeechModel
from fedasr.models.weights import Arrays, Layout, Vector, flat_parameters
from fedasr.training.optimizers import LocalOptimizer, make_local_optimizer


class Resident:
    """A model whose parameters and gradients are views of two flat tensors of shape ``(parameters,)``."""

    def __init__(self, model: SpeechModel) -> None:
        self.model = model
        self.layout: Layout
        self.layout, self.parameters = flat_parameters(model)
        self.gradient = torch.zeros_like(self.parameters)
        for parameter, part, shape in zip(model.parameters(), self.layout.slices, self.layout.shapes, strict=True):
            parameter.grad = self.gradient[part].view(shape)

    def load(self, arrays: Arrays) -> None:
        """Copy named arrays into the model.

        Raises:
            ValueError: they do not fit the model.
        """
        if self.parameters.device.type == "cpu":
            self.layout.flatten(arrays, self.parameters.numpy())
        else:
            host = self.layout.flatten(arrays, np.empty(self.layout.size, np.float32))
            self.parameters.copy_(torch.from_numpy(host))

    def arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return copies of the weights as named arrays (views of one flat copy)."""
        return self.layout.views(self.parameters.detach().cpu().numpy().copy())


@dataclass
class LocalState:
    """A client's training in progress."""

    resident: Resident
    config: TrainingConfig
    learning_rate: float
    optimizer: LocalOptimizer
    anchor: torch.Tensor | None
    """the global weights, kept only where the proximal term needs them"""
    correction: torch.Tensor | None = None
    """what is added to the gradient of each step; None: nothing"""
    loss: float = 0.0
    loss_square: float = 0.0
    utterances: int = 0
    seconds: float = 0.0
    steps: int = 0


@dataclass(frozen=True)
class LocalResult:
    """What a client reports beside its weights. ``train_loss`` is the mean over the utterances it trained on.

    ``loss_square`` is the mean of the squared losses, what Oort's statistical utility is made of.
    """

    train_loss: float
    loss_square: float
    utterances: int
    seconds: float
    steps: int


def chosen_device(wanted: str) -> torch.device:
    """Return the device that ``runtime.device`` asks for."""
    use_cuda = wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if use_cuda else "cpu")


def normalised_loss(model: SpeechModel, batch: Batch) -> torch.Tensor:
    """Return each utterance's negative log-likelihood per token, shape ``(batch,)``, in nats.

    Normalised per utterance, so that it means the same alone, in a batch, and under per-sample clipping.
    """
    return model.utterance_loss(batch) / batch.target_lengths.clamp(min=1)


def init(
    resident: Resident,
    arrays: Arrays,
    config: TrainingConfig,
    learning_rate: float,
    correction: Vector | None = None,
) -> LocalState:
    """Start from the global weights.

    Args:
        resident: this process's model.
        arrays: the global weights.
        config: of the training.
        learning_rate: of each step.
        correction: added to the gradient of each step, shape ``(parameters,)``; None: nothing.
    """
    resident.load(arrays)
    if not resident.model.training:  # setting the flag walks all modules
        resident.model.train()
    anchor = resident.parameters.clone() if config.proximal else None
    added = None if correction is None else torch.from_numpy(correction).to(resident.parameters.device)
    return LocalState(resident, config, learning_rate, make_local_optimizer(config), anchor, added)


def step(
    state: LocalState, batch: Batch, losses_of: Callable[[SpeechModel, Batch], torch.Tensor] = normalised_loss
) -> None:
    """Train on one batch; an empty one, left by skipped audio, changes nothing.

    The FedProx term mu/2·‖w − w_global‖² (Li et al. 2020) enters as its gradient, after clipping: it is no data. A
    correction comes there too.

    Args:
        state: is changed.
        batch: of any size.
        losses_of: what to make small, a loss of each utterance, shape ``(batch,)``.
    """
    if not len(batch):
        return
    resident, config = state.resident, state.config
    resident.gradient.zero_()
    losses = losses_of(resident.model, batch)
    losses.mean().backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        gradient = resident.gradient
        if config.clip_norm is not None:
            norm = torch.linalg.vector_norm(gradient)
            gradient.mul_((config.clip_norm / (norm + 1e-6)).clamp(max=1.0))
        if state.anchor is not None:
            gradient.add_(resident.parameters - state.anchor, alpha=config.proximal)
        if state.correction is not None:
            gradient.add_(state.correction)
        state.optimizer.step(resident.parameters, gradient, state.learning_rate)
    detached = losses.detach()
    state.loss += float(detached.sum())
    state.loss_square += float(torch.dot(detached, detached))
    state.utterances += len(batch)
    state.seconds += batch.seconds
    state.steps += 1


def final(state: LocalState) -> tuple[dict[str, npt.NDArray[np.float32]], LocalResult]:
    """Return the trained weights and what to report."""
    n = state.utterances or math.nan
    return state.resident.arrays(), LocalResult(
        state.loss / n, state.loss_square / n, state.utterances, state.seconds, state.steps
    )
