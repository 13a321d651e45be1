"""Rounds of messages under secure aggregation: a cohort with neighbours, and clients that say what cannot be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedasr.clients.client_app import app as honest
from fedasr.clients.mods.secured import secured
from fedasr.clients.secure import masked
from fedasr.config import Config, load
from fedasr.data.partition import Partition
from fedasr.data.roster import Roster
from fedasr.experiment import as_json
from fedasr.flower.records import array_record, arrays_of, content_bytes
from fedasr.models.weights import Layout
from fedasr.protocol import (
    Key,
    KeyList,
    Kind,
    Masking,
    Name,
    OpenedShares,
    Order,
    Record,
    SealedShares,
    Status,
    Trained,
)
from fedasr.runtime.executors import SerialExecutor
from fedasr.runtime.grid import LocalGrid
from fedasr.secure.identity import SIGNATURE_BYTES
from fedasr.secure.keys import CLIENT_BYTES, ROW
from fedasr.secure.listing import HASH_BYTES
from fedasr.secure.modulus import Residues, pack, wrapped
from fedasr.secure.terms import VOTES, Aborted
from fedasr.strategies.population import Cohort
from fedasr.strategies.rounds import RoundResult
from fedasr.strategies.secure.messages import residues_of
from fedasr.strategies.secure.rounds import SecureRounds
from fedasr.strategies.selection import Selection

CLIENTS, SIZE = 24, 50
LAYOUT = Layout(("w",), ((SIZE,),), (slice(0, SIZE),))
START = np.linspace(-1, 1, SIZE, dtype=np.float32)
Change = Callable[[int, str, Message], None]


def update_of(client: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(client).uniform(-0.05, 0.05, SIZE).astype(np.float32)


class Devices(ClientApp):
    """The client app without speech: what training brings is known beforehand.

    Args:
        gone: kind → clients that fail on it.
        change: what is done to a reply, by client and kind.
    """

    def __init__(self, gone: dict[str, tuple[int, ...]] | None = None, change: Change | None = None) -> None:
        super().__init__()
        self.gone, self.change = gone or {}, change
        self.received = Counter[int]()
        """client → bytes of the messages that have reached it"""

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer."""
        client, kind = int(context.node_config[Key.PARTITION]), message.metadata.message_type
        self.received[client] += content_bytes(message.content)
        if client in self.gone.get(kind, ()):
            raise ConnectionError("gone")
        reply = secured(message, context, self.trained) if kind == Kind.TRAIN else honest(message, context)
        if self.change is not None:
            self.change(client, kind, reply)
        return reply

    def trained(self, message: Message, context: Context) -> Message:
        """Return what training brings."""
        client = int(context.node_config[Key.PARTITION])
        weights = LAYOUT.views(arrays_of(message)["w"] + update_of(client))
        done = Trained(client + 1, 1000 * (client + 1), 2.0, 4.0, 1, 1, 0, 0.1)
        content = {Record.ARRAYS: array_record(weights), Record.METRICS: done.to_record()}
        return Message(RecordDict(content), reply_to=message)  # type: ignore[arg-type]


@lru_cache
def config(mode: str, neighbours: int = 6, least: int = 2) -> Config:
    secure = {"mode": mode, "bits": 20, "neighbours": neighbours, "least_clients": least}
    strategy = {"weighting": "examples", "max_failed_share": 0.9}
    tree = {"data": {"corpus": "synthetic"}, "selection": {"clients_per_round": CLIENTS}, "strategy": strategy}
    return load({**tree, "model": {"alphabet": "latin"}, "secure_aggregation": secure})


def trained(
    settings: Config, devices: Devices, folder: Path, make_grid: type[LocalGrid] = LocalGrid
) -> tuple[RoundResult, list[str]]:
    """Return a round, and what is noted of it."""
    names = np.array([f"c{client}" for client in range(CLIENTS)], object)
    partition = Partition(names, np.arange(CLIENTS + 1), np.arange(CLIENTS))
    stored = np.arange(1, CLIENTS + 1)
    grid = make_grid(SerialExecutor(devices), CLIENTS)
    rounds = SecureRounds(grid, settings, as_json(settings), partition, LAYOUT, folder)
    selection = Selection(np.arange(CLIENTS), np.ones(CLIENTS))
    result = rounds.train(1, START, Cohort(selection, None), Roster.from_counts(stored, stored.astype(float)))
    return result, rounds.take_notes()


class Voters(ClientApp):
    """The client app of teachers whose votes are known beforehand.

    Args:
        gone: clients that fail when they are asked for votes.
    """

    def __init__(self, gone: tuple[int, ...]) -> None:
        super().__init__()
        self.gone = gone

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer."""
        client = int(context.node_config[Key.PARTITION])
        if message.metadata.message_type != Kind.VOTE:
            return honest(message, context)
        if client in self.gone:
            raise ConnectionError("gone")
        masking = Masking.of(message)
        values = wrapped(votes_of(client), 20)
        if masking.signatures and any(masking.signatures):  # there is a protocol
            values = masked(message, context, values, masking, VOTES)
        return Message(RecordDict({Record.VOTES: array_record({Name.ENCODED: pack(values, 20)})}), reply_to=message)


def votes_of(client: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(client).integers(-1000, 1000, 30)


@pytest.mark.thorough
@pytest.mark.parametrize("dropped", [(), (3,), (3, 17), (3, 17, 20)])
def test_a_cohort_with_neighbours_has_the_sum_of_its_votes(dropped: tuple[int, ...], tmp_path: Path) -> None:
    """As many as ``least_clients`` allows, and one more, in protocol and simulated."""
    living = without(*dropped)
    for mode in ("protocol", "simulate"):
        settings = config(mode, least=22)
        names = np.array([f"c{client}" for client in range(CLIENTS)], object)
        partition = Partition(names, np.arange(CLIENTS + 1), np.arange(CLIENTS))
        grid = LocalGrid(SerialExecutor(Voters(dropped)), CLIENTS)
        rounds = SecureRounds(grid, settings, as_json(settings), partition, LAYOUT, tmp_path)

        def tell(asked: list[int], masking: Masking, rounds: SecureRounds = rounds) -> dict[int, Residues]:
            order = Order(5, rounds.config_json)
            content = RecordDict({Record.CONFIG: order.to_record(), Record.SECURE: masking.to_record()})
            replies = rounds.replies(rounds.messages(Kind.VOTE, 5, content, asked))
            came = {reply.metadata.src_node_id: reply for reply in replies if not reply.has_error()}
            return {node: residues_of(reply, Record.VOTES, 30, 20, "votes") for node, reply in came.items()}

        if len(living) < 22:
            with pytest.raises(Aborted, match="21 updates for a sum of at least 22"):
                rounds.summed(5, list(range(CLIENTS)), 30, VOTES, tell)
            continue
        total, voted = rounds.summed(5, list(range(CLIENTS)), 30, VOTES, tell)
        assert voted == len(living)
        assert total.tolist() == wrapped(sum(votes_of(client) for client in living), 20).tolist()


def mean_of(clients: list[int]) -> np.ndarray:  # type: ignore[type-arg]
    return np.average([update_of(client) for client in clients], axis=0, weights=[client + 1 for client in clients])


def without(*dropped: int) -> list[int]:
    return [client for client in range(CLIENTS) if client not in dropped]


@pytest.mark.thorough
@pytest.mark.parametrize("dropped", [(), (3,), (3, 17)])
def test_a_cohort_with_neighbours_has_the_sum_of_its_simulation(dropped: tuple[int, ...], tmp_path: Path) -> None:
    gone = {Kind.TRAIN: dropped}
    protocol, notes = trained(config("protocol"), Devices(gone), tmp_path)
    simulated, _ = trained(config("simulate"), Devices(gone), tmp_path)
    assert not notes
    assert np.array_equal(protocol.mean.mean(), simulated.mean.mean())
    assert protocol.mean.mean() == pytest.approx(mean_of(without(*dropped)), abs=1e-5)
    assert protocol.examples == simulated.examples == sum(client + 1 for client in without(*dropped))
    assert protocol.train_loss == pytest.approx(2.0)


class Wired(LocalGrid):
    """A grid that sends each device what it needs, as on a network."""

    on_the_wire = True


def test_a_device_is_sent_the_keys_and_signatures_of_its_neighbours_alone(tmp_path: Path) -> None:
    """And that is what is counted, also where messages are handed over in place or the protocol is simulated."""
    devices = Devices()
    protocol, _ = trained(config("protocol"), devices, tmp_path, Wired)
    results = [protocol, *(trained(config(mode), Devices(), tmp_path)[0] for mode in ("protocol", "simulate"))]
    assert [result.bytes_down for result in results] == [devices.received.total()] * 3
    assert len({result.mean.mean().tobytes() for result in results}) == 1
    # Of 17 others it is told the number, and gets neither keys nor signatures.
    whole, _ = trained(config("simulate", CLIENTS), Devices(), tmp_path)
    hashes = 7 * 5 * HASH_BYTES + 24 * CLIENT_BYTES
    assert whole.bytes_down - protocol.bytes_down > 24 * (17 * (ROW.size + SIGNATURE_BYTES) - hashes)


def keys_of_another(client: int, kind: str, reply: Message) -> None:
    if client == 5 and kind == Kind.KEYS:
        keys = KeyList.of(reply).keys
        reply.content[Record.SECURE] = KeyList((6).to_bytes(8, "little") + keys[8:]).to_record()


def keys_unsigned(client: int, kind: str, reply: Message) -> None:
    if client == 5 and kind == Kind.KEYS:
        keys = bytearray(KeyList.of(reply).keys)
        keys[20] ^= 1
        reply.content[Record.SECURE] = KeyList(bytes(keys)).to_record()


def too_few_shares(client: int, kind: str, reply: Message) -> None:
    if client == 5 and kind == Kind.SHARES:
        reply.content[Record.SECURE] = SealedShares(SealedShares.of(reply).sealed[:-1], bytes(96)).to_record()


def no_update(client: int, kind: str, reply: Message) -> None:
    if client == 5 and kind == Kind.TRAIN:
        reply.content[Record.ARRAYS] = array_record({"w": START})


def short_update(client: int, kind: str, reply: Message) -> None:
    if client == 5 and kind == Kind.TRAIN:
        (array,) = arrays_of(reply).items()
        reply.content[Record.ARRAYS] = array_record({array[0]: array[1][:-1]})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (keys_of_another, "it advertises keys of another client"),
        (keys_unsigned, "its keys are not signed by it"),
        (too_few_shares, "it has sealed 359 bytes for 6 neighbours"),
        (no_update, "the reply has no masked update"),
        (short_update, "the masked update has"),
    ],
)
def test_a_client_that_says_what_cannot_be_is_left_out(change: Change, why: str, tmp_path: Path) -> None:
    result, _ = trained(config("protocol"), Devices(change=change), tmp_path)
    (failed,) = [row for row in result.rows if row["status"] != Status.OK]
    assert failed["id"] == 5
    assert why in failed["reason"]
    assert result.mean.mean() == pytest.approx(mean_of(without(5)), abs=1e-5)


def test_a_client_that_opens_nothing_is_noted_and_its_update_counts(tmp_path: Path) -> None:
    def nothing(client: int, kind: str, reply: Message) -> None:
        if client == 5 and kind == Kind.UNMASK:
            reply.content[Record.SECURE] = OpenedShares(b"x").to_record()

    result, notes = trained(config("protocol"), Devices(change=nothing), tmp_path)
    assert notes == ["client c5: 'query.unmask': it has not opened the shares that it was asked for"]
    assert result.mean.mean() == pytest.approx(mean_of(without()), abs=1e-5)


@pytest.mark.parametrize("mode", ["protocol", "simulate"])
def test_too_few_updates_are_not_opened(mode: str, tmp_path: Path) -> None:
    result, notes = trained(config(mode, 30, CLIENTS), Devices({Kind.TRAIN: (5,)}), tmp_path)
    why = (
        "secure aggregation: 23 updates for a sum of at least 24 (secure_aggregation.least_clients); nothing was opened"
    )
    assert notes == [why]
    assert result.mean.updates == result.examples == 0
    assert not result.mean.mean().any()
    assert len(result.failures) == 1
    assert [row["reason"] for row in result.rows].count(why) == CLIENTS - 1


def test_no_message_tells_of_a_single_client(tmp_path: Path) -> None:
    """Of the rows of a round the server knows what it knew before, and that an update came."""
    result, _ = trained(config("protocol"), Devices(), tmp_path)
    assert all(np.isnan(row["train_loss"]) for row in result.rows)
    assert np.isnan(result.norm)
    assert {row["examples"] for row in result.rows} == set(range(1, CLIENTS + 1))
