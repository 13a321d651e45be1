"""User-level privacy by noise that every device brings a share of: the server sees the sum of updates and noise alone.

Distributed DP under secure aggregation. The server knows who takes part, so nothing is amplified by sampling: a user
pays for each of its own participations, as with noise on each device, but the noise is that of one sum. Of a round
whose sum is not opened everybody has paid as well.
"""

from __future__ import annotations

from typing import Any

from fedasr.config import Config
from fedasr.models.weights import Layout
from fedasr.privacy.accountants import calibrate
from fedasr.privacy.events import Skellam
from fedasr.secure.coders import skellam_event

from ..secure.onlooking import told_of_sums
from .base import note_of
from .device_noise import DeviceNoise

NOTE = (
    "each device adds a share of the noise; ε holds for the user with the most participations; who takes part in a"
    " round is taken to be public"
)


def shared_noise_for_budget(config: Config, parameters: int) -> float:
    """Return the noise multiplier with which ``privacy.participations`` participations cost ``privacy.epsilon``.

    Args:
        config: of the run.
        parameters: length of an update.

    Raises:
        InputError: no noise is right.
    """
    privacy = config.privacy
    assert privacy.epsilon is not None
    assert privacy.participations is not None
    participations = privacy.participations
    return calibrate(
        lambda noise: [skellam_event(config, parameters, noise).times(participations)],
        privacy.epsilon,
        privacy.delta,
        "rdp",
    )


class SharedNoise(DeviceNoise):
    """Counts the participations of each user in sums with Skellam noise.

    Args:
        config: with ``privacy.noise_at: shares`` and a noise multiplier.
        layout: of the model.
        population: how many users there are.
    """

    def __init__(self, config: Config, layout: Layout, population: int) -> None:
        self.parameters = layout.size
        super().__init__(config, population)

    def participation(self, config: Config) -> Skellam:
        """Return what one participation of a user is."""
        return skellam_event(config, self.parameters)

    def document(self) -> dict[str, Any]:
        """Return the content of ``privacy.json``: each guarantee says what the server sees."""
        return told_of_sums({**super().document(), "note": note_of(NOTE, self.run)}, self.run)
