"""Secure aggregation on edge devices: among devices that know each other, and before a server that cheats."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from flwr.app import Context, Message, RecordDict

import fedasr
from fedasr.clients.client_app import flower_app
from fedasr.clients.edge.app import UNTOLD
from fedasr.config import load
from fedasr.edge.certificates import load_public_key, make_device_key
from fedasr.edge.peers import EnrolmentSigner, PeerDirectory, read_peers
from fedasr.edge.policy import REFUSES
from fedasr.edge.secrets import write_private
from fedasr.edge.server_folder import REGISTRY_VARIABLE, Enrolment
from fedasr.errors import InputError
from fedasr.experiment import Experiment, as_json
from fedasr.flower.messages import RUN_ID, assume_identity
from fedasr.flower.records import array_record, shallow_copy
from fedasr.models.weights import read_weights
from fedasr.protocol import (
    KINDS,
    Address,
    KeyList,
    Kind,
    Masking,
    Name,
    OpenedShares,
    Order,
    Record,
    SealedShares,
    Unmasking,
)
from fedasr.runtime.launch import launch
from fedasr.secure.keys import clients_to_bytes, keys_from_bytes, keys_to_bytes
from fedasr.secure.primitives import SEALED_BYTES

from .edge_devices import NAMES, OPEN, Lasting, Town

SECURE = {"mode": "protocol", "threshold": 2, "least_clients": 2}
PLAIN = {**OPEN, "least_in_sum": 2}


def introduce(folders: Mapping[str, Path], registry: Path) -> None:
    """Give edge devices keys, and let them and the server know them."""
    lines, enrolled = [], []
    for name, folder in folders.items():
        private, public = make_device_key()
        (folder / "identity").mkdir(mode=0o700)
        write_private(folder / "identity" / "box.key", private)
        written = " ".join(public.decode().split()[:2])
        lines.append(f"{written} {name}\n")
        enrolled.append(asdict(Enrolment(name, "1", "SHA256:", "now", public_key=written)))
    for folder in folders.values():
        (folder / "peers.txt").write_text("".join(lines), encoding="utf-8")
    registry.write_text(json.dumps(enrolled), encoding="utf-8")


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    result = Town(tmp_path_factory.mktemp("town"))
    introduce(result.folders, result.root / "boxes.json")
    return result


@pytest.fixture(autouse=True)
def open_policies(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.allow(**PLAIN)
    monkeypatch.setenv(REGISTRY_VARIABLE, str(town.root / "boxes.json"))


@pytest.mark.thorough
def test_edge_devices_have_the_sum_of_their_simulation(town: Town, tmp_path: Path) -> None:
    """The same whole numbers, bit for bit; of a single device the server is told only how much it holds.

    In the second round the model goes to the devices by differences from the one that they hold.
    """
    changes = {"secure_aggregation": SECURE, "model__alphabet": "latin", "compression": {"down": "eden"}}
    result = fedasr.load_run(town.run(tmp_path / "edge", grid=Lasting(town.folders), **changes))
    local = fedasr.run(town.config(town.whole, **changes), out=tmp_path / "local")
    assert result.rounds["clients_replied"].tolist() == [3, 3]
    assert result.rounds["bytes_down"].iloc[1] < result.rounds["bytes_down"].iloc[0]
    assert result.rounds["unsent_norm"].iloc[1] > 0
    assert result.clients["examples"].tolist() == local.clients["examples"].tolist()
    (mine, _), (theirs, _) = read_weights(result.path), read_weights(local.path)
    for name, array in theirs.items():
        np.testing.assert_array_equal(mine[name], array, err_msg=name)
    counts = json.loads((town.folders["anna"] / "activity.json").read_text())
    assert counts["rounds"] == counts["messages"][Kind.UNMASK] == 2


@pytest.mark.thorough
def test_edge_devices_have_the_estimate_of_their_simulation(town: Town, tmp_path: Path) -> None:
    """Among owners that let their server see sums alone; true errors of all speech are counted nowhere."""
    asked = [kind for kind in KINDS if kind not in (Kind.LOSS, Kind.EVALUATE)]
    town.allow(**{**PLAIN, "messages": asked}, secure_aggregation=True, panel=True)
    estimate = {"every": 2, "panel_share": 1.0, "panel_utterances": 2, "words": 20}
    changes = {"secure_aggregation": SECURE, "model__alphabet": "latin", "evaluate__estimate": estimate}
    result = fedasr.load_run(town.run(tmp_path / "edge", grid=Lasting(town.folders), **changes))
    local = fedasr.load_run(launch(load(town.config(town.whole, **changes)), tmp_path / "local"))
    assert local.estimates["panel_speakers"].tolist() == [3]
    assert local.estimates["wer_estimate"].notna().all()
    pd.testing.assert_frame_equal(
        result.estimates.drop(columns="fleet_wer"), local.estimates.drop(columns="fleet_wer"), check_exact=True
    )
    assert result.estimates["fleet_wer"].isna().all()


class Server:
    """The server of a run that asks three edge devices by hand; clients 0, 1 and 2 are anna, ben and cleo.

    Args:
        town: theirs.
        secure: section ``secure_aggregation``.
    """

    def __init__(self, town: Town, secure: Mapping[str, Any] = SECURE, **changes: Any) -> None:
        assume_identity()
        tree = town.config(town.server, secure_aggregation=dict(secure), model__alphabet="latin", **changes)
        self.town, self.config_json = town, as_json(load(tree))
        self.weights = Experiment(load(tree)).first_weights()
        self.states = {name: RecordDict() for name in NAMES}
        self.steps: dict[str, bytes] = {}
        self.numbers: dict[str, int] = {}
        """name → what the server calls a device, where that is not its number"""
        self.keys: dict[int, bytes] = {}
        self.sealed: dict[int, bytes] = {}
        self.signatures: dict[int, bytes] = {}

    def ask(self, client: int, kind: str, *records: Any, config_json: str | None = None) -> Message:
        """Return a device's reply."""
        name = NAMES[client]
        content = RecordDict({Record.CONFIG: Order(1, config_json or self.config_json).to_record()})
        content[Address.RECORD] = Address(self.numbers.get(name, client), name).to_record()
        for record in records:
            content[Record.SECURE] = record.to_record()
        if kind == Kind.TRAIN:
            content[Record.ARRAYS] = array_record(dict(self.weights))
        where = {"name": name, "data": str(self.town.folders[name])}
        context = Context(RUN_ID, client, where, self.states[name], {})
        reply: Message = flower_app(Message(content, 5, kind), context)
        self.states[name] = context.state
        return reply

    def advertise(self, clients: tuple[int, ...] = (0, 1, 2)) -> bytes:
        """Return the list of the keys that devices advertise."""
        for client in clients:
            self.keys[client] = KeyList.of(self.ask(client, Kind.KEYS)).keys
        return b"".join(self.keys[client] for client in sorted(self.keys))

    def share(self, client: int, listed: bytes, names: tuple[str, ...] = NAMES) -> Message:
        """Let a device share its secrets."""
        reply = self.ask(client, Kind.SHARES, KeyList(listed, json.dumps(names)))
        if not reply.has_error():
            said = SealedShares.of(reply)
            self.sealed[client], self.signatures[client] = said.sealed, said.signature
        return reply

    def masking(self, signatures: Mapping[int, bytes] | None = None) -> Masking:
        """Return who has shared secrets."""
        signed = self.signatures if signatures is None else signatures
        joined = b"".join(signed[client] for client in sorted(signed))
        return Masking(3, 10, clients_to_bytes(signed), joined)

    def again(self) -> Server:
        """Return the server as it is, before devices that are as they are."""
        twin = copy(self)
        twin.numbers = {}
        twin.states = {name: shallow_copy(state) for name, state in self.states.items()}
        for name, content in self.steps.items():
            (self.town.folders[name] / "secure.json").write_bytes(content)
        return twin

    def masked(self) -> Server:
        """Go on until all have sent a masked update."""
        listed = self.advertise()
        for client in range(3):
            assert not self.share(client, listed).has_error()
        for client in range(3):
            reply = self.ask(client, Kind.TRAIN, self.masking())
            assert not reply.has_error(), reply.error.reason
            assert list(reply.content) == [Record.ARRAYS]
            assert list(reply.content[Record.ARRAYS]) == [Name.ENCODED]
        self.steps = {name: (self.town.folders[name] / "secure.json").read_bytes() for name in NAMES}
        return self

    def unmask(self, client: int, living: set[int], dead: set[int], **more: Any) -> Message:
        """Ask a device to open shares."""
        others = [other for other in sorted(living | dead) if other != client]
        places = {other: [c for c in range(3) if c != other].index(client) for other in others}
        sealed = b"".join(
            self.sealed[other][SEALED_BYTES * place : SEALED_BYTES * (place + 1)] for other, place in places.items()
        )
        question = Unmasking(clients_to_bytes(living), sealed, clients_to_bytes(dead) or None)
        return self.ask(client, Kind.UNMASK, question, **more)


@pytest.fixture(scope="module")
def complete(town: Town) -> Server:
    """A server that has a masked update of every device."""
    town.allow(**PLAIN)
    return Server(town).masked()


def refusal(reply: Message) -> str:
    """Return what the server is told of a refusal."""
    assert reply.has_error(), "the edge device has answered"
    assert reply.error.reason.startswith(REFUSES), reply.error.reason
    return str(reply.error.reason).removeprefix(REFUSES)


def test_who_is_living_and_dead_at_once_is_opened_for_nobody(complete: Server) -> None:
    server = complete.again()
    assert "client 1 is said to be both in the sum and not in it" in refusal(server.unmask(0, {0, 1, 2}, {1}))
    # The step is taken, whatever came of it: a better list does not help.
    assert "was answered already" in refusal(server.unmask(0, {0, 1, 2}, set()))


@pytest.mark.thorough
def test_shares_are_opened_once(complete: Server) -> None:
    """Also where Flower has lost the state of a device after its reply."""
    server = complete.again()
    before_open = shallow_copy(server.states["anna"])
    assert len(OpenedShares.of(server.unmask(0, {0, 1, 2}, set())).opened) == 3 * 16
    assert server.unmask(0, {0, 1}, {2}).error.reason == UNTOLD
    server.states["anna"] = before_open
    assert "was answered already" in refusal(server.unmask(0, {0, 1}, {2}))
    assert not server.unmask(1, {0, 1, 2}, set()).has_error(), "the others go on"


@pytest.mark.thorough
def test_a_second_update_under_the_same_masks_is_not_sent(complete: Server) -> None:
    server = complete.again()
    assert "has last been asked to send its masked update" in refusal(server.ask(0, Kind.TRAIN, server.masking()))


@pytest.mark.thorough
def test_a_sum_of_fewer_than_the_owner_wants_is_not_opened(town: Town) -> None:
    """Whatever the run's own ``least_clients`` is."""
    town.allow(**{**OPEN, "least_in_sum": 3})
    small = Server(town)
    listed = small.advertise((0, 1))
    for client in (0, 1):
        assert not small.share(client, listed, NAMES[:2]).has_error()
    assert "2 of its neighbours have shared secrets, 3 are needed" in refusal(small.ask(0, Kind.TRAIN, small.masking()))


@pytest.mark.thorough
def test_a_sum_that_lost_one_is_opened_if_the_owner_lets_it(complete: Server, town: Town) -> None:
    """The floor is that of the policy when secrets were shared."""
    opened = OpenedShares.of(complete.again().unmask(0, {0, 1}, {2})).opened
    assert len(opened) == 3 * 16


def key_of_the_servers_own(server: Server, listed: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Cleo's keys are the server's, signed with another key."""
    private, _ = make_device_key()
    path = server.town.root / "forged.key"
    path.unlink(missing_ok=True)
    write_private(path, private)
    rows = keys_from_bytes(listed)
    run = b"0" * 16
    forged = type(rows[2]).signed(run, 1, 2, bytes(32), bytes(32), EnrolmentSigner(path))
    return keys_to_bytes([rows[0], rows[1], forged]), NAMES


def key_of_another_device(server: Server, listed: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Cleo's row has ben's keys."""
    rows = keys_from_bytes(listed)
    row = rows[1]
    return keys_to_bytes([rows[0], row, type(row)(2, row.masking, row.sealing, row.signature)]), NAMES


def one_device_twice(server: Server, listed: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Ben is there under two numbers."""
    return listed, (NAMES[0], NAMES[1], NAMES[1])


def a_stranger(server: Server, listed: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Somebody whom no owner has listed."""
    return listed, (NAMES[0], NAMES[1], "zoe")


def somebody_else(server: Server, listed: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Anna herself is called ben, and ben anna."""
    return listed, (NAMES[1], NAMES[0], NAMES[2])


@pytest.mark.parametrize(
    ("cheat", "why"),
    [
        (key_of_the_servers_own, "the keys of client 2 are not signed by it"),
        (key_of_another_device, "the keys of client 2 are not signed by it"),
        (one_device_twice, "the list of keys is without a name of its own for each edge device"),
        (a_stranger, "the keys of client 2 are not signed by it"),
        (somebody_else, "the list of keys is without this edge device's name"),
    ],
)
def test_keys_that_are_not_those_of_known_devices_are_refused(
    cheat: Callable[[Server, bytes], tuple[bytes, tuple[str, ...]]], why: str, town: Town
) -> None:
    server = Server(town)
    assert why in refusal(server.share(0, *cheat(server, server.advertise())))


@pytest.mark.thorough
def test_keys_of_an_earlier_time_are_refused(town: Town) -> None:
    """The same run and round were begun before, and what cleo has signed then is shown to the others again."""
    before = Server(town)
    listed = before.advertise()
    assert not before.share(2, listed).has_error()
    server = Server(town)
    server.advertise((0, 1))
    server.keys[2] = before.keys[2]
    mixed = b"".join(server.keys[client] for client in range(3))
    for client in (0, 1):
        assert not server.share(client, mixed).has_error()
    signed = {**server.signatures, 2: before.signatures[2]}
    why = "client 2 has not confirmed the list of keys that this client was sent"
    assert why in refusal(server.ask(0, Kind.TRAIN, server.masking(signed)))


@pytest.mark.thorough
def test_another_threshold_in_the_middle_of_a_round_is_another_run(complete: Server) -> None:
    server = complete.again()
    tree = json.loads(server.config_json)
    tree["secure_aggregation"]["threshold"] = 3
    assert server.unmask(0, {0, 1, 2}, set(), config_json=json.dumps(tree)).error.reason == UNTOLD
    for threshold in (1, 4):
        tree["secure_aggregation"]["threshold"] = threshold
        reply = server.ask(0, Kind.KEYS, config_json=json.dumps(tree))
        assert "'secure_aggregation.threshold' is" in reply.error.reason or "expected at least 2" in reply.error.reason


@pytest.mark.thorough
def test_a_half_of_the_holders_opens_nothing(town: Town) -> None:
    """The run says four neighbours, so that two of three may seem to be half of five."""
    server = Server(town, {"mode": "protocol", "threshold": 6, "least_clients": 2}, selection__clients_per_round=10)
    reply = server.share(0, server.advertise())
    assert "6 shares are to open a secret (secure_aggregation.threshold), 3 hold one" in refusal(reply)


@pytest.mark.thorough
def test_few_neighbours_of_many_are_refused(town: Town) -> None:
    """Devices on the server's side could be all of them."""
    server = Server(town, {"mode": "protocol", "neighbours": 2, "least_clients": 2}, selection__clients_per_round=4)
    listed = server.advertise()
    rows = keys_from_bytes(listed)
    more = keys_to_bytes([*rows.values(), type(rows[2])(3, bytes(32), bytes(32), bytes(96))])
    said = refusal(server.share(0, more, (*NAMES, "zoe")))
    assert said == "secure_aggregation.neighbours is 2; allowed is at least 20, or all of a cohort"


@pytest.mark.thorough
def test_a_device_has_one_number_in_a_round(complete: Server) -> None:
    server = complete.again()
    server.numbers["anna"] = 1
    assert server.unmask(0, {0, 1, 2}, set()).error.reason == UNTOLD


@pytest.mark.thorough
def test_a_device_that_wants_sums_alone_trains_in_no_other_run(town: Town) -> None:
    town.allow(**{**PLAIN, "messages": ["query.describe", "train", *("query.keys", "query.shares", "query.unmask")]})
    plain = Server(town, {"mode": "none"})
    assert not plain.ask(0, Kind.DESCRIBE).has_error()
    wants = {**PLAIN, "messages": ["query.describe", "train"], "secure_aggregation": True}
    town.allow(**wants)
    for mode in ("none", "simulate"):
        server = Server(town, {"mode": mode})
        for kind in (Kind.DESCRIBE, Kind.TRAIN):
            said = refusal(server.ask(0, kind))
            assert said == f"secure_aggregation.mode is {mode}; allowed is protocol (secure_aggregation)"
    town.allow(**{**wants, "messages": [Kind.LOSS]})
    assert plain.ask(0, Kind.LOSS).error.reason == UNTOLD  # the policy contradicts itself, and nothing is answered


def test_without_the_keys_of_others_a_device_takes_no_part(town: Town, tmp_path: Path) -> None:
    peers = town.folders["anna"] / "peers.txt"
    kept = peers.read_bytes()
    peers.unlink()
    try:
        assert "only with peers.txt" in refusal(Server(town).ask(0, Kind.KEYS))
    finally:
        peers.write_bytes(kept)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda lines: [*lines, lines[0]], "for the second time ('anna')"),
        (lambda lines: [*lines, lines[0].replace("anna", "zoe")], "for the second time ('zoe')"),
        (lambda lines: [*lines, "anna"], "peers.txt:4: is no key"),
        (lambda lines: ["ecdsa-sha2-nistp384 AAAA zoe"], "peers.txt:1: is not an OpenSSH public key"),
    ],
)
def test_a_list_of_peers_is_exact(change: Callable[[list[str]], list[str]], sentence: str, town: Town) -> None:
    lines = (town.folders["anna"] / "peers.txt").read_text().splitlines()
    path = town.root / "peers.txt"
    path.write_text("\n".join(change(lines)))
    with pytest.raises(InputError) as caught:
        read_peers(path)
    assert sentence in str(caught.value)


def test_a_key_of_another_curve_signs_or_is_refused(tmp_path: Path) -> None:
    for curve, fits in ((ec.SECP256R1(), True), (ec.SECP384R1(), True), (ec.SECP521R1(), False)):
        key = ec.generate_private_key(curve)
        path = tmp_path / f"{curve.name}.key"
        write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        public = load_public_key(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH), "here")
        if not fits:
            with pytest.raises(InputError, match="is a key of 521 bits"):
                EnrolmentSigner(path)
            continue
        directory = PeerDirectory({0: "anna"}, {"anna": public})
        signature = EnrolmentSigner(path).sign(b"said")
        assert directory.verifies(0, b"said", signature)
        assert not directory.verifies(0, b"other", signature)
        assert not directory.verifies(1, b"said", signature)
        assert not directory.verifies(0, b"said", signature[:-1])
        assert not directory.verifies(0, b"said", bytes(len(signature)))
