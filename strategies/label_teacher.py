"""The model that labels the devices' speech, as the server keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.config import Config
from fedasr.models.weights import Vector

NAME = "label-teacher"


class LabelTeacher:
    """The teacher of ``self_labels.teacher``.

    Args:
        config: of the run.
        start: what the run starts from, shape ``(parameters,)``.

    Attributes:
        weights: that are sent beside the global model, shape ``(parameters,)``; None: the global model is the teacher,
            or there is none.
    """

    def __init__(self, config: Config, start: Vector) -> None:
        self.settings = config.self_labels
        needed = config.client.labels in ("self", "feedback")
        self.name = config.self_labels.teacher if needed else "global"
        self.weights: Vector | None = None if self.name == "global" else start.copy()

    def follow(self, weights: Vector) -> None:
        """Move on after a round: θ_T ← αθ_T + (1 − α)θ, in float32, parameter by parameter."""
        if self.name == "ema" and self.weights is not None:
            decay = np.float32(self.settings.decay)
            self.weights = decay * self.weights + (np.float32(1) - decay) * weights

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what a checkpoint must hold."""
        return {NAME: self.weights} if self.name == "ema" and self.weights is not None else {}

    def load_arrays(self, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Go on from ``arrays``; return what of them is somebody else's."""
        if NAME in arrays:
            self.weights = np.asarray(arrays[NAME], np.float32)
        return {name: array for name, array in arrays.items() if name != NAME}
