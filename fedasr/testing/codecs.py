"""The laws of a codec."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fedasr.codecs import Codec
from fedasr.models.weights import Vector
from fedasr.testing.law import law, same, shown

DRAWS = 400
"""Messages of one vector, over which averages are taken."""


def check_codec(make: Callable[[int], Codec], *, parameters: int = 64, seed: int = 0) -> None:
    """Check the laws of a codec.

    - It decodes to float32 of shape ``(parameters,)``, finite; zeros to zeros.
    - The same vector and generator give the same bytes, by this codec and by another; the vector is only read.
    - By its traits: unbiased, it is right on average; with error feedback, its error is no longer than the vector on
      average; additive, the sum of two decoded vectors is what their sum decodes to.

    Args:
        make: returns a new codec for so many parameters.
        parameters: of the examples.
        seed: of the examples.

    Raises:
        AssertionError: naming the law and the example.
    """
    zeros = through(make(parameters), np.zeros(parameters, np.float32), seed)
    law(not zeros.any(), "zeros are decoded to zeros", f"{parameters} parameters: {shown(zeros)}")
    vector = np.random.default_rng(seed).normal(size=parameters).astype(np.float32)
    example = f"{parameters} normal values, seed {seed}"
    codec, other = make(parameters), make(parameters)
    contents = [c.encode(vector.copy(), np.random.default_rng(seed)) for c in (codec, codec, other)]
    law(len(set(contents)) == 1, "the same vector and generator give the same bytes", example)
    sent = np.stack([through(codec, vector, draw) for draw in range(DRAWS)])
    length = float(vector @ vector)
    if codec.traits.feedback != "never":
        lost = float(np.square(sent - vector).sum(1).mean())
        law(
            lost <= 1.001 * length,
            "with error feedback the error is no longer than the vector",
            f"{example}: {lost:.3g} of {length:.3g}, squared",
        )
    if codec.traits.unbiased:
        # The mean of n draws is off by a share of 1/n of their variance; a twentieth is for rotations that are not
        # uniform.
        off = float(np.square(sent.mean(0) - vector).sum())
        room = 4 * float(sent.var(0).sum()) / DRAWS + (0.05**2 + 1e-6) * length
        law(off <= room, "an unbiased codec is right on average", f"{example}: off by {off:.3g}, squared")
    if codec.traits.additive:
        both = through(codec, vector + vector[::-1], seed)
        apart = through(codec, vector, seed) + through(codec, vector[::-1].copy(), seed)
        law(
            np.allclose(both, apart, rtol=1e-5, atol=1e-6),
            "an additive codec decodes a sum to the sum of the decoded",
            f"{example}: {shown(both)} and {shown(apart)}",
        )


def through(codec: Codec, vector: Vector, seed: int) -> Vector:
    """Return what arrives of a vector."""
    before = vector.copy()
    result = np.asarray(codec.decode(codec.encode(vector, np.random.default_rng(seed))))
    law(same(before, vector), "a codec only reads the vector", f"{len(vector)} parameters, seed {seed}")
    good = result.shape == vector.shape and result.dtype == np.float32 and bool(np.isfinite(result).all())
    law(good, "a codec decodes to finite float32 of shape (parameters,)", f"{result.dtype} of shape {result.shape}")
    return result
