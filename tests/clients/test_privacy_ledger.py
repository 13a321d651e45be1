"""What a device counts by itself, whatever a server says it has asked for."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict

import fedasr.experiment
from fedasr.clients.client_app import app, flower_app
from fedasr.clients.edge.ledgers import lock
from fedasr.clients.mods.device_noise import pay_for_a_turn
from fedasr.clients.privacy_ledger import opened
from fedasr.clients.vote_ledger import price
from fedasr.config import Config, load
from fedasr.config.schema import PateConfig
from fedasr.edge.status import spent
from fedasr.errors import InputError
from fedasr.experiment import as_json
from fedasr.flower.messages import RUN_ID, assume_identity
from fedasr.flower.records import array_record, arrays_of, values_of
from fedasr.privacy.accountants import epsilon_of
from fedasr.privacy.events import Gaussian
from fedasr.privacy.pate.analysis import ORDERS, VoteMechanism
from fedasr.privacy.rdp import rdp_curve
from fedasr.protocol import Record

from .edge_devices import Town
from .test_teacher import CONFIG, lesson, question
from .test_teacher import context as simulated

USERS: dict[str, Any] = {
    "privacy__unit": "user",
    "privacy__noise_at": "device",
    "privacy__noise_multiplier": 1.0,
    "privacy__secret_noise": True,
    "strategy__weighting": "uniform",
}
EXAMPLES: dict[str, Any] = {
    "privacy__unit": "example",
    "privacy__noise_multiplier": 1.0,
    "privacy__secret_noise": True,
    "client__optimizer": "sgd",
    "client__steps": 1,
}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return Town(tmp_path_factory.mktemp("boxes") / "town")


def edge_device(town: Town, folder: Path) -> Context:
    """Return the context of an edge device with anna's speech and a memory of its own."""
    node: dict[str, bool | float | int | str] = {
        "name": "anna",
        "data": str(folder),
        "manifest": str(town.folders["anna"] / "manifest.csv"),
    }
    return Context(RUN_ID, 5, node, RecordDict(), {})


def config(town: Town, **changes: Any) -> Config:
    return load(town.config(town.server, runtime__name="deployment", **changes))


def turn(town: Town, round: int = 1, **changes: Any) -> Message:
    """Return the message that asks an edge device to train."""
    assume_identity()
    asked = config(town, **changes)
    content = RecordDict({"config": ConfigRecord({"round": round, "experiment": as_json(asked)})})
    content[Record.ADDRESS] = ConfigRecord({"client": 1, "name": "anna"})
    content["arrays"] = array_record(fedasr.experiment.Experiment(asked).first_weights())
    return Message(content, 5, "train")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [USERS, EXAMPLES], ids=["noise on updates", "dp-sgd"])
def test_a_round_that_is_asked_for_again_is_a_turn(kind: dict[str, Any], town: Town, tmp_path: Path) -> None:
    """``participations: 1`` answered any number of times for one round; another name or seed made no difference."""
    answers = [
        flower_app(turn(town, round, privacy__participations=1, **kind, **name), edge_device(town, tmp_path))
        for round, name in ((1, {}), (1, {}), (2, {"name": "other"}), (1, {"seed": 7}))
    ]
    assert ["arrays" in answer.content for answer in answers] == [True, False, False, False]
    assert all(values_of(answer, "privacy")["spent"] is True for answer in answers[1:])
    kept = json.loads((tmp_path / "account.json").read_text())
    assert sum(run["rounds"] for run in kept["runs"].values()) == 1


@pytest.mark.thorough
def test_a_budget_holds_over_all_runs(town: Town, tmp_path: Path) -> None:
    two = epsilon_of([Gaussian(unit="user", adjacency="zero-out", noise_multiplier=1.0, steps=2)], 1e-5).epsilon
    paid = [
        pay_for_a_turn(edge_device(town, tmp_path), config(town, **USERS, seed=seed, privacy__epsilon=1.01 * two), 1)
        for seed in range(4)
    ]
    assert paid == [True, True, False, False]
    with opened(edge_device(town, tmp_path), config(town, **USERS)) as ledger:
        assert ledger.epsilon == pytest.approx(two)
        assert (ledger.participations, ledger.rounds) == (2, 0)


@pytest.mark.thorough
def test_turns_of_all_mechanisms_are_in_one_account(town: Town, tmp_path: Path) -> None:
    pay_for_a_turn(edge_device(town, tmp_path), config(town, **USERS), 1)
    flower_app(turn(town, **EXAMPLES), edge_device(town, tmp_path))
    kept = json.loads((tmp_path / "account.json").read_text())
    assert [(entry["unit"], entry["seen_by"]) for entry in kept["ledger"]["entries"]] == [
        ("user", "server"),
        ("example", "server"),
    ]
    assert {entry["randomness"] for entry in kept["ledger"]["entries"]} == {"secret"}
    told = spent(tmp_path / "account.json")["privacy"]
    assert [group["unit"] for group in told] == ["user", "example"]
    assert all("secret randomness" in group["guarantee"] for group in told)


@pytest.mark.thorough
def test_two_messages_at_once_are_two_turns(town: Town, tmp_path: Path) -> None:
    asked, together = config(town, **USERS, privacy__participations=2), Barrier(8)

    def pay(_: int) -> bool:
        together.wait()
        return pay_for_a_turn(edge_device(town, tmp_path), asked, 1)

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(pay, range(8))) == [False] * 6 + [True] * 2


@pytest.mark.thorough
def test_a_turn_that_fails_is_paid_for_before_it_begins(town: Town, tmp_path: Path) -> None:
    message = turn(town, **USERS)
    message.content["arrays"] = array_record({})
    assert flower_app(message, edge_device(town, tmp_path)).has_error()
    assert sum(run["rounds"] for run in json.loads((tmp_path / "account.json").read_text())["runs"].values()) == 1


@pytest.mark.parametrize("content", ["{", "[]", '{"runs": {}}', '{"ledger": {}, "runs": []}'])
def test_nothing_is_done_with_a_damaged_account(content: str, town: Town, tmp_path: Path) -> None:
    (tmp_path / "account.json").write_text(content)
    with pytest.raises(InputError, match=r"restore it from a copy|no privacy ledger|is not a privacy ledger"):
        pay_for_a_turn(edge_device(town, tmp_path), config(town, **USERS), 1)


@pytest.mark.thorough
def test_votes_are_counted_each_time_they_are_asked_for(tmp_path: Path) -> None:
    run = fedasr.experiment.experiment(as_json(load(CONFIG)))
    device = simulated(tmp_path)
    app(lesson(run), device)
    for asked in range(1, 4):
        app(question(run), device)
        with opened(device, run.config) as ledger:
            (entry,) = ledger.ledger.entries
            assert (entry.event.unit, entry.event.steps, ledger.participations) == ("teacher", asked, asked)


@pytest.mark.thorough
def test_a_teacher_ends_at_its_budget_and_repeats_an_answer_for_nothing(tmp_path: Path) -> None:
    secret = {"privacy": {"unit": "teacher", "secret_noise": True, "epsilon": 3.8}}
    pate = {**CONFIG["pate"], "noise_at": "teachers"}
    run = fedasr.experiment.experiment(as_json(load({**CONFIG, **secret, "pate": pate})))
    device = simulated(tmp_path)
    app(lesson(run), device)
    one = epsilon_of(price(run.config.pate, 1), 1e-5, "rdp").epsilon
    two = epsilon_of(price(run.config.pate, 2), 1e-5, "rdp").epsilon
    assert one < 3.8 < two
    first, again = (app(question(run), device) for _ in range(2))
    one_answer, another = (arrays_of(reply, "votes")["votes"] for reply in (first, again))
    np.testing.assert_array_equal(one_answer, another)
    with pytest.raises(InputError, match="does not allow 1 more votes"):
        app(question(run, number=1), device)


@pytest.mark.parametrize("mechanism", ["gnmax", "lnmax", "soft-gaussian", "soft-laplace"])
def test_the_price_of_a_vote_is_at_most_what_the_ledger_says_of_any_votes(mechanism: str) -> None:
    """The device may not stop where the server's account still allows a question."""
    mine = rdp_curve(price(PateConfig(mechanism=mechanism, scale=7.0), 1), ORDERS)
    theirs = VoteMechanism(mechanism, 7.0).label_rdp_data_independent(ORDERS)
    assert (mine <= theirs * (1 + 1e-9) + 1e-12).all()


def test_a_lock_falls_with_its_process(tmp_path: Path) -> None:
    for _ in range(2):
        with (tmp_path / "lock").open("w") as file:
            lock(file.fileno())
