"""What a private run needs to know before it begins, made explicit in its config."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import Any

from fedasr.config import Config

from .device_noise import device_noise_for_budget
from .user_level import noise_for_budget, sampling_of


def settled_privacy(config: Config, population: int) -> dict[str, Any]:
    """Return the keys of ``privacy`` that follow from the others: how often a device takes part, and the noise.

    Args:
        config: of the run; without a number of participations it is that of the average device where every device
            does with its own noise, and the largest possible elsewhere.
        population: how many clients there are.

    Raises:
        InputError: nothing may be assumed of the selection, or no noise is right.
    """
    privacy = config.privacy
    found: dict[str, Any] = {}
    wanted = privacy.noise_multiplier is None
    if privacy.unit == "example" and wanted and privacy.participations is None:
        share = min(1.0, config.selection.clients_per_round / population)
        found["participations"] = max(1, ceil(config.rounds * share))
    if privacy.unit == "user" and privacy.noise_at == "server" and wanted:
        found["noise_multiplier"] = noise_for_budget(config, population)
    if privacy.unit == "user" and privacy.noise_at == "device" and wanted:
        if privacy.participations is None:
            turns = max(1, config.rounds)
            if config.selection.name == "round-robin" and config.selection.separation:
                turns = ceil(turns / config.selection.separation)
            found["participations"] = turns
            privacy = replace(privacy, participations=turns)
        found["noise_multiplier"] = device_noise_for_budget(privacy)
    return found


def check_privacy_of(config: Config, population: int) -> None:
    """Raise where no accountant covers the run.

    Raises:
        InputError: naming the key and what to change.
    """
    if config.privacy.unit == "user" and config.privacy.noise_at == "server":
        sampling_of(config, population)
