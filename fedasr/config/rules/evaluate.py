"""What an evaluation needs."""

from __future__ import annotations

from fedasr.config.schema import Config
from fedasr.errors import InputError


def check_evaluate(config: Config, where: str) -> None:
    """Raise on deciles without held-out speech.

    Raises:
        InputError: naming the keys and what to change.
    """
    if config.evaluate.deciles and not config.evaluate.held_out:
        raise InputError(
            "'evaluate.deciles' needs speech that no client trains on: set 'evaluate.held_out', for example to 0.1",
            where=where,
        )
