"""How fast each device is and whether it answers, for one device or a million: arrays, no objects."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from fedasr.config.schema import ClientConfig, DevicesConfig
from fedasr.data.draws import normals, uniforms
from fedasr.typing import Floats

Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.floating] | npt.NDArray[np.integer] | float


class Devices:
    """The devices of a run; every draw is a pure function of (seed, round, client).

    Args:
        config: section ``devices``.
        seed: of the run.
        clients: how many there are.
    """

    def __init__(self, config: DevicesConfig, seed: int, clients: int) -> None:
        self.config = config
        self.seed = seed
        self.clients = clients

    @cached_property
    def tier(self) -> npt.NDArray[np.int8]:
        """The class of each device, an index into ``config.tiers`` drawn with ``config.shares``; ``(clients,)``."""
        bounds = np.cumsum(self.config.shares)
        drawn = uniforms(self.seed, "devices/tier", np.arange(self.clients))
        return np.searchsorted(bounds / bounds[-1], drawn, side="right").astype(np.int8)

    def durations(
        self, round: int, clients: Ids, audio_seconds: Numbers, bytes_down: Numbers, bytes_up: Numbers
    ) -> Floats:
        """Return the simulated seconds from the selection until the answer of each device is in, shape ``(n,)``.

        Download, training and upload, one after the other, at the speed of the device's tier. Training and network each
        take a log-normal factor of their own with median 1 and sigma ``config.jitter``, drawn for (round, client).

        Args:
            round: counted from 1.
            clients: shape ``(n,)``.
            audio_seconds: audio that each trains on, all epochs together, shape ``(n,)`` or one number for all.
            bytes_down: sent to each, likewise.
            bytes_up: sent back by each, likewise.
        """
        config, tier = self.config, self.tier[clients]
        training = np.asarray(config.compute)[tier] * np.asarray(audio_seconds, np.float64)
        down = np.asarray(bytes_down, np.float64) * 8e-6 / np.asarray(config.down_mbps)[tier]
        up = np.asarray(bytes_up, np.float64) * 8e-6 / np.asarray(config.up_mbps)[tier]
        seconds: Floats = self._spread("compute", round, clients) * training
        seconds += self._spread("network", round, clients) * (down + up)
        return seconds

    def dropped(self, round: int, clients: Ids) -> Mask:
        """Return which devices never answer in a round, each with probability ``config.dropout``, shape ``(n,)``."""
        return uniforms(self.seed, "devices/dropout", clients, round) < self.config.dropout

    def _spread(self, what: str, round: int, clients: Ids) -> Floats:
        return np.exp(self.config.jitter * normals(self.seed, f"devices/{what}", clients, round))


def audio_to_train(config: ClientConfig, utterances: npt.NDArray[np.int64], seconds: Floats) -> Floats:
    """Return the audio that devices train on in a round in seconds, all epochs together, shape ``(n,)``.

    With ``client.steps`` it is the expectation: so many batches of an average device's pass (with ``batch_seconds``,
    about: batches are taken as full).

    Args:
        config: section ``client``.
        utterances: that each device stores, shape ``(n,)``.
        seconds: of audio that each stores, shape ``(n,)``.
    """
    if config.steps is None:
        return config.epochs * seconds
    full = utterances / config.batch_size if config.batch_seconds is None else seconds / config.batch_seconds
    return config.steps * seconds / np.maximum(1, np.ceil(full))
