"""How a contribution to a sum is bounded: by its whole norm, by the norm of each layer, or without a threshold to tune.

A rule turns squared norms by parameter tensor into factors. ``bound`` is the largest norm that a contribution has after
them: what noise is measured in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from fedasr.errors import InputError, nearest
from fedasr.models.weights import Layout
from fedasr.privacy.checks import positive

SHARES = ("uniform", "dimension")


class Clipping(Protocol):
    """A rule; ``bound`` is what no contribution exceeds."""

    @property
    def bound(self) -> float:
        """The largest L2 norm of a contribution, C."""
        ...

    def factors(self, square_norms: torch.Tensor) -> torch.Tensor:
        """Return what to multiply each contribution by, at most 1 where there is a threshold.

        Args:
            square_norms: of each contribution, by parameter tensor, ``(batch, parameters)``.

        Returns:
            ``(batch,)``, or ``(batch, parameters)`` where each tensor has a factor of its own.
        """
        ...


@dataclass(frozen=True)
class Flat:
    """min(1, C / ‖g‖) of the whole gradient (Abadi et al. 2016, arXiv 1607.00133).

    Args:
        norm: C.
    """

    norm: float

    def __post_init__(self) -> None:
        positive("norm", self.norm)

    @property
    def bound(self) -> float:
        """The largest norm, C."""
        return self.norm

    def factors(self, square_norms: torch.Tensor) -> torch.Tensor:
        """Return ``(batch,)``."""
        return (self.norm / square_norms.sum(1).sqrt()).clamp(max=1.0)


@dataclass(frozen=True)
class Automatic:
    """C / (‖g‖ + γ): every gradient has norm just below C, however large it was (Bu et al. 2022, arXiv 2206.07136).

    C only rescales the learning rate, so there is no threshold to tune.

    Args:
        norm: C.
        stability: γ, so that small gradients stay smaller than large ones.
    """

    norm: float = 1.0
    stability: float = 0.01

    def __post_init__(self) -> None:
        positive("norm", self.norm)
        positive("stability", self.stability)

    @property
    def bound(self) -> float:
        """The largest norm, C."""
        return self.norm

    def factors(self, square_norms: torch.Tensor) -> torch.Tensor:
        """Return ``(batch,)``."""
        return self.norm / (square_norms.sum(1).sqrt() + self.stability)


@dataclass(frozen=True)
class PerLayer:
    """min(1, C_h / ‖g_h‖) of each parameter tensor h (McMahan et al. 2018, arXiv 1710.06963).

    Args:
        thresholds: C_h, one a tensor in the order of ``model.parameters()``. Not to be taken from private data.
    """

    thresholds: tuple[float, ...]

    def __post_init__(self) -> None:
        for number, threshold in enumerate(self.thresholds):
            positive(f"thresholds[{number}]", threshold)

    @classmethod
    def of(cls, layout: Layout, norm: float, share: str) -> PerLayer:
        """Return thresholds whose squares add up to ``norm`` squared.

        Args:
            layout: of the model's parameters.
            norm: C.
            share: ``uniform``, C / √H each, or ``dimension``, C · √(d_h / d) by the number of scalars.

        Raises:
            InputError: another share.
        """
        positive("norm", norm)
        if share not in SHARES:
            raise InputError(f"share is '{share}'{nearest(share, SHARES)}; expected one of: {', '.join(SHARES)}")
        if share == "uniform":
            return cls((norm / math.sqrt(len(layout.slices)),) * len(layout.slices))
        return cls(tuple(norm * math.sqrt((part.stop - part.start) / layout.size) for part in layout.slices))

    @property
    def bound(self) -> float:
        """The largest norm of a whole gradient, √ΣC_h²."""
        return math.hypot(*self.thresholds)

    def factors(self, square_norms: torch.Tensor) -> torch.Tensor:
        """Return ``(batch, parameters)``.

        Raises:
            InputError: the model has another number of tensors.
        """
        if square_norms.shape[1] != len(self.thresholds):
            raise InputError(
                f"{len(self.thresholds)} thresholds for a model of {square_norms.shape[1]} parameter tensors;"
                " give one a tensor"
            )
        return (square_norms.new_tensor(self.thresholds) / square_norms.sqrt()).clamp(max=1.0)


def square_norms(gradient: torch.Tensor, parts: Sequence[slice]) -> torch.Tensor:
    """Return the squared norms of the parts of one flat gradient, ``(1, parts)``."""
    return torch.stack([torch.linalg.vector_norm(gradient[part]) for part in parts]).square_().unsqueeze(0)
