"""Whom a run protects from, and so what its devices may tell and its server may ask."""

from __future__ import annotations

from fedasr.config.schema import Config
from fedasr.protocol import SECURE_KINDS, Kind

ASKED: dict[str, frozenset[str]] = {
    "server": frozenset({Kind.TRAIN, Kind.EVALUATE, Kind.ESTIMATE}),
    "device": frozenset({Kind.TRAIN, *SECURE_KINDS}),
    "teacher": frozenset({Kind.TEACH, Kind.VOTE, *SECURE_KINDS}),
}
"""Where noise is added → the kinds of messages that an ε covers the answers of, or whose answers the trusted server may
see; ``Kind.DESCRIBE`` is asked of every device."""


def noise_place(config: Config) -> str:
    """Return what stands between speech and onlookers.

    ``none``: nothing; ``server``: noise of a server that is trusted with all that devices send; ``device``: noise of
    each device, before anything leaves it, or its share of it under secure aggregation; ``teacher``: noise on the votes
    of teachers, who stay on their devices.
    """
    privacy = config.privacy
    if config.strategy.name == "pate" or privacy.unit == "teacher":
        return "teacher"
    if privacy.unit == "none":
        return "none"
    return "server" if privacy.unit == "user" and privacy.noise_at == "server" else "device"


def is_asked(config: Config, kind: str) -> bool:
    """Say whether a device of such a run answers a kind of message."""
    place = noise_place(config)
    return place == "none" or kind == Kind.DESCRIBE or kind in ASKED[place]
