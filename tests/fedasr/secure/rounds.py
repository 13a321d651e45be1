"""A round of the protocol without any messages between the parties."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from fedasr.secure.client import Client
from fedasr.secure.identity import SimulatedDirectory, simulated_identity
from fedasr.secure.listing import Shown
from fedasr.secure.modulus import Residues, kind_of
from fedasr.secure.server import Question, Server
from fedasr.secure.terms import Terms

SEED = 3
DIRECTORY = SimulatedDirectory(SEED)


def values_of(terms: Terms, client: int) -> Residues:
    """Return what a client sends, without masks."""
    drawn = np.random.default_rng(client).integers(0, 1 << terms.bits, terms.length, dtype=np.uint64)
    return drawn.astype(kind_of(terms.bits))


def plain_sum(terms: Terms, clients: Iterable[int]) -> Residues:
    """Return the sum modulo 2ᵇ without any protocol."""
    total = np.zeros(terms.length, np.uint64)
    for client in clients:
        total += values_of(terms, client)
    return (total & np.uint64((1 << terms.bits) - 1)).astype(kind_of(terms.bits))


def kept(client: Client) -> Client:
    """Return a client as it comes back with the next message."""
    return Client.from_state(client.terms, client.me, client.state())


def begun(terms: Terms, members: Iterable[int]) -> tuple[Server, dict[int, Client], dict[int, Shown]]:
    """Return server and clients after keys are listed, and what each is shown of the list."""
    server, clients = Server(terms), {}
    for member in members:
        client = Client(terms, member)
        server.advertised(member, client.advertise(simulated_identity(SEED, member)), DIRECTORY)
        clients[member] = kept(client)
    return server, clients, server.listed()


def shared(terms: Terms, members: Iterable[int], silent: Collection[int] = ()) -> tuple[Server, dict[int, Client]]:
    """Return server and clients after secrets are shared; the silent ones have shared none."""
    server, clients, listed = begun(terms, members)
    for member, client in clients.items():
        if member not in silent:
            sealed = client.share(listed[member], DIRECTORY)
            server.shared(member, sealed, client.confirm(simulated_identity(SEED, member)), DIRECTORY)
    server.check_sharers()
    return server, {member: kept(client) for member, client in clients.items() if member not in silent}


def summed(server: Server, clients: Mapping[int, Client], living: Iterable[int]) -> Residues:
    """Return the sum of the masked updates, with the masks."""
    terms = server.terms
    total = np.zeros(terms.length, kind_of(terms.bits))
    for member in living:
        masked = clients[member].mask(values_of(terms, member), server.confirmed_to(member), DIRECTORY)
        total += masked
    total &= total.dtype.type((1 << terms.bits) - 1)
    return total


def answers(
    clients: Mapping[int, Client], questions: Mapping[int, Question], absent: Collection[int] = ()
) -> dict[int, bytes]:
    """Return what clients open."""
    return {
        member: kept(clients[member]).open(question.living, question.dead, question.sealed)
        for member, question in questions.items()
        if member not in absent
    }


def protocol_sum(
    terms: Terms,
    members: Collection[int],
    dropped: Collection[int] = (),
    silent: Collection[int] = (),
    gone: Collection[int] = (),
) -> Residues:
    """Return the sum of a whole round.

    Args:
        terms: of the round.
        members: who has advertised keys.
        dropped: who has shared secrets and sends no update.
        silent: who has shared none.
        gone: who has sent an update and opens nothing.
    """
    server, clients = shared(terms, members, silent)
    living = [member for member in members if member not in dropped and member not in silent]
    total = summed(server, clients, living)
    return server.unmasked(total, answers(clients, server.questions(living), gone))
