"""Where a client finds its speech: a partition in simulation, its own manifest on an edge device."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from flwr.app import Context, Message

from fedasr import protocol
from fedasr.config import load
from fedasr.data.speech import Speech
from fedasr.errors import InputError
from fedasr.experiment import Experiment, experiment
from fedasr.privacy.onlookers import noise_place

from .edge.edge_device import find_edge_device


@dataclass(frozen=True)
class Order:
    """What a message asks of a client, as the client reads it."""

    client: int
    """its number in the roster; every draw depends on it"""
    round: int
    config_json: str
    place: int
    """which part of the corpus that the config leads to is its own"""
    edge_name: str | None = None
    """the name of an edge device; None in a simulation"""

    @property
    def is_edge_device(self) -> bool:
        """Whether it is an edge device."""
        return self.edge_name is not None

    def experiment(self) -> Experiment:
        """Return the experiment: this process's in a simulation, on a device a fresh one, which sees new recordings."""
        return Experiment(load(json.loads(self.config_json))) if self.is_edge_device else experiment(self.config_json)


@dataclass(frozen=True)
class Device:
    """A device at work on a message: who it is, what it holds, and what it was asked."""

    client: int
    round: int
    config_json: str
    experiment: Experiment
    rows: npt.NDArray[np.integer]
    edge_name: str | None = None
    """the name of an edge device; None in a simulation"""

    @property
    def name(self) -> str:
        """What the client is called: as it was enrolled, or by the partition."""
        return str(self.experiment.partition.names[self.client]) if self.edge_name is None else self.edge_name

    @property
    def speech(self) -> Speech:
        """Its speech. In a private run damaged audio is left out in any case: a stop would tell of it."""
        speech = self.experiment.speech
        return speech if noise_place(self.experiment.config) == "none" else speech.without_damage()

    @property
    def seconds(self) -> npt.NDArray[np.float32]:
        """Audio of each stored utterance in seconds, shape ``(utterances,)``."""
        durations: npt.NDArray[np.float32] = self.experiment.speech.durations[self.rows]
        return durations


def read_order(message: Message, context: Context) -> Order:
    """Return what a message asks of the node.

    The instructions come with the message (``config.experiment``, JSON), the speech from the node's own
    configuration: a server cannot name a file on a device.

    Raises:
        InputError: the message does not say; on a device also: what the server sent is no config, or is meant for
            another edge device.
    """
    asked = protocol.Order.of(message)
    edge_device = find_edge_device(context)
    if edge_device is None:
        client = int(context.node_config[protocol.Key.PARTITION])
        return Order(client, asked.round, asked.experiment, client)
    if protocol.Record.ADDRESS not in message.content:
        raise InputError("the server's run is not one for edge devices; set runtime.name=deployment in its config")
    address = protocol.Address.of(message)
    if edge_device.name and address.name != edge_device.name:
        raise InputError(
            f"the server calls this edge device '{address.name}', but it was enrolled as '{edge_device.name}'"
        )
    return Order(address.client, asked.round, edge_device.config(asked.experiment), 0, edge_device.name or address.name)


def find_device(message: Message, context: Context) -> Device:
    """Return the device that a message reached.

    Raises:
        InputError: on an edge device: its manifest is missing or broken, has no usable speech, or as in ``read_order``.
    """
    order = read_order(message, context)
    run = order.experiment()
    rows = run.stored(order.place, order.round)
    return Device(order.client, order.round, order.config_json, run, rows, order.edge_name)
