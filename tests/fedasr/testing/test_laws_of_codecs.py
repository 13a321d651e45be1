"""Each law of a codec is kept by every shipped one, and broken by some part, and the message says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedasr.codecs import CODECS, CodecTraits, make_codec
from fedasr.config.schema import CompressionConfig
from fedasr.models.weights import Layout
from fedasr.testing import check_codec


@pytest.mark.parametrize("name", sorted(CODECS))
def test_shipped_codecs_keep_the_laws(name: str) -> None:
    config = CompressionConfig(up=name)
    check_codec(lambda size: make_codec(config, Layout.of({"w": np.zeros(size, np.float32)})))


class Plain:
    """The vector as it is."""

    traits = CodecTraits(unbiased=True, feedback="possible", additive=True)

    def __init__(self, parameters: int) -> None:
        self.parameters, self.calls = parameters, 0

    def encode(self, vector: Any, rng: np.random.Generator) -> bytes:
        self.calls += 1
        return bytes(vector.astype("<f4").tobytes())

    def decode(self, content: bytes) -> Any:
        return np.frombuffer(content, "<f4").copy()


class Half(Plain):
    def decode(self, content: bytes) -> Any:
        return super().decode(content) / np.float32(2)


class Threefold(Plain):
    def decode(self, content: bytes) -> Any:
        return np.float32(3) * super().decode(content)


class Square(Plain):
    traits = CodecTraits(unbiased=False, feedback="never", additive=True)

    def decode(self, content: bytes) -> Any:
        return super().decode(content) ** 2


class Shorter(Plain):
    def decode(self, content: bytes) -> Any:
        return super().decode(content)[:-1]


class OffZero(Plain):
    def decode(self, content: bytes) -> Any:
        return super().decode(content) + np.float32(1)


class Writing(Plain):
    def encode(self, vector: Any, rng: np.random.Generator) -> bytes:
        vector[0] += 1
        return super().encode(vector, rng)


class Counting(Plain):
    def encode(self, vector: Any, rng: np.random.Generator) -> bytes:
        return super().encode(vector * np.float32(1 + self.calls), rng)


@pytest.mark.parametrize(
    ("codec", "sentence"),
    [
        (Half, "an unbiased codec is right on average"),
        (Threefold, "with error feedback the error is no longer than the vector"),
        (Square, "an additive codec decodes a sum to the sum of the decoded"),
        (Shorter, "a codec decodes to finite float32 of shape (parameters,)"),
        (OffZero, "zeros are decoded to zeros"),
        (Writing, "a codec only reads the vector"),
        (Counting, "the same vector and generator give the same bytes"),
    ],
)
def test_a_broken_law_is_named(codec: type[Plain], sentence: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_codec(codec)
    assert sentence in str(caught.value)


def test_the_vector_as_it_is_keeps_the_laws() -> None:
    check_codec(Plain)
