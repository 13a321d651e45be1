"""What a device does in a round of secure aggregation, beside training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from flwr.app import Context, Message

from fedasr.edge.peers import FILE as PEERS
from fedasr.edge.peers import EnrolmentSigner, PeerDirectory, read_peers
from fedasr.edge.policy import REFUSES, PolicyRefused, read_policy
from fedasr.errors import InputError
from fedasr.experiment import experiment
from fedasr.files import read_object, write_durably
from fedasr.protocol import (
    SERVER,
    KeptSecrets,
    Key,
    KeyList,
    Masking,
    OpenedShares,
    Order,
    Record,
    SealedShares,
    SecureOrder,
    Unmasking,
    shown,
)
from fedasr.secure.client import Client
from fedasr.secure.identity import SIGNATURE_BYTES, Directory, Signer, SimulatedDirectory, simulated_identity
from fedasr.secure.keys import clients_from_bytes, keys_to_bytes
from fedasr.secure.listing import Shown
from fedasr.secure.modulus import Residues
from fedasr.secure.primitives import SEALED_BYTES
from fedasr.secure.terms import DEFAULT_NEIGHBOURS, PURPOSES, Aborted, Terms

from .edge.edge_device import EdgeDevice, find_edge_device
from .speech import Order as Asked
from .speech import read_order

LENGTH_UNKNOWN = 0
"""Only masks have a length."""
LONGEST_NAMES = 10_000_000


class Party:
    """A device in secure aggregation: the client that its earlier messages have left, and where it is kept.

    Args:
        message: a step of the protocol, or what asks for something to be summed.
        context: of the device.
        length: numbers that it sends.
        purpose: of the sum; None: updates.
        round: of the sum; None: that of the message.

    Raises:
        InputError: the run has no secure aggregation.
    """

    def __init__(
        self,
        message: Message,
        context: Context,
        length: int = LENGTH_UNKNOWN,
        purpose: str | None = None,
        round: int | None = None,
    ) -> None:
        self.asked: Asked = read_order(message, context)
        self.context = context
        self.edge_device: EdgeDevice | None = find_edge_device(context)
        config = experiment(self.asked.config_json).config
        if config.secure_aggregation.mode != "protocol":
            raise InputError("the server asks for a step of secure aggregation, which the run's config does not have")
        self.seed = config.seed
        floor = 0 if self.edge_device is None else read_policy(self.edge_device.policy).least_in_sum
        round = self.asked.round if round is None else round
        self.terms = Terms.of(config, Order.of(message).experiment, round, length, floor, purpose)
        self.names: dict[int, str] = {}
        """client → name, of edge devices, as the server has listed them"""

    @property
    def signer(self) -> Signer:
        """The device's own key."""
        if self.edge_device is None:
            return simulated_identity(self.seed, self.asked.client)
        return EnrolmentSigner(self.edge_device.key)

    @property
    def directory(self) -> Directory:
        """What the device knows of the others' keys: on an edge device, what its owner has put there."""
        if self.edge_device is None:
            return SimulatedDirectory(self.seed)
        return PeerDirectory(self.names, read_peers(self.edge_device.peers))

    def begin(self) -> Client:
        """Return a client that has begun the round.

        Raises:
            PolicyRefused: it is an edge device that knows no others.
        """
        if self.edge_device is not None and not self.edge_device.peers.is_file():
            raise PolicyRefused(
                "secure aggregation", "asked for", f"only with {PEERS}, which its owner has not put there"
            )
        client = Client(self.terms, self.asked.client)
        self.keep(client)
        return client

    def kept(self) -> Client:
        """Return the client as its earlier messages of the round have left it.

        Raises:
            InputError: it has had none, or one of another run or round or to another number, or has answered one since.
        """
        if Record.SECURE in self.context.state:
            result = KeptSecrets.from_record(self.context.state[Record.SECURE], "the client's own state")
            if (result.round, result.run, result.client) == (self.terms.round, self.terms.run, self.asked.client):
                client = Client.from_state(self.terms, self.asked.client, result.state)
                if self.edge_device is not None:
                    check_step(self.edge_device, client)
                    self.names = {int(number): name for number, name in json.loads(result.names or "{}").items()}
                return client
        raise InputError(
            f"the server goes on with secure aggregation in round {self.terms.round}, which it has not begun"
        )

    def keep(self, client: Client) -> None:
        """Keep the client for its next message; on an edge device what it has done is on the disk before it answers."""
        names = json.dumps(self.names) if self.names else None
        kept = KeptSecrets(self.terms.round, client.state(), self.terms.run, client.me, names)
        self.context.state[Record.SECURE] = kept.to_record()
        if self.edge_device is not None:
            write_durably(self.edge_device.secure_steps, {"session": session_of(client), "done": client.done})

    @contextmanager
    def step(self) -> Iterator[Client]:
        """Take the client's next step, and keep that it was taken, whatever comes of it.

        Raises:
            InputError: the step would tell an edge device's server more than the sum; the server is told why, for that
                names what it has said itself.
            Aborted: the same in a simulation.
        """
        client = self.kept()
        try:
            yield client
        except Aborted as why:
            if self.edge_device is None:
                raise
            raise InputError(f"{REFUSES}{why}") from why
        finally:
            self.keep(client)

    def read_names(self, listed: KeyList) -> None:
        """Read how the server names the others; keys count, and a device that has several names would have several
        updates in the sum.

        Raises:
            PolicyRefused: it names none, or one twice, or the devices are to have few neighbours.
        """
        if self.edge_device is None:
            return
        clients = shown_in(listed).members
        try:
            names = json.loads((listed.names or "")[:LONGEST_NAMES])
        except (ValueError, RecursionError):
            names = None
        known = isinstance(names, list) and all(isinstance(name, str) for name in names)
        if not known or len(names) != len(clients) or len(set(names)) != len(names):
            raise PolicyRefused("the list of keys", "without a name of its own for each edge device", "one with names")
        neighbours = self.terms.neighbours
        if neighbours < DEFAULT_NEIGHBOURS and self.terms.holders(len(clients)) < len(clients):
            # Of few neighbours a server and its friends among the devices could be all.
            wanted = f"at least {DEFAULT_NEIGHBOURS}, or all of a cohort"
            raise PolicyRefused("secure_aggregation.neighbours", neighbours, wanted)
        self.names = dict(zip(clients, names, strict=True))
        if self.edge_device.name and self.names.get(self.asked.client) != self.edge_device.name:
            raise PolicyRefused("the list of keys", "without this edge device's name", f"'{self.edge_device.name}'")


def session_of(client: Client) -> str:
    """Return what tells the keys of one round from those of every other."""
    return hashlib.blake2b(client.root, digest_size=16, person=b"fedasr session").hexdigest()


def check_step(edge_device: EdgeDevice, client: Client) -> None:
    """Raise where an edge device has taken a later step than its state says, or has begun anew meanwhile.

    Flower sends the reply before it keeps the state: a device whose power goes in between would answer twice.

    Raises:
        InputError: it has, or its notes are damaged.
    """
    noted = read_object(edge_device.secure_steps)
    if (noted.get("session"), noted.get("done")) != (session_of(client), client.done):
        raise InputError(f"{REFUSES}the server goes on with a step of secure aggregation that was answered already")


def advertise(message: Message, context: Context) -> KeyList:
    """Return the device's keys of the round."""
    party = Party(message, context, purpose=purpose_of(message))
    return KeyList(keys_to_bytes([party.begin().advertise(party.signer)]))


def share(message: Message, context: Context) -> SealedShares:
    """Return the shares of its secrets, sealed for its neighbours.

    Raises:
        Aborted: something is wrong with the keys of the others.
    """
    party, listed = Party(message, context, purpose=purpose_of(message)), KeyList.of(message)
    with party.step() as client:
        party.read_names(listed)
        return SealedShares(client.share(shown_in(listed), party.directory), client.confirm(party.signer))


def shown_in(listed: KeyList) -> Shown:
    """Return what the device is shown of the list of keys."""
    return Shown(listed.keys, listed.clients, listed.hashes)


def purpose_of(message: Message) -> str | None:
    """Return for which sum a step of the protocol is; None: for that of the updates.

    Raises:
        InputError: for none that there is.
    """
    purpose = SecureOrder.of(message).purpose
    if purpose not in (None, *PURPOSES):
        known = " or ".join(f"'{name}'" for name in PURPOSES)
        raise InputError(f"'{Key.PURPOSE}' is {shown(purpose)}; expected {known}, or none", where=SERVER)
    return purpose


def masked(
    message: Message,
    context: Context,
    values: Residues,
    masking: Masking,
    purpose: str | None = None,
    round: int | None = None,
) -> Residues:
    """Return what is sent to be summed, under the masks of the round.

    Args:
        message: what asks for it.
        context: of the device.
        values: whole numbers, shape ``(length,)``.
        masking: says with whom the device shares masks.
        purpose: of the sum; None: updates.
        round: of the sum; None: that of the message.

    Raises:
        Aborted: the masks would not hide it.
    """
    party = Party(message, context, len(values), purpose, round)
    sharers, signatures = sorted(clients_from_bytes(masking.sharers or b"")), masking.signatures or b""
    if len(signatures) != SIGNATURE_BYTES * len(sharers):
        raise InputError(f"the server sends {len(signatures)} bytes of signatures for {len(sharers)} clients")
    places = range(0, len(signatures), SIGNATURE_BYTES)
    signed = {
        client: signatures[place : place + SIGNATURE_BYTES] for client, place in zip(sharers, places, strict=True)
    }
    with party.step() as client:
        return client.mask(values, signed, party.directory)


def unmask(message: Message, context: Context) -> OpenedShares:
    """Return the shares that are to be opened; then the device forgets its secrets.

    Raises:
        Aborted: the server's lists would open more than the sum.
    """
    party, question = Party(message, context, purpose=purpose_of(message)), Unmasking.of(message)
    living, dead = clients_from_bytes(question.living), clients_from_bytes(question.dead or b"")
    try:
        with party.step() as client:
            return OpenedShares(client.open(living, dead, sealed_by(question.sealed, (living | dead) - {client.me})))
    finally:
        context.state.pop(Record.SECURE, None)


def sealed_by(content: bytes, owners: frozenset[int]) -> Mapping[int, bytes]:
    """Return owner → what it has sealed."""
    places = range(0, SEALED_BYTES * len(owners), SEALED_BYTES)
    return {owner: content[place : place + SEALED_BYTES] for owner, place in zip(sorted(owners), places, strict=True)}
