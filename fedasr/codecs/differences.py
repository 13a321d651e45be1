"""The global model in few bytes: the server sends the encoded difference from the model that the devices hold.

Model 1 is sent as it is. From then on wₜ is the server's model, and ŵₜ = ŵₜ₋₁ + decode(encode(wₜ − ŵₜ₋₁)) what a device
holds that has followed. What an encoding loses is in the next difference, so that ŵ stays as near to w as the codec
allows (error feedback: DoubleSqueeze, Tang et al. 2019; with the server's model kept exact as by Philippenko and
Dieuleveut 2021). A device that holds ŵₜ₋ⱼ adds the last j differences, one after the other, and has the same bits as
all others; where they would take more bytes than the model, or it holds nothing, it is sent ŵₜ whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr import seeds
from fedasr.codecs.base import Codec, decoded
from fedasr.errors import InputError, RunFailed
from fedasr.models.weights import Vector

PREFIX = "broadcast/"
"""Of the names of arrays in a checkpoint."""
MODEL, PLACE, HOLDERS, MESSAGE = f"{PREFIX}model", f"{PREFIX}place", f"{PREFIX}holders", f"{PREFIX}message/"
BYTES = 4
"""Of a parameter that is sent as it is."""


class Differences:
    """The server's half: what the devices hold, and the differences that lead there.

    Args:
        codec: of the differences.
        parameters: of the model.
        seed: of the run.

    Attributes:
        number: of the newest model; 0: there is none yet.
        model: ŵ of that number, shape ``(parameters,)``.
        messages: number → the encoded difference that leads to it from the one before, in ascending order; no more of
            them than take fewer bytes than the model.
        oldest: the model that the first of them starts from.
        holders: client → number of the model that it holds, as far as it is of use.
    """

    def __init__(self, codec: Codec, parameters: int, seed: int) -> None:
        self.codec = codec
        self.parameters = parameters
        self.seed = seed
        self.number = self.oldest = 0
        self.model: Vector = np.zeros(0, np.float32)
        self.messages: dict[int, bytes] = {}
        self.holders: dict[int, int] = {}

    def advance(self, number: int, weights: Vector) -> Vector:
        """Return what devices get of the server's model; encode it, unless that was done for this number.

        Args:
            number: of the model, from 1, rising.
            weights: of the server, shape ``(parameters,)``; only read.

        Raises:
            InputError: a codec of one's own does not decode what it has encoded.
            RunFailed: the result is no longer finite.
        """
        if self.number and number <= self.number:
            return self.model
        if not self.number:
            self.model, self.oldest = weights.copy(), number
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                difference = weights - self.model
            content = self.codec.encode(difference, seeds.generator(self.seed, "broadcast", number))
            try:
                self.model = added(self.codec, self.model, content)
            except ValueError as error:
                raise InputError(f"'compression.down': {error}", where="") from None
            if not np.isfinite(self.model).all():
                raise RunFailed(f"round {number}: the model that devices would hold is no longer finite numbers")
            self.messages[number] = content
            self.drop_useless()
        self.number = number
        return self.model

    def drop_useless(self) -> None:
        """Forget differences that take more bytes than the model, and who would need them."""
        room = BYTES * self.parameters
        while sum(map(len, self.messages.values())) >= room and self.messages:
            self.oldest = next(iter(self.messages))
            del self.messages[self.oldest]
        self.holders = {client: held for client, held in self.holders.items() if held >= self.oldest}

    def unsent(self, weights: Vector) -> Vector:
        """Return what the devices' model lacks of the server's, shape ``(parameters,)``."""
        return weights - self.model

    def since(self, held: int) -> dict[int, bytes]:
        """Return the differences after a model that some device holds."""
        return {number: content for number, content in self.messages.items() if number > held}

    def delivered(self, clients: Iterable[int]) -> None:
        """Note that clients hold the newest model: they have answered a message with it."""
        self.holders.update(dict.fromkeys(clients, self.number))

    def lost(self, clients: Iterable[int]) -> None:
        """Note that clients hold nothing for sure."""
        for client in clients:
            self.holders.pop(client, None)

    def forget_holders(self) -> None:
        """Note that nobody holds anything for sure."""
        self.holders.clear()

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what a checkpoint must hold."""
        if not self.number:
            return {}
        return {
            MODEL: self.model,
            PLACE: np.array([self.number, self.oldest], np.int64),
            HOLDERS: np.array(list(self.holders.items()), np.int64).reshape(-1, 2),
            **{f"{MESSAGE}{number}": np.frombuffer(content, np.uint8) for number, content in self.messages.items()},
        }

    def load_arrays(self, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Go on from ``arrays``; return what of them is somebody else's."""
        others = {name: array for name, array in arrays.items() if not name.startswith(PREFIX)}
        if MODEL not in arrays:
            return others
        self.model = np.asarray(arrays[MODEL], np.float32)
        self.number, self.oldest = map(int, arrays[PLACE])
        self.holders = {int(client): int(held) for client, held in arrays[HOLDERS]}
        names = [name for name in arrays if name.startswith(MESSAGE)]
        numbers = sorted(int(name.removeprefix(MESSAGE)) for name in names)
        self.messages = {number: arrays[f"{MESSAGE}{number}"].tobytes() for number in numbers}
        return others


def added(codec: Codec, model: Vector, content: bytes) -> Vector:
    """Return a model after a difference, on the server and on a device: the same bits, shape ``(parameters,)``.

    Raises:
        ValueError: the bytes stand for none.
    """
    difference = decoded(codec, content, len(model))
    with np.errstate(over="ignore", invalid="ignore"):
        result: Vector = model + difference
    return result
