"""What continual settings can be."""

from __future__ import annotations

from fedasr.config.rules.defaults import changed
from fedasr.config.schema import Config, StreamConfig
from fedasr.errors import InputError


def check_stream(config: Config, where: str) -> None:
    """Raise on a continual setting that cannot be."""
    stream = config.stream
    if stream.arrival == "static":
        unread = changed(stream, StreamConfig())
        if unread:
            raise InputError(
                f"'stream.{unread[0]}' is set but 'stream.arrival' is 'static', where everything is there from the"
                f" start and stays; set stream.arrival=poisson or trace, or leave 'stream.{unread[0]}' out",
                where=where,
            )
        return
    if stream.drift and stream.arrival != "poisson":
        raise InputError(
            f"'stream.drift' is {stream.drift} but 'stream.arrival' is '{stream.arrival}'; only poisson draws a drift",
            where=where,
        )
    if 0 < config.rounds < stream.periods:
        raise InputError(
            f"'stream.periods' is {stream.periods} but 'rounds' is {config.rounds}; a period needs at least one round",
            where=where,
        )
