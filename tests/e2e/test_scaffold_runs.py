"""Runs with control variates: what they send and keep is what the formulas say, with the same bits however they run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from flwr.app import ArrayRecord, Context, Message
from flwr.clientapp import ClientApp
from safetensors.numpy import load_file

import fedasr
from fedasr.clients.client_app import app as honest
from fedasr.config import load
from fedasr.experiment import Experiment
from fedasr.flower.records import from_bytes, numpy_arrays
from fedasr.protocol import Record
from fedasr.runtime import checkpoint
from fedasr.runtime.cost import cost
from fedasr.strategies.aggregation.controlled import NAME

from .test_compressed_runs import RESULTS, Shuffled, StopAfter, run
from .tiny import tiny

Floats = npt.NDArray[Any]
CLIENTS, STEPS, RATE = 6, 3, 0.1
SCAFFOLD = {"name": "scaffold", "weighting": "uniform"}


def config(strategy: Mapping[str, Any] = SCAFFOLD, cohort: int = CLIENTS, **changes: Any) -> dict[str, Any]:
    """Return a config of three rounds of plain SGD."""
    model = {"encoder": "lstm", "channels": [8, 8], "hidden": 8}
    client = {"optimizer": "sgd", "learning_rate": RATE, "steps": STEPS, "batch_size": 2}
    selection = {"name": "uniform", "clients_per_round": cohort}
    settings = tiny(data__synthetic__speakers=CLIENTS, model=model, client=client, selection=selection, **changes)
    return {**settings, "strategy": dict(strategy)}


def kept(result: fedasr.Run) -> tuple[Floats, dict[int, Floats]]:
    """Return Σ wᵢcᵢ of the server and the cᵢ of each client that has trained, of the run's last round."""
    saved = checkpoint.load(result.path / "checkpoint")
    assert saved is not None
    own = {}
    for client, state in saved.states.items():
        arrays = numpy_arrays(cast(ArrayRecord, from_bytes(state)[Record.CONTROL]))
        own[client] = np.concatenate([array.ravel() for array in arrays.values()])
    return saved.columns[NAME], own


def weights(result: fedasr.Run) -> Floats:
    saved = checkpoint.load(result.path / "checkpoint")
    assert saved is not None
    return np.concatenate([array.ravel() for array in saved.weights.values()]).astype(np.float64)


@pytest.fixture(scope="module")
def everybody(tmp_path_factory: pytest.TempPathFactory) -> list[fedasr.Run]:
    """Runs of one round and of two, in which all clients take part."""
    folder = tmp_path_factory.mktemp("runs")
    return [run(config(rounds=rounds), folder / str(rounds)) for rounds in (1, 2)]


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> fedasr.Run:
    """A run in which a third of the clients take part in a round, and weigh what they store."""
    return run(config({"name": "scaffold"}, 2), tmp_path_factory.mktemp("runs") / "some")


def test_the_first_round_is_that_of_averaging(everybody: list[fedasr.Run], tmp_path: Path) -> None:
    averaged = run(config({"name": "fedavg", "weighting": "uniform"}, rounds=1), tmp_path / "run")
    assert averaged.summary["model_sha256"] == everybody[0].summary["model_sha256"]
    # The control variates take as many bytes as the model.
    model = 4 * averaged.summary["parameters"] * CLIENTS
    for way in ("bytes_up", "bytes_down"):
        more = everybody[0].summary[way] - averaged.summary[way]
        assert model < more < 1.3 * model


def test_control_variates_are_the_mean_gradients_of_a_round(everybody: list[fedasr.Run]) -> None:
    """Of all clients together: c is what the mean of their weights has moved by, over K·η, whatever corrected them."""
    total, own = kept(everybody[0])
    assert sorted(own) == list(range(CLIENTS))
    np.testing.assert_allclose(total / CLIENTS, np.mean(list(own.values()), 0), atol=1e-6)
    total, own = kept(everybody[1])
    np.testing.assert_allclose(total / CLIENTS, np.mean(list(own.values()), 0), atol=1e-6)
    moved = weights(everybody[1]) - weights(everybody[0])
    np.testing.assert_allclose(total / CLIENTS, -moved / (STEPS * RATE), atol=1e-5)
    assert np.abs(total).max() > 0.01


def test_c_counts_what_clients_store_and_whoever_has_not_trained_as_0(some: fedasr.Run) -> None:
    total, own = kept(some)
    names = Experiment(some.config).partition.names
    stored = dict(zip(some.clients["client"], some.clients["examples"], strict=True))
    assert {str(names[client]) for client in own} == set(stored)
    assert 2 < len(own) < CLIENTS
    assert len(set(stored.values())) > 1
    np.testing.assert_allclose(total, sum(stored[str(names[client])] * c for client, c in own.items()), atol=1e-5)
    assert some.rounds["loss"].notna().all()


def test_replies_in_any_order_have_the_same_bits(some: fedasr.Run, tmp_path: Path) -> None:
    again = run(config({"name": "scaffold"}, 2), tmp_path / "run", grid=Shuffled)
    assert again.summary["model_sha256"] == some.summary["model_sha256"]
    np.testing.assert_array_equal(kept(again)[0], kept(some)[0])


@pytest.mark.thorough
def test_a_resumed_run_on_workers_has_the_same_bits(some: fedasr.Run, tmp_path: Path) -> None:
    stopped = run(config({"name": "scaffold"}, 2), tmp_path / "run", watcher=StopAfter(2), workers=1)
    assert stopped.summary["status"] == "interrupted"
    resumed = run(config({"name": "scaffold"}, 2), tmp_path / "run", resume=True, workers=2)
    assert resumed.summary["model_sha256"] == some.summary["model_sha256"]
    pd.testing.assert_frame_equal(resumed.rounds[RESULTS], some.rounds[RESULTS])
    np.testing.assert_array_equal(kept(resumed)[0], kept(some)[0])


def failing(message: Message, context: Context, call_next: Any) -> Message:
    """Fail on a client in the second round, when all is done."""
    reply: Message = call_next(message, context)
    client, number = int(context.node_config["partition-id"]), int(message.content["config"]["round"])  # type: ignore[index,call-overload,arg-type]
    if client == 1 and number == 2:
        raise OSError("no network")
    return reply


def test_a_client_that_fails_keeps_the_control_variate_that_the_server_counts(tmp_path: Path) -> None:
    app = ClientApp(mods=[failing])
    app.train()(honest)
    result = run(config(rounds=2), tmp_path / "run", app=app)
    assert result.rounds["clients_failed"].tolist() == [0, 1]
    total, own = kept(result)
    assert len(own) == CLIENTS
    np.testing.assert_allclose(total / CLIENTS, np.mean(list(own.values()), 0), atol=1e-6)


def test_frozen_tensors_have_no_control_variate(everybody: list[fedasr.Run], tmp_path: Path) -> None:
    start = str(everybody[0].path)
    settings = config(rounds=1, init_from=start, model__frozen=["subsampling.*", "encoder.*"])
    total, own = kept(run(settings, tmp_path / "run"))
    head = sum(a.size for name, a in load_file(everybody[0].path / "model.safetensors").items() if "head" in name)
    assert total.shape == own[0].shape == (head,)


def test_what_is_sent_is_planned_to_the_byte(some: fedasr.Run) -> None:
    columns = ["round", "clients_selected", "clients_replied", "bytes_up", "bytes_down"]
    planned = cost(load(config({"name": "scaffold"}, 2)))["table"]
    assert [{name: row[name] for name in columns} for row in planned] == some.rounds[columns].to_dict("records")
