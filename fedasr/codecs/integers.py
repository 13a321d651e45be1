"""Integers of 8 or 4 bits with a scale for each block, rounded stochastically (QSGD, Alistarh et al. 2017)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.codecs.base import CodecTraits, Damaged, checked_choice, checked_whole
from fedasr.codecs.blocks import Blocks
from fedasr.codecs.coding import CODINGS, pack, unpack
from fedasr.models.weights import Vector


class Integers:
    """Each entry is a whole multiple of its block's largest entry over ``levels``, rounded up or down at random.

    Args:
        parameters: length of the vectors.
        levels: largest integer, 127 or 7.
        block: entries that share a scale; None: all.
        coding: of the bytes, ``zstd`` or ``none``.
    """

    def __init__(self, parameters: int, levels: int, block: Any, coding: Any) -> None:
        self.parameters, self.levels = parameters, levels
        width = max(1, parameters) if block is None else checked_whole(block, "block")
        self.blocks = Blocks(parameters, width)
        self.coding = checked_choice(coding, "coding", CODINGS)
        self.result: Vector | None = None
        # E‖error‖² < ‖x‖² whatever x: with entries of p·scale it is B·(p − p²) < levels² + B·p² for every p.
        contracts = min(width, parameters) < 8 * levels**2
        self.traits = CodecTraits(unbiased=True, feedback="possible" if contracts else "never")

    def encode(self, vector: Vector, rng: np.random.Generator) -> bytes:
        """Return a scale for each block and an integer for each entry."""
        scales = (self.blocks.reduce(np.maximum, np.abs(vector)) / np.float32(self.levels)).astype("<f4")
        spread = self.blocks.spread(scales)
        # A scale may underflow to 0 where the entries do not; they are 0 then.
        scaled = np.divide(vector, spread, out=np.zeros(self.parameters, np.float32), where=spread > 0)
        drawn = rng.random(self.parameters, np.float32)
        whole = np.clip(np.floor(scaled + drawn), -self.levels, self.levels).astype(np.int8)
        return pack(scales.tobytes() + self.bytes_of(whole), self.coding)

    def decode(self, content: bytes) -> Vector:
        """Return the vector; errors as ``Codec.decode``."""
        return self.decode_for_now(content).copy()

    def decode_for_now(self, content: bytes) -> Vector:
        """Return the vector in memory that the next call overwrites; errors as ``Codec.decode``."""
        first = 4 * self.blocks.count
        plain = unpack(content, first + self.bytes_for(self.parameters))
        scales = np.frombuffer(plain, "<f4", self.blocks.count)
        if self.result is None:
            self.result = np.empty(self.parameters, np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            return self.blocks.scaled(scales, self.whole(plain[first:]), self.result)

    def bytes_for(self, count: int) -> int:
        """Return how many bytes so many integers take."""
        return count if self.levels > 7 else (count + 1) // 2

    def bytes_of(self, whole: npt.NDArray[np.int8]) -> bytes:
        """Return integers as bytes; two a byte where they have 4 bits, the first in the upper half."""
        if self.levels > 7:
            return whole.tobytes()
        nibbles = np.zeros(2 * self.bytes_for(len(whole)), np.uint8)
        nibbles[: len(whole)] = whole.astype(np.uint8) & 15
        return (nibbles[::2] << 4 | nibbles[1::2]).tobytes()

    def whole(self, content: bytes) -> npt.NDArray[np.int8]:
        """Return the integers of ``bytes_of``.

        Raises:
            Damaged: one of them is beyond the levels.
        """
        if self.levels > 7:
            result = np.frombuffer(content, np.int8)
        else:
            pairs = np.frombuffer(content, np.uint8)
            nibbles = np.stack([pairs >> 4, pairs & 15], 1).reshape(-1)[: self.parameters]
            result = (nibbles.astype(np.int8) ^ 8) - 8
        if result.size and int(result.min()) < -self.levels:
            raise Damaged("an integer is beyond the levels")
        return result


class Int8(Integers):
    """8 bits a weight, and 32 for the scale of a block.

    Args:
        parameters: length of the vectors.
        block: entries that share a scale; None: all.
        coding: of the bytes, ``zstd`` or ``none``.
    """

    def __init__(self, parameters: int, block: int | None = 256, coding: str = "zstd") -> None:
        super().__init__(parameters, 127, block, coding)


class Int4(Integers):
    """4 bits a weight, and 32 for the scale of a block.

    Args:
        parameters: length of the vectors.
        block: entries that share a scale; None: all.
        coding: of the bytes, ``zstd`` or ``none``.
    """

    def __init__(self, parameters: int, block: int | None = 256, coding: str = "zstd") -> None:
        super().__init__(parameters, 7, block, coding)
