"""The protocol of secure aggregation: its sum is the sum, and what would open a single update is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedasr.secure.client import Client
from fedasr.secure.graph import neighbour_graph, neighbours_of
from fedasr.secure.identity import SimulatedDirectory, simulated_identity
from fedasr.secure.keys import CLIENT_BYTES, ROW, PublicKeys, clients_to_bytes, keys_from_bytes, keys_to_bytes
from fedasr.secure.listing import HASH_BYTES, KeyTree, Shown, shown_of
from fedasr.secure.primitives import SEALED_BYTES, combine, split
from fedasr.secure.terms import ESTIMATE, Aborted, Terms, session_of_run

from .rounds import DIRECTORY, SEED, answers, begun, kept, plain_sum, protocol_sum, shared, summed, values_of

MEMBERS = (2, 3, 5, 7, 11, 13, 17)
TERMS = Terms(b"run", 1, 16, 37, threshold=5)
MANY = tuple(range(1, 48, 2))
SPARSE = Terms(b"run", 1, 16, 37, neighbours=6)


@pytest.mark.parametrize("bits", [8, 12, 16, 20, 32, 64])
@pytest.mark.parametrize("dropped", [(), (5,), (3, 13)])
def test_the_sum_of_the_protocol_is_the_sum(bits: int, dropped: tuple[int, ...]) -> None:
    """With nobody, one, and as many dropped as the threshold of 5 of 7 allows."""
    terms = Terms(b"run", 1, bits, 37, threshold=5)
    living = [member for member in MEMBERS if member not in dropped]
    assert np.array_equal(protocol_sum(terms, MEMBERS, dropped), plain_sum(terms, living))


def test_one_more_drop_out_aborts() -> None:
    server, clients = shared(TERMS, MEMBERS)
    living = [2, 5, 7, 11]
    summed(server, clients, living)
    with pytest.raises(Aborted, match="4 who hold shares of client 2 are left, 5 are needed"):
        server.questions(living)


@pytest.mark.parametrize("gone", [(2,), (2, 17)])
def test_clients_may_leave_before_shares_are_opened(gone: tuple[int, ...]) -> None:
    assert np.array_equal(protocol_sum(TERMS, MEMBERS, gone=gone), plain_sum(TERMS, MEMBERS))


def test_one_share_fewer_than_the_threshold_opens_nothing() -> None:
    with pytest.raises(Aborted, match="4 shares of client 2 were opened, 5 are needed"):
        protocol_sum(TERMS, MEMBERS, gone=(2, 3, 5))


def test_who_has_shared_nothing_is_in_no_mask() -> None:
    living = [member for member in MEMBERS if member not in (7, 11)]
    assert np.array_equal(protocol_sum(TERMS, MEMBERS, silent=(7,), dropped=(11,)), plain_sum(TERMS, living))


@pytest.mark.parametrize("dropped", [(), (0, 23, 14, 5, 6)])
def test_a_graph_of_neighbours_gives_the_same_sum(dropped: tuple[int, ...]) -> None:
    members, terms = tuple(range(24)), Terms(b"run", 1, 16, 37, neighbours=20)
    living = [member for member in members if member not in dropped]
    assert np.array_equal(protocol_sum(terms, members, dropped), plain_sum(terms, living))


def test_what_is_sent_says_nothing_of_the_update() -> None:
    """Two clients that send the same send other numbers, all of them, and each mask is uniform."""
    terms = Terms(b"run", 1, 16, 4096, threshold=5)
    server, clients = shared(terms, MEMBERS)
    zeros = np.zeros(terms.length, np.uint16)
    sent = [clients[member].mask(zeros, server.confirmed, DIRECTORY) for member in MEMBERS[:2]]
    assert (sent[0] == sent[1]).mean() < 0.01
    assert sent[0].astype(float).mean() == pytest.approx(32768, rel=0.03)


def test_a_client_in_both_lists_is_refused() -> None:
    """With both secrets of a client its masks come off its single update."""
    server, clients = shared(TERMS, MEMBERS)
    summed(server, clients, MEMBERS)
    question = server.questions(MEMBERS)[2]
    with pytest.raises(Aborted, match="client 7 is said to be both in the sum and not in it"):
        clients[2].open(question.living, {7}, question.sealed)


def test_a_second_list_is_refused() -> None:
    """What a client opens for one list of the living it does not open again for another one."""
    server, clients = shared(TERMS, MEMBERS)
    summed(server, clients, MEMBERS)
    question = server.questions(MEMBERS)[2]
    client = kept(clients[2])
    client.open(question.living, question.dead, question.sealed)
    with pytest.raises(Aborted, match="the server asks it to open shares, and it has last been asked to open shares"):
        kept(client).open(question.living - {7}, {7}, question.sealed)


def test_different_lists_for_different_clients_open_one_secret_at_most() -> None:
    """A server that calls client 7 living to some and dead to others has too few shares of one secret."""
    server, clients = shared(TERMS, MEMBERS)
    summed(server, clients, MEMBERS)
    alive = dead = 0
    for number, (member, question) in enumerate(server.questions(MEMBERS).items()):
        if number % 2 and member != 7:
            clients[member].open(question.living - {7}, {7}, question.sealed)
            dead += 1
        else:
            clients[member].open(question.living, question.dead, question.sealed)
            alive += 1
    assert alive + dead == len(MEMBERS)
    assert min(alive, dead) < server.needed


@pytest.mark.parametrize("threshold", [3, 8])
def test_a_threshold_that_opens_both_secrets_or_none_is_refused(threshold: int) -> None:
    with pytest.raises(Aborted, match=f"{threshold} shares are to open a secret"):
        begun(Terms(b"run", 1, 16, 37, threshold=threshold), MEMBERS)


@pytest.mark.parametrize(
    ("living", "dead", "why"),
    [
        ({2, 3, 5, 7}, {11, 13, 17}, "4 of its neighbours are in the sum, 5 are needed"),
        ({2, 3, 5, 7, 11, 13}, set(), "not of this client and those that it shares masks with"),
        ({3, 5, 7, 11, 13, 17}, {2}, "not of this client and those that it shares masks with"),
        ({2, 3, 5, 7, 11, 13, 17, 19}, set(), "not of this client and those that it shares masks with"),
    ],
)
def test_lists_of_too_few_or_of_others_are_refused(living: set[int], dead: set[int], why: str) -> None:
    server, clients = shared(TERMS, MEMBERS)
    summed(server, clients, MEMBERS)
    with pytest.raises(Aborted, match=why):
        clients[2].open(living, dead, server.questions(MEMBERS)[2].sealed)


def test_a_sum_of_fewer_than_the_account_counts_on_is_refused_by_the_clients() -> None:
    """With shares of noise its ε rests on how many are in the sum; a client that is linked with all can count them."""
    terms = replace(TERMS, least=6)
    assert np.array_equal(protocol_sum(terms, MEMBERS, dropped=(3,)), plain_sum(terms, [2, 5, 7, 11, 13, 17]))
    with pytest.raises(Aborted, match="5 of its neighbours are in the sum, 6 are needed"):
        protocol_sum(terms, MEMBERS, dropped=(3, 5))


def test_a_second_masked_update_is_refused() -> None:
    """The difference of two updates under the same masks is that of the updates."""
    server, clients = shared(TERMS, MEMBERS)
    client = clients[2]
    client.mask(values_of(TERMS, 2), server.confirmed, DIRECTORY)
    with pytest.raises(Aborted, match="the server asks it to send its masked update"):
        kept(client).mask(values_of(TERMS, 3), server.confirmed, DIRECTORY)


def test_a_client_masks_nothing_among_too_few() -> None:
    server, clients = shared(TERMS, MEMBERS)
    few = {member: server.confirmed[member] for member in (2, 3, 5, 7)}
    with pytest.raises(Aborted, match="4 of its neighbours have shared secrets, 5 are needed"):
        clients[2].mask(values_of(TERMS, 2), few, DIRECTORY)


def test_a_floor_of_the_clients_own_holds_whatever_the_run_says() -> None:
    """Also in a cohort with more than its neighbours, where a client cannot count all."""
    members, terms = tuple(range(24)), Terms(b"run", 1, 16, 37, neighbours=6, threshold=4, least=2, floor=7)
    with pytest.raises(Aborted, match="6 of its neighbours are in the sum, 7 are needed"):
        protocol_sum(terms, members, dropped=(3,))


def test_keys_of_another_time_are_noticed_though_they_are_signed() -> None:
    """Whose secrets were opened then: they confirm the list of that time, not one with this client's keys."""
    before, old, listed_before = begun(TERMS, MEMBERS)
    shares = old[7].share(listed_before[7], DIRECTORY)
    assert shares
    replayed = old[7].confirm(simulated_identity(SEED, 7))
    server, clients, listed = begun(TERMS, MEMBERS)
    keys = keys_from_bytes(listed[2].keys) | {7: keys_from_bytes(listed_before[2].keys)[7]}
    for member in (2, 3, 5, 11, 13, 17):
        clients[member].share(Shown(keys_to_bytes(keys.values())), DIRECTORY)
    confirmed = {member: clients[member].confirm(simulated_identity(SEED, member)) for member in MEMBERS if member != 7}
    with pytest.raises(Aborted, match="client 7 has not confirmed the list of keys"):
        clients[2].mask(values_of(TERMS, 2), {**confirmed, 7: replayed}, DIRECTORY)
    assert before.terms == server.terms, "the same run, round and terms"


def test_a_list_for_each_client_is_noticed() -> None:
    """Client 7 is shown to some and kept from others; their neighbours have confirmed something else."""
    _, clients, listed = begun(TERMS, MEMBERS)
    keys = keys_from_bytes(listed[2].keys)
    fewer = Shown(keys_to_bytes(row for row in keys.values() if row.client != 7))
    for member in MEMBERS:
        clients[member].share(listed[member] if member in (2, 7) else fewer, DIRECTORY)
    confirmed = {member: clients[member].confirm(simulated_identity(SEED, member)) for member in MEMBERS}
    with pytest.raises(Aborted, match="client 3 has not confirmed the list of keys"):
        clients[2].mask(values_of(TERMS, 2), confirmed, DIRECTORY)


def test_a_client_that_has_not_signed_the_list_is_left_out() -> None:
    server, clients, listed = begun(TERMS, MEMBERS)
    sealed = clients[7].share(listed[7], DIRECTORY)
    with pytest.raises(ValueError, match="the list of keys is not signed by it"):
        server.shared(7, sealed, clients[7].confirm(simulated_identity(SEED, 5)), DIRECTORY)
    assert 7 not in server.sharers


def test_keys_of_the_servers_own_are_refused() -> None:
    server, clients, listed = begun(TERMS, MEMBERS)
    keys = keys_from_bytes(listed[2].keys)
    forged = Client(TERMS, 7).advertise(simulated_identity(SEED + 1, 7))
    others = [row for row in keys.values() if row.client != 7]
    with pytest.raises(Aborted, match="the keys of client 7 are not signed by it"):
        clients[2].share(Shown(keys_to_bytes([*others, forged])), DIRECTORY)
    with pytest.raises(ValueError, match="not signed by it"):
        server.advertised(7, forged, DIRECTORY)


def test_keys_of_another_round_are_refused() -> None:
    """Whoever knows the secrets of an old key would know the masks."""
    old = Client(TERMS, 7).advertise(simulated_identity(SEED, 7))
    assert old.verified(b"run", 1, DIRECTORY)
    assert not old.verified(b"run", 2, DIRECTORY)
    assert not old.verified(b"another", 1, DIRECTORY)
    assert not PublicKeys(5, old.masking, old.sealing, old.signature).verified(b"run", 1, DIRECTORY)
    assert not old.verified(b"run", 1, SimulatedDirectory(SEED + 1))


def test_keys_for_one_sum_of_a_round_are_refused_for_another() -> None:
    """Updates and counts for an estimate are summed in the same round of the same run."""
    updates, counts = session_of_run("{}"), session_of_run("{}", ESTIMATE)
    keys = Client(replace(TERMS, run=updates), 7).advertise(simulated_identity(SEED, 7))
    assert keys.verified(updates, 1, DIRECTORY)
    assert not keys.verified(counts, 1, DIRECTORY)


def test_shares_that_were_changed_or_exchanged_are_refused() -> None:
    server, clients = shared(TERMS, MEMBERS)
    summed(server, clients, MEMBERS)
    question = server.questions(MEMBERS)[2]
    for sealed in (
        {**question.sealed, 3: question.sealed[5]},
        {**question.sealed, 3: bytes(SEALED_BYTES)},
        {other: content for other, content in question.sealed.items() if other != 3},
    ):
        with pytest.raises(ValueError, match="sealed shares were changed"):
            kept(clients[2]).open(question.living, question.dead, sealed)


def test_wrong_shares_of_a_key_are_noticed() -> None:
    server, clients = shared(TERMS, MEMBERS)
    living = [member for member in MEMBERS if member != 5]
    total = summed(server, clients, living)
    opened = answers(clients, server.questions(living))
    opened[2] = bytes(len(opened[2]))
    with pytest.raises(Aborted, match="the shares of client 5 lead to another key than it has advertised"):
        server.unmasked(total, opened)


def test_fewer_shares_than_are_needed_say_nothing() -> None:
    secret = bytes(range(16))
    shares = split(secret, 3, 5)
    assert combine({place: shares[place] for place in (0, 2, 4)}) == secret
    assert combine({place: shares[place] for place in (4, 1, 3)}) == secret
    assert combine({place: shares[place] for place in (0, 2)}) != secret


@pytest.mark.parametrize(
    ("clients", "degree", "found"), [(5, 20, 4), (21, 20, 20), (50, 20, 20), (50, 7, 8), (2, 1, 1)]
)
def test_the_graph_is_regular_and_goes_both_ways(clients: int, degree: int, found: int) -> None:
    graph = neighbour_graph(clients, degree, b"seed")
    assert {len(others) for others in graph} == {found}
    assert all(place in graph[other] for place, others in enumerate(graph) for other in others)
    assert all(place not in others for place, others in enumerate(graph))
    assert graph == [neighbours_of(place, clients, degree, b"seed") for place in range(clients)]


def test_the_ring_depends_on_the_keys() -> None:
    assert neighbour_graph(50, 20, b"one") != neighbour_graph(50, 20, b"two")


def test_a_client_of_many_is_shown_no_other_keys_than_those_of_its_neighbours() -> None:
    server, clients, listed = begun(SPARSE, MANY)
    for member, shown in listed.items():
        assert list(keys_from_bytes(shown.keys)) == sorted((member, *server.graph[member]))
        assert len(shown.keys) == 7 * ROW.size
        assert shown.members == list(MANY)
        assert len(shown.hashes or b"") == 7 * 5 * HASH_BYTES
        clients[member].share(shown, DIRECTORY)
        assert server.tree is not None
        assert (clients[member].listed, sorted(clients[member].others)) == (
            server.tree.digest,
            list(server.graph[member]),
        )


def test_a_part_of_the_list_and_the_whole_are_one_list() -> None:
    server, clients, listed = begun(SPARSE, MANY)
    whole = Shown(keys_to_bytes(server.keys.values()))
    twin = kept(clients[1])
    clients[1].share(listed[1], DIRECTORY)
    twin.share(whole, DIRECTORY)
    assert (twin.listed, twin.others, twin.needed) == (clients[1].listed, clients[1].others, clients[1].needed)


def earlier(terms: Terms, member: int) -> PublicKeys:
    """Return what a client has advertised in an earlier try of the same round: the server may know its secrets."""
    return Client(terms, member).advertise(simulated_identity(SEED, member))


def test_a_key_of_another_time_is_in_no_list_of_this_one() -> None:
    """Though it is signed: the hashes lead to another root."""
    server, clients, listed = begun(SPARSE, MANY)
    other = server.graph[1][0]
    rows = keys_from_bytes(listed[1].keys) | {other: earlier(SPARSE, other)}
    with pytest.raises(Aborted, match=f"the keys of client {other} are not those of the list that this client was"):
        clients[1].share(listed[1]._replace(keys=keys_to_bytes(rows.values())), DIRECTORY)


def test_a_list_of_its_own_for_one_client_of_many_is_confirmed_by_nobody() -> None:
    """Whole in itself, with keys of an earlier time in it; the others have signed the list that they were shown."""
    server, clients, listed = begun(SPARSE, MANY)
    rows = [server.keys[member] for member in MANY]
    # Other keys are another ring: the server tries until the client whose old secrets it knows is a neighbour.
    while True:
        forged = [earlier(SPARSE, row.client) if row.client == 9 else row for row in rows]
        tree = KeyTree(forged)
        graph = neighbour_graph(len(MANY), SPARSE.neighbours, tree.digest)
        if MANY.index(9) in graph[0]:
            break
    clients[1].share(shown_of(forged, tree, sorted((0, *graph[0]))), DIRECTORY)
    for member in MANY[1:]:
        clients[member].share(listed[member], DIRECTORY)
    confirmed = {member: clients[member].confirm(simulated_identity(SEED, member)) for member in MANY}
    with pytest.raises(Aborted, match="has not confirmed the list of keys that this client was sent"):
        clients[1].mask(values_of(SPARSE, 1), confirmed, DIRECTORY)


def test_a_list_without_a_clients_own_keys_is_refused() -> None:
    server, clients, _ = begun(SPARSE, MANY)
    rows = [earlier(SPARSE, 1) if member == 1 else server.keys[member] for member in MANY]
    tree = KeyTree(rows)
    places = sorted((0, *neighbour_graph(len(MANY), SPARSE.neighbours, tree.digest)[0]))
    with pytest.raises(Aborted, match="does not hold what this client has advertised"):
        clients[1].share(shown_of(rows, tree, places), DIRECTORY)


def test_a_server_cannot_choose_neighbours() -> None:
    """They follow from the digest: rows of others, though they are in the list, do not stand for them."""
    server, clients, _ = begun(SPARSE, MANY)
    places = sorted((0, *range(MANY.index(MANY[-6]), len(MANY))))
    assert server.tree is not None
    rows = [server.keys[member] for member in MANY]
    with pytest.raises(Aborted, match=r"the server does not show the keys of client \d+, a neighbour"):
        clients[1].share(shown_of(rows, server.tree, places), DIRECTORY)


@pytest.mark.parametrize(
    "members", [MANY[:-1], (*MANY, 49), (*MANY[:-1], 49), (*MANY[:12], 24, *MANY[12:]), (*MANY, *range(100, 140))]
)
def test_other_numbers_of_clients_are_another_list(members: tuple[int, ...]) -> None:
    """How many there are decides how many shares are needed, and who the neighbours are."""
    _, clients, listed = begun(SPARSE, MANY)
    for member in MANY[1:]:
        clients[member].share(listed[member], DIRECTORY)
    confirmed = {member: clients[member].confirm(simulated_identity(SEED, member)) for member in MANY[1:]}

    def go_on() -> None:
        clients[1].share(listed[1]._replace(clients=clients_to_bytes(members)), DIRECTORY)
        signed = confirmed | {1: clients[1].confirm(simulated_identity(SEED, 1))}
        clients[1].mask(values_of(SPARSE, 1), signed, DIRECTORY)

    with pytest.raises((Aborted, ValueError)):
        go_on()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda shown: {"hashes": shown.hashes[:-1]}, "bytes of hashes; expected 160 for each client shown"),
        (lambda shown: {"hashes": None}, "has 0 bytes of hashes"),
        (lambda shown: {"clients": shown.clients[CLIENT_BYTES:] + shown.clients[:CLIENT_BYTES]}, "ascending order"),
        (lambda shown: {"clients": shown.clients[:CLIENT_BYTES] + shown.clients}, "names one twice"),
        (lambda shown: {"clients": shown.clients[:-1]}, "expected a multiple of 8"),
        (lambda shown: {"keys": shown.keys[:-1]}, "expected a multiple of 168"),
    ],
)
def test_a_list_that_is_none_is_refused(change: Callable[[Shown], dict[str, Any]], why: str) -> None:
    _, clients, listed = begun(SPARSE, MANY)
    with pytest.raises(ValueError, match=why):
        clients[1].share(listed[1]._replace(**change(listed[1])), DIRECTORY)
