"""Where a client finds its speech: a partition in simulation; one code path for every action."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from flwr.app import Context, Message

from fedasr.experiment import Experiment, experiment
from fedasr.runtime.flower_compat import values_of


@dataclass(frozen=True)
class Device:
    """A device at work on a message: who it is, what it holds, and what it was asked."""

    client: int
    round: int
    config_json: str
    experiment: Experiment
    rows: npt.NDArray[np.integer]

    @property
    def seconds(self) -> npt.NDArray[np.float32]:
        """Audio of each stored utterance in seconds, shape ``(utterances,)``."""
        found: npt.NDArray[np.float32] = self.experiment.speech.durations[self.rows]
        return found


def find_device(message: Message, context: Context) -> Device:
    """Return the device that a message reached.

    The instructions come with the message (``config.experiment``, JSON), the speech from the node's own
    configuration: a server cannot name a file on a device.
    """
    order = values_of(message, "config")
    config_json = str(order["experiment"])
    run = experiment(config_json)
    client = int(context.node_config["partition-id"])
    round = int(order["round"])
    return Device(client, round, config_json, run, run.stored(client, round))
