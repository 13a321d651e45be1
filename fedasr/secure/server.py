"""The server's part of the protocol: it passes on what clients say to each other, and takes the masks off the sum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fedasr.secure.client import pair_mask, self_mask
from fedasr.secure.graph import Graph, neighbour_graph
from fedasr.secure.identity import Directory
from fedasr.secure.keys import PublicKeys, confirmation
from fedasr.secure.listing import KeyTree, Shown, shown_of
from fedasr.secure.modulus import Residues
from fedasr.secure.primitives import SEALED_BYTES, SECRET_BYTES, agreed, combine, private_key, public_bytes
from fedasr.secure.terms import Aborted, Terms


@dataclass(frozen=True)
class Question:
    """What one client is asked to open.

    Attributes:
        living: who of it and those it shares masks with is in the sum.
        dead: who of them is not.
        sealed: what each of them but itself has sealed for it.
    """

    living: frozenset[int]
    dead: frozenset[int]
    sealed: Mapping[int, bytes]


@dataclass
class Server:
    """The server in a round.

    Attributes:
        terms: of the round.
        keys: client → what it has advertised.
        graph: who shares masks with whom.
        sealed: owner → holder → sealed shares.
        confirmed: client → its signature of the list of keys.
        tree: over the list of keys, which is closed then.
        living: who has sent a masked update.
        needed: how many shares open a secret.
    """

    terms: Terms
    keys: dict[int, PublicKeys] = field(default_factory=dict)
    graph: Graph = field(default_factory=dict)
    sealed: dict[int, dict[int, bytes]] = field(default_factory=dict)
    confirmed: dict[int, bytes] = field(default_factory=dict)
    tree: KeyTree | None = None
    living: frozenset[int] = frozenset()
    needed: int = 0

    def advertised(self, client: int, keys: PublicKeys, directory: Directory) -> None:
        """Take in what a client has advertised.

        Raises:
            ValueError: it has not signed it.
        """
        if keys.client != client or not keys.verified(self.terms.run, self.terms.round, directory):
            raise ValueError("its keys are not signed by it")
        self.keys[client] = keys

    def listed(self) -> dict[int, Shown]:
        """Return what each client is shown of the list of keys; who comes later is not in the round.

        Raises:
            Aborted: there are too few.
        """
        self.needed = self.terms.needed(len(self.keys))
        clients = sorted(self.keys)
        rows = [self.keys[client] for client in clients]
        self.tree = KeyTree(rows)
        places = neighbour_graph(len(rows), self.terms.neighbours, self.tree.digest)
        self.graph = {
            client: tuple(clients[other] for other in others) for client, others in zip(clients, places, strict=True)
        }
        circles = (sorted((place, *others)) for place, others in enumerate(places))
        return {client: shown_of(rows, self.tree, circle) for client, circle in zip(clients, circles, strict=True)}

    def shared(self, client: int, content: bytes, signature: bytes, directory: Directory) -> None:
        """Take in what a client has sealed for its neighbours, and that it has seen the list of keys.

        Raises:
            ValueError: it is not one for each of them, or it has not signed the list.
        """
        assert self.tree is not None
        neighbours = self.graph[client]
        if len(content) != SEALED_BYTES * len(neighbours):
            raise ValueError(f"it has sealed {len(content)} bytes for {len(neighbours)} neighbours")
        statement = confirmation(self.terms.run, self.terms.round, client, self.tree.digest)
        if not directory.verifies(client, statement, signature):
            raise ValueError("the list of keys is not signed by it")
        self.confirmed[client] = signature
        places = range(0, len(content), SEALED_BYTES)
        self.sealed[client] = {
            holder: content[place : place + SEALED_BYTES] for holder, place in zip(neighbours, places, strict=True)
        }

    @property
    def sharers(self) -> frozenset[int]:
        """Who has shared its secrets: who may send a masked update, and with whom masks are shared."""
        return frozenset(self.sealed)

    def linked(self, client: int) -> list[int]:
        """Return with whom a client shares masks, ascending."""
        return [other for other in self.graph[client] if other in self.sealed]

    def confirmed_to(self, client: int) -> dict[int, bytes]:
        """Return the signatures of the list that a client needs: its neighbours' and its own."""
        return {other: self.confirmed[other] for other in sorted((*self.linked(client), client))}

    def check_sharers(self) -> None:
        """Raise where a client has too few neighbours left.

        Raises:
            Aborted: it has.
        """
        for client in sorted(self.sharers):
            left = len(self.linked(client)) + 1
            if left < self.needed:
                raise Aborted(f"{left} who hold shares of client {client} are left, {self.needed} are needed")

    def questions(self, living: Iterable[int]) -> dict[int, Question]:
        """Return what each client in the sum is asked to open.

        Args:
            living: who has sent a masked update.

        Raises:
            Aborted: somebody's shares are with too few of them.
        """
        self.living = frozenset(living)
        for client in sorted(self.sharers):
            held = sum(other in self.living for other in (*self.linked(client), client))
            if held < self.needed and (client in self.living or self.is_tied(client)):
                raise Aborted(f"{held} who hold shares of client {client} are left, {self.needed} are needed")
        return {client: self.question(client) for client in sorted(self.living)}

    def is_tied(self, client: int) -> bool:
        """Say whether a mask of a client is in the sum."""
        return any(other in self.living for other in self.linked(client))

    def question(self, client: int) -> Question:
        """Return what a client is asked to open."""
        linked = self.linked(client)
        told = frozenset((*linked, client))
        sealed = {other: self.sealed[other][client] for other in linked}
        return Question(told & self.living, told - self.living, sealed)

    def unmasked(self, total: Residues, opened: Mapping[int, bytes]) -> Residues:
        """Return the sum without its masks.

        Args:
            total: of what the living have sent, modulo 2ᵇ.
            opened: client → the shares that it has opened.

        Raises:
            Aborted: too few have opened theirs, or they lead to another key than was advertised.
        """
        shares = self.shares(opened)
        result = total.copy()
        for client in sorted(self.sharers):
            if client in self.living:
                result -= self_mask(self.terms, self.secret(client, shares), client)
            elif self.is_tied(client):
                self.take_off(result, client, self.secret(client, shares))
        result &= result.dtype.type((1 << self.terms.bits) - 1)
        return result

    def take_off(self, total: Residues, client: int, secret: bytes) -> None:
        """Take the masks that the living share with a client off the sum."""
        key = private_key(secret)
        if public_bytes(key) != self.keys[client].masking:
            raise Aborted(f"the shares of client {client} lead to another key than it has advertised")
        for other in self.linked(client):
            if other in self.living:
                drawn = pair_mask(self.terms, agreed(key, self.keys[other].masking), client, other)
                if other < client:
                    total -= drawn
                else:
                    total += drawn

    def shares(self, opened: Mapping[int, bytes]) -> dict[int, dict[int, bytes]]:
        """Return owner → place among the holders → share."""
        result: dict[int, dict[int, bytes]] = {}
        for holder, content in opened.items():
            owners = sorted((*self.linked(holder), holder))
            if len(content) != SECRET_BYTES * len(owners):
                continue
            for number, owner in enumerate(owners):
                place = sorted((*self.graph[owner], owner)).index(holder)
                share = content[SECRET_BYTES * number : SECRET_BYTES * (number + 1)]
                result.setdefault(owner, {})[place] = share
        return result

    def secret(self, client: int, shares: Mapping[int, Mapping[int, bytes]]) -> bytes:
        """Return the secret of a client that may be opened.

        Raises:
            Aborted: too few shares of it were.
        """
        known = shares.get(client, {})
        if len(known) < self.needed:
            raise Aborted(f"{len(known)} shares of client {client} were opened, {self.needed} are needed")
        return combine({place: known[place] for place in sorted(known)[: self.needed]})


def answered(question: Question, content: bytes) -> bool:
    """Say whether an answer has a share for each that was asked about."""
    return len(content) == SECRET_BYTES * len(question.living | question.dead)
