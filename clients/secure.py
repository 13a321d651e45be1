"""What a device does in a round of secure aggregation, beside training."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from flwr.app import Context, Message

from fedasr.errors import InputError
from fedasr.experiment import experiment
from fedasr.protocol import KeptSecrets, KeyList, OpenedShares, Order, Record, SealedShares, Unmasking
from fedasr.secure.client import Client
from fedasr.secure.identity import Directory, Signer, SimulatedDirectory, simulated_identity
from fedasr.secure.keys import clients_from_bytes, keys_to_bytes
from fedasr.secure.primitives import SEALED_BYTES
from fedasr.secure.terms import Terms

from .speech import Order as Asked
from .speech import read_order

LENGTH_UNKNOWN = 0
"""Only masks have a length."""


def terms_of(message: Message, asked: Asked, length: int = LENGTH_UNKNOWN) -> Terms:
    """Return the terms of the round that a message belongs to.

    Raises:
        InputError: the run has no secure aggregation, or the device is none of a simulation.
    """
    if asked.is_edge_device:
        raise InputError("edge devices take no part in secure aggregation: they do not know each other's keys yet")
    config = experiment(asked.config_json).config
    if config.secure_aggregation.mode != "protocol":
        raise InputError("the server asks for a step of secure aggregation, which the run's config does not have")
    run = hashlib.blake2b(Order.of(message).experiment.encode(), digest_size=16).digest()
    return Terms.of(config, run, asked.round, length)


def signer_of(asked: Asked) -> Signer:
    """Return the client's own key."""
    return simulated_identity(experiment(asked.config_json).config.seed, asked.client)


def directory_of(asked: Asked) -> Directory:
    """Return what the client knows of the others' keys."""
    return SimulatedDirectory(experiment(asked.config_json).config.seed)


def kept(context: Context, terms: Terms, client: int) -> Client:
    """Return the client as its earlier messages of the round have left it.

    Raises:
        InputError: it has had none.
    """
    if Record.SECURE in context.state:
        result = KeptSecrets.from_record(context.state[Record.SECURE], "the client's own state")
        if result.round == terms.round:
            return Client.from_state(terms, client, result.state)
    raise InputError(f"the server goes on with secure aggregation in round {terms.round}, which it has not begun")


def keep(context: Context, client: Client) -> None:
    """Keep the client for its next message; before it answers this one."""
    context.state[Record.SECURE] = KeptSecrets(client.terms.round, client.state()).to_record()


def advertise(message: Message, context: Context) -> KeyList:
    """Return the device's keys of the round."""
    asked = read_order(message, context)
    client = Client(terms_of(message, asked), asked.client)
    keep(context, client)
    return KeyList(keys_to_bytes([client.advertise(signer_of(asked))]))


def share(message: Message, context: Context) -> SealedShares:
    """Return the shares of its secrets, sealed for its neighbours.

    Raises:
        Aborted: something is wrong with the keys of the others.
    """
    asked = read_order(message, context)
    client = kept(context, terms_of(message, asked), asked.client)
    try:
        return SealedShares(client.share(KeyList.of(message).keys, directory_of(asked)))
    finally:
        keep(context, client)


def unmask(message: Message, context: Context) -> OpenedShares:
    """Return the shares that are to be opened; then the device forgets its secrets.

    Raises:
        Aborted: the server's lists would open more than the sum.
    """
    asked = read_order(message, context)
    client = kept(context, terms_of(message, asked), asked.client)
    question = Unmasking.of(message)
    living, dead = clients_from_bytes(question.living), clients_from_bytes(question.dead or b"")
    try:
        return OpenedShares(client.open(living, dead, sealed_by(question.sealed, (living | dead) - {asked.client})))
    finally:
        del context.state[Record.SECURE]


def sealed_by(content: bytes, owners: frozenset[int]) -> Mapping[int, bytes]:
    """Return owner → what it has sealed."""
    places = range(0, SEALED_BYTES * len(owners), SEALED_BYTES)
    return {owner: content[place : place + SEALED_BYTES] for owner, place in zip(sorted(owners), places, strict=True)}
