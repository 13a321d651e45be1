"""What a codec is: a vector becomes few bytes, and the bytes a vector again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from fedasr.errors import InputError
from fedasr.models.weights import Vector


class Damaged(ValueError):
    """Bytes that no encoder of this codec makes; the message says why."""


class WrongOption(InputError):
    """A codec cannot have this value of an option.

    Args:
        option: its name.
        value: that it has.
        expected: what it may be.
    """

    def __init__(self, option: str, value: Any, expected: str) -> None:
        super().__init__(f"'{option}' is {value!r}; expected {expected}")
        self.option = option


@dataclass(frozen=True)
class CodecTraits:
    """What a codec promises, which rules read instead of its name."""

    unbiased: bool
    """over its draws the decoded vector is the vector, on average"""
    feedback: Literal["needed", "possible", "never"]
    """whether to keep what was not sent and to add it to the next vector; never: the error may be longer than the
    vector, so that what is kept would grow"""
    additive: bool = False
    """decoding is linear: the sum of messages of the same draws decodes to the sum of the vectors"""
    sparse: bool = False
    """most entries of what is decoded are 0"""


class Codec(Protocol):
    """Encodes vectors of one length. It draws from what it is given alone, and remembers nothing between calls."""

    traits: CodecTraits

    def encode(self, vector: Vector, rng: np.random.Generator) -> bytes:
        """Return a vector as bytes, all that ``decode`` needs.

        Args:
            vector: float32 of shape ``(parameters,)``, finite; only read.
            rng: of this client and round.
        """
        ...

    def decode(self, content: bytes) -> Vector:
        """Return the vector that bytes stand for, float32 of shape ``(parameters,)``.

        Raises:
            ValueError: no encoder has made them. They may come from anybody, and must not ask for any memory.
        """
        ...


def checked_share(value: Any, option: str) -> float:
    """Return the value of an option that is a share.

    Raises:
        WrongOption: it is no number above 0 and up to 1.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
        raise WrongOption(option, value, "a number above 0, at most 1")
    return float(value)


def checked_whole(value: Any, option: str, power: bool = False) -> int:
    """Return the value of an option that is a number of entries.

    Raises:
        WrongOption: it is no whole number above 0, or no power of two where it must be one.
    """
    good = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31
    if not good or (power and value.bit_count() != 1):
        raise WrongOption(option, value, "a power of two" if power else "a whole number above 0")
    return int(value)


def checked_choice(value: Any, option: str, choices: tuple[str, ...]) -> str:
    """Return the value of an option that is one of several texts.

    Raises:
        WrongOption: it is none of them.
    """
    if value not in choices:
        raise WrongOption(option, value, f"one of {', '.join(choices)}")
    return str(value)


def checked_length(value: Any, option: str) -> float:
    """Return the value of an option that is a length in units of the weights.

    Raises:
        WrongOption: it is no number from 1e-36 to 1e36, where single precision has room on both sides.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1e-36 <= value <= 1e36:
        raise WrongOption(option, value, "a number from 1e-36 to 1e36")
    return float(value)


def checked_flag(value: Any, option: str) -> bool:
    """Return the value of an option that is true or false.

    Raises:
        WrongOption: it is neither.
    """
    if not isinstance(value, bool):
        raise WrongOption(option, value, "true or false")
    return value


def decoded(codec: Codec, content: bytes, parameters: int, for_now: bool = False) -> Vector:
    """Return the vector that bytes stand for, whoever has made the codec.

    Args:
        codec: that has encoded it.
        content: the bytes.
        parameters: length of the vectors.
        for_now: whether the vector may be gone when the next one is decoded; a codec that has ``decode_for_now`` needs
            no new memory then, which takes as long as decoding.

    Raises:
        ValueError: it stands for none; the message says why.
    """
    decode: Callable[[bytes], Vector] = getattr(codec, "decode_for_now", codec.decode) if for_now else codec.decode
    result = np.asarray(decode(content))
    if result.shape != (parameters,) or result.dtype != np.float32:
        raise ValueError(
            f"the codec decodes to {result.dtype} of shape {result.shape}; expected float32 of shape ({parameters},)"
        )
    return np.ascontiguousarray(result)
