"""Where there is nothing to compress, or nobody who could decode it."""

from __future__ import annotations

from fedasr.config.schema import Config
from fedasr.errors import InputError


def check_compression(config: Config, where: str) -> None:
    """Raise on a codec for what nobody sends; what follows from a codec's traits is checked where it is made.

    Raises:
        InputError: naming the keys and what to change.
    """
    if config.strategy.name not in ("pate", "central"):
        return
    for way, what in (("up", "send no updates"), ("down", "are sent no models of rounds")):
        codec = getattr(config.compression, way)
        if codec != "none":
            raise InputError(
                f"'compression.{way}' is '{codec}' but 'strategy.name' is '{config.strategy.name}', whose clients"
                f" {what}: leave 'compression' out",
                where=where,
            )
