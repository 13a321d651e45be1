"""Error feedback: what was not sent is kept, and is sent with what comes next (Seide et al. 2014)."""

from __future__ import annotations

import numpy as np

from fedasr.codecs.base import Codec
from fedasr.models.weights import Vector


def send(
    codec: Codec, update: Vector, kept: Vector | None, rng: np.random.Generator, feedback: bool
) -> tuple[bytes, Vector | None]:
    """Return the message of an update plus what was kept, and what is kept of both; None without error feedback.

    Args:
        codec: that encodes them.
        update: shape ``(parameters,)``.
        kept: of earlier messages, decayed already; None: nothing.
        rng: of this client and round.
        feedback: whether to keep what is not sent.
    """
    wanted = update if kept is None else update + kept
    content = codec.encode(wanted, rng)
    return content, wanted - codec.decode(content) if feedback else None
