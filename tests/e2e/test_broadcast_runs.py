"""Runs whose model goes to the devices by differences: fewer bytes, counted per device, and the same bits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from flwr.app import Context, Message, RecordDict

import fedasr
from fedasr.clients.client_app import app
from fedasr.config import load
from fedasr.errors import InputError
from fedasr.experiment import Experiment, as_json
from fedasr.flower.messages import RUN_ID
from fedasr.flower.records import array_record, arrays_of
from fedasr.models.weights import Layout
from fedasr.protocol import EstimateOrder, Kind, ModelNumber, Order, Record
from fedasr.runtime.cost import cost
from fedasr.runtime.executors import Executor
from fedasr.runtime.grid import LocalGrid
from fedasr.runtime.wrapped_grid import WrappedGrid
from fedasr.strategies.estimates.fleet import FleetEstimates

from . import test_secure_runs as secure
from .test_compressed_runs import Shuffled, StopAfter, config, run
from .test_cost import CLOCK, COLUMNS, columns_of, planned, sent

TABLE = [*COLUMNS, "loss", "wer", "train_loss", "unsent_norm", "simulated_seconds"]
CLIENTS = ["round", "client", "status", "bytes_up", "bytes_down"]
EDEN = {"down": "eden"}


def settings(compression: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return a config of four rounds with late devices and drop-outs."""
    return config(EDEN if compression is None else compression, devices=CLOCK, **changes)


def assert_same(one: fedasr.Run, other: fedasr.Run) -> None:
    """Assert that two runs have the same bits."""
    assert one.summary["model_sha256"] == other.summary["model_sha256"]
    pd.testing.assert_frame_equal(one.rounds[TABLE], other.rounds[TABLE])
    pd.testing.assert_frame_equal(one.clients[CLIENTS], other.clients[CLIENTS])


@pytest.fixture(scope="module")
def eden(tmp_path_factory: pytest.TempPathFactory) -> fedasr.Run:
    return run(settings(), tmp_path_factory.mktemp("runs") / "eden")


class Wired(LocalGrid):
    """A grid whose devices are sent differences and keep the model, as on a network."""

    on_the_wire = True


@pytest.mark.quick
def test_devices_are_sent_the_model_once_and_then_what_they_missed(eden: fedasr.Run) -> None:
    whole = 4 * eden.summary["parameters"]
    rounds, clients = eden.rounds, eden.clients
    assert rounds["bytes_down"].tolist() == clients.groupby("round")["bytes_down"].sum().tolist()
    assert eden.summary["bytes_down"] == rounds["bytes_down"].sum()
    assert (clients.loc[clients["round"] == 1, "bytes_down"] > whole).all()
    assert rounds["unsent_norm"].iloc[0] == 0
    assert (rounds["unsent_norm"].iloc[1:] > 0).all()
    # Who answered in the round before is sent a bit a weight, who did not two or three, and who never did the whole.
    known: dict[str, int] = {}
    sizes: dict[int, set[int]] = {}
    for row in clients.to_dict("records"):
        missed = row["round"] - known[row["client"]] if row["client"] in known else 0
        sizes.setdefault(missed, set()).add(row["bytes_down"])
        known |= {row["client"]: row["round"]} if row["status"] == "ok" else {}
    assert {1, 2} <= set(sizes)
    assert all(len(found) == 1 for found in sizes.values())
    lengths = {missed: found.pop() for missed, found in sizes.items()}
    assert lengths[2] - lengths[1] == pytest.approx(eden.summary["parameters"] / 8, abs=300)
    assert lengths[1] < lengths[0] - whole + eden.summary["parameters"] / 8 + 300
    assert rounds["loss"].iloc[-1] < 0.9 * rounds["loss"].iloc[0]


@pytest.mark.quick
def test_a_plan_knows_the_bytes_and_seconds(eden: fedasr.Run) -> None:
    columns = [*COLUMNS, "simulated_seconds"]
    plan = cost(load(settings()))
    assert [{name: row[name] for name in columns} for row in plan["table"]] == sent(eden, columns)
    assert not plan["bytes"]["estimated"]
    assert plan["bytes"]["client_down"] == pytest.approx(eden.clients["bytes_down"].mean(), abs=1)
    assert plan["compression_down"] == "eden"


def test_devices_that_keep_the_model_train_from_the_same_bits(eden: fedasr.Run, tmp_path: Path) -> None:
    """What a grid of a simulation counts is what would be sent, and what it hands over is what devices would hold."""
    assert_same(run(settings(), tmp_path / "run", grid=Wired), eden)


def test_a_resumed_run_goes_on_from_what_its_devices_hold(eden: fedasr.Run, tmp_path: Path) -> None:
    assert run(settings(), tmp_path / "run", watcher=StopAfter(2)).summary["status"] == "interrupted"
    assert_same(run(settings(), tmp_path / "run", resume=True, grid=Shuffled), eden)


@pytest.mark.slow
def test_workers_train_from_the_same_bits(eden: fedasr.Run, tmp_path: Path) -> None:
    assert_same(run(settings(), tmp_path / "run", workers=2), eden)


class Network(WrappedGrid):
    """A grid as Flower's own: it keeps the devices' states, and a run that goes on finds none."""

    on_the_wire = True

    def __init__(self, executor: Executor, clients: int) -> None:
        super().__init__(LocalGrid(executor, clients))

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Pass them on."""
        yield from self.grid.send_and_receive(messages, timeout=timeout)  # type: ignore[call-arg]


def test_a_resumed_run_sends_the_whole_where_devices_have_lost_their_states(eden: fedasr.Run, tmp_path: Path) -> None:
    network: Any = Network
    run(settings(), tmp_path / "run", watcher=StopAfter(2), grid=network)
    result = run(settings(), tmp_path / "run", resume=True, grid=network)
    assert result.summary["model_sha256"] == eden.summary["model_sha256"]
    whole = result.clients.loc[result.clients["round"] == 3, "bytes_down"]
    assert (whole > 4 * result.summary["parameters"]).all()
    assert result.clients.loc[result.clients["round"] == 4, "bytes_down"].min() < whole.min() / 2


class Estimates(LocalGrid):
    """Notes which model devices were asked to hear with, and what errors they were told to expect of it."""

    asked: ClassVar[list[Message]] = []

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Note the questions."""
        messages = list(messages)
        Estimates.asked += [message for message in messages if message.metadata.message_type == Kind.ESTIMATE]
        return super().send_and_receive(messages, timeout=timeout)


def test_expected_errors_are_those_of_the_model_that_devices_hear_with(tmp_path: Path) -> None:
    estimated = config({"down": "sign"}, evaluate__estimate__every=1)
    run({**estimated, "rounds": 1}, tmp_path / "run", grid=Estimates)
    message = Estimates.asked[0]
    experiment = Experiment(load(tmp_path / "run" / "config.yaml"))
    layout = Layout.of(experiment.first_weights())
    heard_with = layout.flatten(arrays_of(message), np.empty(layout.size, np.float32))
    nobody: Any = None
    estimates = FleetEstimates(experiment, nobody, layout, nobody)
    assert EstimateOrder.of(message).calibration == estimates.calibration(heard_with).to_json()


def test_sixteen_bits_each_way_lose_next_to_nothing(tmp_path: Path) -> None:
    plain = run(config(), tmp_path / "plain")
    half = run(config({"up": "fp16", "down": "fp16"}), tmp_path / "half")
    np.testing.assert_allclose(half.rounds["loss"], plain.rounds["loss"], rtol=1e-3)
    assert half.rounds["bytes_down"].iloc[-1] < 0.8 * plain.rounds["bytes_down"].iloc[-1]
    assert plain.rounds["unsent_norm"].isna().all()


def test_questions_and_evaluations_on_devices_bring_the_model_too(tmp_path: Path) -> None:
    asking = {"name": "power-of-choice", "clients_per_round": 2, "candidates": 6}
    chosen = {**config({"down": "sign"}), "selection": asking, "evaluate": {"client_side": 1}, "rounds": 3}
    result = run(chosen, tmp_path / "run")
    plan = cost(load(chosen))
    assert columns_of(plan["table"]) == sent(result)
    assert plan["bytes"]["estimated"], "who is chosen follows from losses, and so does what they have missed"
    # Who was asked for the loss of a model holds it when it trains from it: next to nothing is sent again.
    assert (result.clients["bytes_down"] < 4 * result.summary["parameters"] / 2).all()


def test_secure_aggregation_sums_updates_of_the_model_that_devices_hold(tmp_path: Path) -> None:
    secured = {**secure.config("simulate", rounds=2), "compression": {"down": "eden"}}
    result = run(secured, tmp_path / "run")
    assert planned(secured) == sent(result)
    first, second = result.rounds["bytes_down"]
    assert second < first
    assert result.clients.groupby("round")["bytes_down"].sum().tolist() == [first, second]


def test_a_device_that_lost_its_model_says_so() -> None:
    settings = load(config(EDEN))
    records = {
        Record.CONFIG: Order(3, as_json(settings)).to_record(),
        Record.DIFFERENCES: array_record({"3": np.zeros(4, np.uint8)}),
        Record.MODEL: ModelNumber(3, 2).to_record(),
    }
    message = Message(RecordDict(dict(records)), 1, Kind.TRAIN)
    with pytest.raises(InputError, match=r"the device does not hold model 2, .* sent the whole next time"):
        app(message, Context(RUN_ID, 1, {"partition-id": 1}, RecordDict(), {}))
