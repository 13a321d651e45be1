"""Byzantine clients of a simulation: they train as all others do, and send what their attack says."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from flwr.app import Context, Message, MessageType, RecordDict

from fedasr import seeds
from fedasr.attacks import Collusion, Updates, byzantine_clients, make_attack
from fedasr.errors import InputError
from fedasr.experiment import experiment
from fedasr.flower.records import array_record, arrays_of
from fedasr.flower.typing import ClientAppCallable
from fedasr.models.weights import Layout, Vector
from fedasr.protocol import Record

from ..own_labels import lesson_of
from ..speech import Device, Order, read_order
from ..trainer import resident, train


def byzantine(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Replace the update in a Byzantine client's reply to a training message; on an edge device do nothing.

    Raises:
        InputError: the attack returns no update.
    """
    if message.metadata.message_type != MessageType.TRAIN:
        return call_next(message, context)
    order = read_order(message, context)
    if order.is_edge_device or order.client not in members(order.config_json):
        return call_next(message, context)
    reply = call_next(message, context)
    if not reply.has_error() and Record.ARRAYS in reply.content:
        attack_reply(order, message, reply)
    return reply


@lru_cache(maxsize=2)
def members(config_json: str) -> frozenset[int]:
    """Return the Byzantine clients of a run."""
    run = experiment(config_json)
    if run.config.attack.name == "none":
        return frozenset()
    return frozenset(byzantine_clients(run.config, run.partition.names).tolist())


def attack_reply(order: Order, message: Message, reply: Message) -> None:
    """Put what the attack sends into the reply.

    Raises:
        InputError: as ``byzantine``.
    """
    config = experiment(order.config_json).config
    sent = arrays_of(message)
    layout = Layout.of(sent)
    weights = layout.flatten(sent, np.empty(layout.size, np.float32))
    update = layout.flatten(arrays_of(reply), np.empty(layout.size, np.float32)) - weights
    attack = make_attack(config.attack, layout)
    rng = seeds.generator(config.seed, "byzantine", order.round, order.client)
    result = np.asarray(attack(update, weights.copy(), collusion(order, weights), rng))
    if result.shape != (layout.size,) or result.dtype.kind != "f":
        raise InputError(
            f"'attack.name' is '{config.attack.name}', which returned {result.dtype} of shape {result.shape}; expected"
            f" floats of shape ({layout.size},)"
        )
    with np.errstate(over="ignore", invalid="ignore"):  # the server refuses what is not finite
        reply.content[Record.ARRAYS] = array_record(layout.views(weights + result.astype(np.float32)))


def collusion(order: Order, weights: Vector) -> Collusion:
    """Return what the Byzantine clients of a round know together."""
    run = experiment(order.config_json)
    clients = min(run.config.selection.clients_per_round, len(run.partition))
    share = len(members(order.config_json)) / len(run.partition)
    return Collusion(
        clients,
        round(share * clients),
        lambda: honest_updates(order.config_json, order.round, weights.tobytes()),
        lambda: seeds.generator(run.config.seed, "byzantine-together", order.round),
    )


@lru_cache(maxsize=1)
def honest_updates(config_json: str, round: int, weights: bytes) -> Updates:
    """Return the honest updates of ``attack.colluders`` Byzantine clients, made once a round in each process.

    Those that hold no speech in this round are left out; if none holds any, the one row is zeros.

    Args:
        config_json: of the run.
        round: counted from 1.
        weights: the global ones, float32.
    """
    run = experiment(config_json)
    layout, start = resident(config_json).layout, np.frombuffer(weights, np.float32)
    arrays = layout.views(start)
    updates: list[Vector] = []
    for client in byzantine_clients(run.config, run.partition.names)[: run.config.attack.colluders].tolist():
        rows = run.stored(client, round)
        if len(rows):
            device = Device(client, round, config_json, run, rows)
            # Of the teacher colluders know the global model alone.
            lesson = lesson_of(device, resident(config_json), arrays, None, Context(0, 0, {}, RecordDict(), {}))
            trained, _, _ = train(device, arrays, lesson)
            updates.append(layout.flatten(trained, np.empty(layout.size, np.float32)) - start)
    block: Updates = np.stack(updates) if updates else np.zeros((1, layout.size), np.float32)
    block.flags.writeable = False
    return block
