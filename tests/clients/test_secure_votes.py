"""Votes of edge devices in secure sums: what a server may ask, in which order, and what a device refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict

import fedasr
import fedasr.experiment
from fedasr.clients.client_app import app, flower_app
from fedasr.clients.edge.app import UNTOLD
from fedasr.clients.privacy_ledger import opened
from fedasr.config import load
from fedasr.edge.server_folder import REGISTRY_VARIABLE
from fedasr.experiment import Experiment, as_json
from fedasr.flower.messages import RUN_ID, assume_identity
from fedasr.flower.records import array_record, arrays_of
from fedasr.models.weights import sha256
from fedasr.privacy.accountants import epsilon_of
from fedasr.protocol import (
    SECURE_KINDS,
    Address,
    KeyList,
    Kind,
    Masking,
    Name,
    Order,
    Record,
    SealedShares,
    SecureOrder,
    VoteOrder,
)
from fedasr.secure.keys import clients_to_bytes
from fedasr.secure.modulus import unpack
from fedasr.secure.terms import VOTES
from fedasr.secure.votes import VoteCoder

from .edge_devices import FREE, NAMES, OPEN, Town
from .test_secure_devices import PLAIN, Lasting, introduce, refusal
from .test_teacher import CONFIG, context, lesson, question

SECURE = {"mode": "protocol", "threshold": 2, "least_clients": 2}
CHANGES: dict[str, Any] = {
    "strategy__name": "pate",
    "privacy__unit": "teacher",
    "privacy__secret_noise": True,
    "pate__noise_at": "teachers",
    "pate__scale": 1.0,
    "pate__public__synthetic__grammar": "words",
    "pate__public__synthetic__words": ["one", "two"],
    "pate__public__synthetic__speakers": 2,
    "pate__public__synthetic__utterances_per_speaker": 2,
    "model__alphabet": "latin",
    "secure_aggregation": SECURE,
}


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
def test_edge_devices_vote_in_sums(town: Town, tmp_path: Path) -> None:
    """Of owners that let their server see sums alone; each device's own ledger says what was asked."""
    town.allow(
        **{**PLAIN, "messages": [kind for kind in OPEN["messages"] if kind not in (Kind.LOSS, Kind.EVALUATE)]},
        secure_aggregation=True,
    )
    result = fedasr.load_run(town.run(tmp_path / "edge", grid=Lasting(town.folders), **CHANGES))
    assert result.summary["queries"] == result.summary["labels"] == 4
    assert result.ballots["counted"].all()
    assert result.privacy is not None
    assert "no single vote, by secure aggregation" in result.privacy["guarantee"]
    for name in NAMES:
        counts = json.loads((town.folders[name] / "activity.json").read_text())["messages"]
        assert [counts[kind] for kind in (Kind.VOTE, *SECURE_KINDS)] == [1] * 4
        kept = json.loads((town.folders[name] / "account.json").read_text())
        [entry] = kept["ledger"]["entries"]
        assert entry["event"]["steps"] == 4
        assert "of sums with 2 shares of Skellam noise" in entry["mechanism"]


class Server:
    """The server of a run that asks three edge devices by hand for votes; they answer without any speech to vote on.

    Args:
        town: theirs.
        changes: of the config.
    """

    def __init__(self, town: Town, **changes: Any) -> None:
        assume_identity()
        tree = town.config(town.server, **{**CHANGES, **changes})
        self.town, self.config_json = town, as_json(load(tree))
        self.run = Experiment(load(tree))
        self.weights = self.run.first_weights()
        self.states = {name: RecordDict() for name in NAMES}

    def ask(self, client: int, kind: str, order: Order | None = None, **records: Any) -> Message:
        """Return a device's reply."""
        name = NAMES[client]
        order = order or SecureOrder(1, self.config_json, VOTES)
        content = RecordDict({Record.CONFIG: order.to_record(), **records})
        content[Address.RECORD] = Address(client, name).to_record()
        where = {"name": name, "data": str(self.town.folders[name])}
        context = Context(RUN_ID, client, where, self.states[name], {})
        reply: Message = flower_app(Message(content, 5, kind), context)
        self.states[name] = context.state
        return reply

    def teach(self) -> Server:
        """Let the devices learn."""
        for client in range(3):
            arrays = array_record(dict(self.weights))
            assert not self.ask(client, Kind.TEACH, Order(0, self.config_json), arrays=arrays).has_error()
        return self

    def prepared(self, purpose: str | None = VOTES) -> Masking:
        """Let the devices share secrets for a sum, and return how they are to mask."""
        order = SecureOrder(1, self.config_json, purpose)
        keys = b"".join(KeyList.of(self.ask(client, Kind.KEYS, order)).keys for client in range(3))
        listed = KeyList(keys, json.dumps(NAMES)).to_record()
        signed = [SealedShares.of(self.ask(c, Kind.SHARES, order, secure=listed)).signature for c in range(3)]
        return Masking(3, 1, clients_to_bytes(range(3)), b"".join(signed))

    def vote(self, client: int, masking: Masking | None, number: int = 0) -> Message:
        """Ask for votes on two utterances."""
        frames = np.random.default_rng(0).normal(size=(60, self.run.config.data.features.mel_bins)).astype(np.float32)
        start = sha256(self.run.whole(self.weights))
        order = VoteOrder(0, self.config_json, start, "utterance", 0.0, 2, number, 3)
        texts = [self.run.tokenizer.encode(text) for text in ("one", "two")]
        records: dict[str, Any] = {
            Record.SPEECH: array_record({Name.FRAMES: frames, Name.LENGTHS: np.array([30, 30])}),
            Record.QUESTIONS: array_record(
                {Name.TOKENS: np.concatenate(texts), Name.LENGTHS: np.array([len(text) for text in texts])}
            ),
        }
        if masking is not None:
            records[Record.SECURE] = masking.to_record()
        return self.ask(client, Kind.VOTE, order, **records)


@pytest.fixture(scope="module")
def server(town: Town) -> Server:
    town.allow(**PLAIN)
    return Server(town).teach()


@pytest.mark.thorough
def test_votes_leave_a_device_under_masks_alone_and_once(server: Server) -> None:
    masking = server.prepared()
    reply = server.vote(0, masking)
    assert not reply.has_error(), reply.error.reason
    assert list(reply.content) == [Record.VOTES]
    assert list(reply.content[Record.VOTES]) == [Name.ENCODED]
    assert "has last been asked to send its masked update" in refusal(server.vote(0, masking))
    assert server.vote(1, None).error.reason == UNTOLD, "a message that does not say how to mask"
    assert server.vote(1, masking, number=1).error.reason == UNTOLD, "the sum of another message"
    assert not server.vote(1, masking).has_error()


@pytest.mark.thorough
def test_keys_for_a_sum_of_updates_mask_no_votes(server: Server) -> None:
    assert server.vote(0, server.prepared(purpose=None)).error.reason == UNTOLD


@pytest.mark.thorough
def test_a_list_of_fewer_than_the_noise_is_split_among_is_refused(town: Town) -> None:
    """Else a server that says that there are many teachers would have the sum of a few with little noise."""
    many = Server(town, secure_aggregation={**SECURE, "least_clients": 4})
    keys = b"".join(KeyList.of(many.ask(client, Kind.KEYS)).keys for client in range(3))
    listed = KeyList(keys, json.dumps(NAMES)).to_record()
    said = refusal(many.ask(0, Kind.SHARES, secure=listed))
    assert said == "3 clients have advertised keys, a sum is of at least 4"


@pytest.mark.thorough
def test_a_device_that_wants_sums_alone_votes_under_masks_alone(town: Town) -> None:
    messages = [Kind.DESCRIBE, Kind.TEACH, Kind.VOTE, *SECURE_KINDS]
    town.allow(**{**PLAIN, "messages": messages, "secure_aggregation": True})
    bare = Server(town, secure_aggregation={"mode": "none"})
    for kind in (Kind.DESCRIBE, Kind.TEACH, Kind.VOTE):
        said = refusal(bare.vote(0, None) if kind == Kind.VOTE else bare.ask(0, kind, Order(0, bare.config_json)))
        assert said == "secure_aggregation.mode is none; allowed is protocol (secure_aggregation)"
    masked = Server(town)
    assert not masked.ask(0, Kind.DESCRIBE, Order(0, masked.config_json)).has_error()
    assert not masked.ask(0, Kind.KEYS).has_error()


@pytest.mark.thorough
@pytest.mark.parametrize("privacy", ["device", "server"])
def test_a_step_for_votes_is_held_against_the_rules_for_votes(privacy: str, town: Town) -> None:
    messages = [Kind.DESCRIBE, Kind.TEACH, Kind.VOTE, *SECURE_KINDS]
    town.allow(**FREE, messages=messages, privacy=privacy, least_in_sum=2)
    reply = Server(town).ask(0, Kind.KEYS)
    if privacy == "server":
        assert not reply.has_error()
    else:
        assert refusal(reply).startswith("privacy.unit is teacher with noise at the teachers; allowed is a run with")


@pytest.mark.thorough
def test_a_question_in_two_sums_has_noise_of_its_own_and_costs_twice(tmp_path: Path) -> None:
    """Of two sums with the same noise the difference would be one teacher's vote, with its share alone."""
    secret = {"privacy": {"unit": "teacher", "secret_noise": True}, "pate": {**CONFIG["pate"], "noise_at": "teachers"}}
    secure = {"secure_aggregation": {"mode": "simulate", "least_clients": 2}}
    run = fedasr.experiment.experiment(as_json(load({**CONFIG, **secret, **secure})))
    coder, device = VoteCoder.of(run.config, 3), context(tmp_path)
    app(lesson(run), device)
    answers = []
    for asked in range(1, 3):
        message = question(run)
        message.content[Record.SECURE] = Masking(3, 1).to_record()
        reply = app(message, device)
        answers.append(unpack(arrays_of(reply, Record.VOTES)[Name.ENCODED], 2, coder.bits))
        with opened(device, run.config) as ledger:
            [entry] = ledger.ledger.entries
            assert entry.event.steps == asked
            assert ledger.epsilon == epsilon_of([coder.event(asked)], run.config.privacy.delta, "rdp").epsilon
    assert not np.array_equal(*answers)
