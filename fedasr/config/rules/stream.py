"""What continual settings can be."""

from __future__ import annotations

from fedasr.config.schema import Config
from fedasr.errors import InputError


def check_stream(config: Config, where: str) -> None:
    """Raise on a continual setting that cannot be."""
    stream = config.stream
    if stream.arrival != "static" and 0 < config.rounds < stream.periods:
        raise InputError(
            f"'stream.periods' is {stream.periods} but 'rounds' is {config.rounds}; a period needs at least one round",
            where=where,
        )
