"""A learning rate over the rounds, the clients' or the server's."""

from __future__ import annotations

import math

from fedasr.config.schema import StrategyConfig, TrainingConfig


def learning_rate(config: TrainingConfig | StrategyConfig, round: int, rounds: int) -> float:
    """Return the learning rate of a round.

    Args:
        config: ``learning_rate``, ``schedule``, ``final_scale`` and ``warmup_rounds``.
        round: counted from 1.
        rounds: of the whole run; the schedule ends with the last one.
    """
    warmup = config.warmup_rounds
    if round <= warmup:
        return config.learning_rate * round / (warmup + 1)
    progress = (round - 1 - warmup) / max(1, rounds - 1 - warmup)
    if config.schedule == "linear":
        scale = 1 + (config.final_scale - 1) * progress
    elif config.schedule == "cosine":
        scale = config.final_scale + (1 - config.final_scale) * 0.5 * (1 + math.cos(math.pi * progress))
    else:
        scale = 1.0
    return config.learning_rate * scale
