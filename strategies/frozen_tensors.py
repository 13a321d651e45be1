"""Which clients hold the frozen tensors of the initial model, and what they take to get them there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import RecordDict

from fedasr.flower.records import array_record, content_bytes
from fedasr.models.weights import Arrays
from fedasr.protocol import Record

from .selection.base import Ids

NAME = "frozen/holders"


class FrozenTensors:
    """A client needs them once, with the first message that brings it a model; no message holds them in a simulation.

    Args:
        arrays: the frozen tensors by name; empty: there are none.

    Attributes:
        bytes: of a message with all of them.
    """

    def __init__(self, arrays: Arrays) -> None:
        self.bytes = content_bytes(RecordDict({Record.ARRAYS: array_record(dict(arrays))})) if arrays else 0
        self.holders: set[int] = set()

    def bytes_to(self, clients: Ids) -> npt.NDArray[np.int64]:
        """Return what clients that are sent a model get beside it, shape ``(clients,)``; they hold it from now on."""
        if not self.bytes:
            return np.zeros(len(clients), np.int64)
        fresh = np.array([client not in self.holders for client in clients.tolist()], bool)
        self.holders.update(clients.tolist())
        return np.where(fresh, self.bytes, 0)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what a checkpoint must hold."""
        return {NAME: np.array(sorted(self.holders), np.int64)} if self.bytes else {}

    def load_arrays(self, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Go on from ``arrays``; return what of them is somebody else's."""
        self.holders = set(map(int, arrays.get(NAME, ())))
        return {name: array for name, array in arrays.items() if name != NAME}
