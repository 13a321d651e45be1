"""Where there is nothing to compress, or nobody who could decode it."""

from __future__ import annotations

from fedasr.config.schema import Config
from fedasr.errors import InputError


def check_compression(config: Config, where: str) -> None:
    """Raise on a codec for updates that nobody sends; what follows from a codec's traits is checked where it is made.

    Raises:
        InputError: naming the keys and what to change.
    """
    if config.compression.up == "none":
        return
    if config.strategy.name in ("pate", "central"):
        raise InputError(
            f"'compression.up' is '{config.compression.up}' but 'strategy.name' is '{config.strategy.name}', whose"
            " clients send no updates: leave 'compression' out",
            where=where,
        )
