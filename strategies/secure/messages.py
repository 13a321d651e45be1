"""The messages of the protocol between server and clients, and how many bytes they have."""

from __future__ import annotations

from dataclasses import dataclass

from flwr.app import ArrayRecord, Message, RecordDict

from fedasr.flower.records import content_bytes, entries
from fedasr.protocol import ConfigValues, KeyList, Name, OpenedShares, Order, Record, SealedShares, Unmasking
from fedasr.secure.identity import SIGNATURE_BYTES
from fedasr.secure.keys import CLIENT_BYTES, ROW, clients_to_bytes
from fedasr.secure.listing import Shown, hash_bytes
from fedasr.secure.modulus import Residues, unpack
from fedasr.secure.primitives import SEALED_BYTES, SECRET_BYTES
from fedasr.secure.server import Question

from ..aggregation.replies import ReplyRefused, check_array


def listing(order: Order, shown: Shown, names: str | None = None) -> RecordDict:
    """Return what a client is sent that is to share secrets.

    Args:
        order: of the round.
        shown: the keys that concern it.
        names: of edge devices, by which they know each other.
    """
    listed = KeyList(shown.keys, names, shown.clients, shown.hashes)
    return RecordDict({Record.CONFIG: order.to_record(), Record.SECURE: listed.to_record()})


def listing_bytes(order: Order, clients: int, holders: int) -> int:
    """Return the bytes of the message that shows a client the keys of so many holders in a list of so many clients."""
    keys = bytes(ROW.size * holders)
    if holders == clients:
        return content_bytes(listing(order, Shown(keys)))
    # The list of all is not made to be counted: a plan may be of any number of clients.
    beside = CLIENT_BYTES * clients + hash_bytes(holders, clients)
    return content_bytes(listing(order, Shown(keys, b"1", b"1"))) - 2 + beside


def unmasking(order: Order, question: Question) -> RecordDict:
    """Return what a client is sent that is to open shares."""
    sealed = b"".join(question.sealed[other] for other in sorted(question.sealed))
    asked = Unmasking(clients_to_bytes(question.living), sealed, clients_to_bytes(question.dead) or None)
    return RecordDict({Record.CONFIG: order.to_record(), Record.SECURE: asked.to_record()})


def residues_of(reply: Message, record: str, length: int, bits: int, what: str) -> Residues:
    """Return the numbers that a client has sent to be summed.

    Args:
        reply: of the client.
        record: that holds them.
        length: how many there must be.
        bits: of the modulus.
        what: they are, in a word.

    Raises:
        ReplyRefused: it has sent something else.
    """
    content = reply.content.get(record)
    arrays = entries(content) if isinstance(content, ArrayRecord) else {}
    if list(arrays) != [Name.ENCODED]:
        raise ReplyRefused(f"the reply has no masked {what} ('secure_aggregation' is set in the run's config)")
    array = arrays[Name.ENCODED]
    shape = tuple(array.shape)
    check_array(Name.ENCODED, array, "uint8", shape if len(shape) == 1 else (-1,))
    try:
        return unpack(array.numpy(), length, bits)
    except ValueError as error:
        raise ReplyRefused(str(error)) from None


@dataclass(frozen=True)
class Traffic:
    """Bytes of the protocol beside training, a client."""

    up: int
    """until it has shared its secrets"""
    down: int
    opening_up: int
    """of one that opens shares"""
    opening_down: int


def traffic(order: Order, clients: int, holders: int) -> Traffic:
    """Return the bytes of a client's messages in a round of so many.

    Args:
        order: of the round.
        clients: who has advertised keys.
        holders: how many hold shares of a client's secrets.
    """
    others = holders - 1
    question = Question(frozenset(range(holders)), frozenset(), dict.fromkeys(range(others), bytes(SEALED_BYTES)))
    asked = RecordDict({Record.CONFIG: order.to_record()})
    return Traffic(
        up=bytes_of(KeyList(bytes(ROW.size)))
        + bytes_of(SealedShares(bytes(SEALED_BYTES * others), bytes(SIGNATURE_BYTES))),
        down=content_bytes(asked) + listing_bytes(order, clients, holders),
        opening_up=bytes_of(OpenedShares(bytes(SECRET_BYTES * holders))),
        opening_down=content_bytes(unmasking(order, question)),
    )


def bytes_of(values: ConfigValues) -> int:
    """Return the bytes of a reply."""
    return content_bytes(RecordDict({Record.SECURE: values.to_record()}))
