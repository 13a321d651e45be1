"""A device: the same client as in the simulation, which reads what its own configuration names and forgets nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Error, Message, RecordDict

import fedasr
from fedasr.clients.client_app import flower_app
from fedasr.clients.edge.app import UNTOLD
from fedasr.clients.edge.edge_device import EdgeDevice, find_edge_device
from fedasr.config import load
from fedasr.config.loading import PATE_PATHS
from fedasr.errors import InputError, RunFailed
from fedasr.experiment import Experiment, as_json
from fedasr.flower.messages import RUN_ID, assume_identity
from fedasr.flower.records import array_record, arrays_of, values_of
from fedasr.models.weights import read_weights
from fedasr.protocol import Code, Record
from fedasr.runtime.edge_grid import EdgeGrid
from fedasr.runtime.session import Silent

from .edge_devices import FREE, NAMES, Lasting, SuperLink, Town, manifest, record


class Notes(Silent):
    """Keeps what a person would have been told, and does something after rounds."""

    def __init__(self, after: Mapping[int, Any] | None = None) -> None:
        self.notes: list[str] = []
        self.after = after or {}

    def note(self, text: str) -> None:
        self.notes.append(text)

    def round(self, row: Mapping[str, Any]) -> None:
        if row["round"] in self.after:
            self.after[row["round"]]()


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path / "town")


def simulated(town: Town, out: Path, **changes: Any) -> fedasr.Run:
    return fedasr.run(town.config(town.whole, **changes), out=out)


@pytest.mark.thorough
@pytest.mark.parametrize("compression", [{}, {"up": "top-k", "down": "eden"}])
def test_edge_devices_give_the_bits_of_the_simulation_of_the_same_clients(
    compression: dict[str, str], town: Town, tmp_path: Path
) -> None:
    """With codecs they keep what they have not sent, and the model that differences are added to."""
    changes = {"selection__clients_per_round": 2, "selection__name": "activity", "rounds": 3}
    changes |= {"compression": compression} if compression else {}
    edge_devices = fedasr.load_run(town.run(tmp_path / "boxes", grid=Lasting(town.folders), **changes))
    local = simulated(town, tmp_path / "local", **changes)
    assert edge_devices.summary["model_sha256"] == local.summary["model_sha256"]
    columns = ["round", "client", "probability", "examples", "audio_seconds", "train_loss", "status", "bytes_up"]
    # Edge devices answer in an order of their own.
    mine, theirs = (
        r.clients.sort_values(["round", "client"])[columns].to_numpy().tolist() for r in (edge_devices, local)
    )
    assert mine == theirs


@pytest.mark.slow
def test_loss_queries_and_evaluation_on_edge_devices_are_those_of_the_simulation(town: Town, tmp_path: Path) -> None:
    changes = {"selection__name": "power-of-choice", "selection__clients_per_round": 1, "evaluate__client_side": 1}
    edge_devices = fedasr.load_run(town.run(tmp_path / "boxes", **changes))
    local = simulated(town, tmp_path / "local", **changes)
    assert edge_devices.summary["model_sha256"] == local.summary["model_sha256"]
    assert edge_devices.rounds["client_wer"].tolist() == local.rounds["client_wer"].tolist()


USERS = {
    "privacy__unit": "user",
    "privacy__noise_at": "device",
    "privacy__noise_multiplier": 1.0,
    "privacy__secret_noise": True,
    "strategy__weighting": "uniform",
}


@pytest.mark.slow
def test_noise_on_edge_devices_costs_what_it_costs_in_the_simulation(town: Town, tmp_path: Path) -> None:
    edge_devices = fedasr.load_run(town.run(tmp_path / "boxes", **USERS))
    local = simulated(town, tmp_path / "local", **USERS)
    assert edge_devices.privacy == local.privacy
    assert edge_devices.summary["model_sha256"] != local.summary["model_sha256"]


@pytest.mark.parametrize(
    "changes",
    [
        {"privacy__unit": "user", "privacy__noise_at": "device", "strategy__weighting": "uniform"},
        {"privacy__unit": "example", "client__optimizer": "sgd"},
        {"strategy__name": "pate", "pate__noise_at": "teachers", "privacy__unit": "teacher"},
    ],
    ids=["device", "example", "teachers"],
)
def test_an_edge_device_draws_no_noise_from_a_seed_that_the_server_knows(changes: dict[str, Any], town: Town) -> None:
    """Whatever the server's own check says: what it sends is read by the edge device."""
    if "strategy__name" not in changes:
        changes = {**changes, "privacy__noise_multiplier": 1.0}
    town.allow(**FREE)
    edge_device = EdgeDevice("anna", town.folders["anna"], town.folders["anna"] / "manifest.csv")
    with pytest.raises(InputError, match=r"policy refuses: privacy\.secret_noise is false; allowed is true"):
        edge_device.config(json.dumps(town.config(town.server, **changes)))
    edge_device.config(json.dumps(town.config(town.server, privacy__secret_noise=True, **changes)))


@pytest.mark.parametrize("told", ["${oc.env:HOME}", "chars:${data.manifest}"])
def test_an_edge_device_resolves_nothing_for_the_server(told: str, town: Town) -> None:
    edge_device = EdgeDevice("anna", town.folders["anna"], town.folders["anna"] / "manifest.csv")
    with pytest.raises(InputError, match="interpolation"):
        edge_device.config(json.dumps(town.config(town.server, model__alphabet=told)))


def test_an_edge_device_freezes_nothing_of_a_model_that_it_does_not_hold(town: Town) -> None:
    edge_device = EdgeDevice("anna", town.folders["anna"], town.folders["anna"] / "manifest.csv")
    with pytest.raises(InputError, match=r"'model\.frozen' is set, and an edge device does not hold the initial model"):
        edge_device.config(json.dumps(town.config(town.server, model__frozen=["head.*"])))


@pytest.mark.slow
def test_new_recordings_are_in_the_next_round(town: Town, tmp_path: Path) -> None:
    ben = town.folders["ben"]

    def speak() -> None:
        manifest(ben / "manifest.csv", record(ben, range(10), 1), ("path", "speaker", "text"))

    result = fedasr.load_run(town.run(tmp_path / "out", Notes({1: speak}))).clients
    assert result[result["client"] == "ben"]["examples"].tolist() == [4, 10]
    assert result[result["client"] == "anna"]["examples"].tolist() == [3, 3]


@pytest.mark.slow
def test_an_edge_device_that_is_away_is_not_selected_and_comes_back(town: Town, tmp_path: Path) -> None:
    grid = SuperLink(town.folders)
    grid.away.add("anna")
    watcher = Notes({1: grid.away.clear, 2: lambda: grid.away.add("cleo")})
    result = fedasr.load_run(town.run(tmp_path / "out", watcher, grid, rounds=3)).clients
    by_round = [set(result[result["round"] == number]["client"]) for number in (1, 2, 3)]
    assert by_round == [{"ben", "cleo"}, {"anna", "ben", "cleo"}, {"anna", "ben"}]


@pytest.mark.thorough
def test_a_run_ends_where_no_edge_device_comes(town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = SuperLink(town.folders)
    grid.away.update(NAMES)
    monkeypatch.setattr("fedasr.strategies.edge_devices.LOOK_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(EdgeGrid, "timeout_s", property(lambda self: 0.2, lambda self, value: None), raising=False)
    with pytest.raises(RunFailed, match=r"round 1: for 0 s no edge device with speech was connected"):
        town.run(tmp_path / "out", grid=grid)


@pytest.mark.slow
def test_one_broken_edge_device_costs_one_edge_device(
    town: Town, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (town.folders["ben"] / "manifest.csv").write_text("path,speaker\n")
    watcher = Notes()
    result = fedasr.load_run(town.run(tmp_path / "out", watcher)).clients
    assert set(result["client"]) == {"anna", "cleo"}
    told = [note for note in watcher.notes if "ben" in note]
    assert told == [f"edge device ben: it does not say what it holds: {UNTOLD}"]
    assert "misses the column 'text'" in capfd.readouterr().err  # in the edge device's own log


@pytest.mark.slow
def test_a_damaged_recording_is_left_out(town: Town, tmp_path: Path) -> None:
    (town.folders["cleo"] / "0.wav").write_bytes(b"no audio")
    result = fedasr.load_run(town.run(tmp_path / "out")).clients
    assert result[result["client"] == "cleo"]["examples"].tolist() == [4, 4]


@pytest.mark.slow
def test_rows_of_another_split_stay_out(town: Town, tmp_path: Path) -> None:
    anna = town.folders["anna"]
    rows = [{**row, "split": "train" if number else "mine"} for number, row in enumerate(record(anna, range(3), 0))]
    manifest(anna / "manifest.csv", rows, ("path", "speaker", "text", "split"))
    result = fedasr.load_run(town.run(tmp_path / "out")).clients
    assert result[result["client"] == "anna"]["examples"].tolist() == [2, 2]


def test_no_path_and_no_code_of_the_server_reaches_an_edge_device(town: Town) -> None:
    config = town.config(
        Path("/secret/manifest.csv"),
        init_from="/secret/run",
        data__root="/secret/root",
        data__corpus="os:getcwd",
        data__where={"speaker": "secret"},
        data__partition__name="os:secret",
        data__cache__directory="/secret/cache",
        data__train_split="secret",
        devices__clock=True,
        devices__availability="trace",
        devices__trace="/secret/trace",
        evaluate__by=["secret"],
        pate__public__corpus="os:secret",
        runtime__device="cuda",
        **{path.replace(".", "__"): "/secret/pate" for path in PATE_PATHS},
    )
    edge_device = EdgeDevice("anna", town.folders["anna"], town.folders["anna"] / "manifest.csv")
    result = json.loads(edge_device.config(json.dumps(config)))
    assert "secret" not in json.dumps(result)
    assert result["data"]["manifest"] == str(edge_device.manifest)
    assert result["data"]["cache"]["directory"] == str(edge_device.data / "features")
    assert result["runtime"] == {"device": "auto"}
    load(result)


@pytest.mark.parametrize("sent", ["", "[]", "3", '{"data": 3}', "{" * 100_000])
def test_what_is_no_config_is_refused_in_a_line(town: Town, sent: str) -> None:
    edge_device = EdgeDevice("anna", town.folders["anna"], town.folders["anna"] / "manifest.csv")
    with pytest.raises(InputError, match="message: the server sent no config"):
        edge_device.config(sent)


def context(town: Town, name: str) -> Context:
    return Context(RUN_ID, 5, {"name": name, "data": str(town.folders[name])}, RecordDict(), {})


def question(town: Town, **address: Any) -> Message:
    assume_identity()
    config = as_json(load(town.config(town.server, runtime__name="deployment")))
    content = RecordDict({"config": ConfigRecord({"round": 1, "experiment": config})})
    if address:
        content[Record.ADDRESS] = ConfigRecord(address)
    return Message(content, 5, "query.describe")


@pytest.mark.thorough
def test_an_edge_device_says_what_it_holds(town: Town) -> None:
    reply = flower_app(question(town, client=1, name="ben"), context(town, "ben"))
    assert values_of(reply, "node") == {"utterances": 4, "seconds": 2.0, "fedasr": fedasr.__version__}
    counts = json.loads((town.folders["ben"] / "activity.json").read_text())
    assert counts["messages"] == {"query.describe": 1}


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ({"client": 1, "name": "anna"}, "calls this edge device 'anna', but it was enrolled as 'ben'"),
        ({}, "set runtime.name=deployment"),
    ],
)
def test_a_message_for_somebody_else_is_refused(
    town: Town, address: dict[str, Any], says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    reply = flower_app(question(town, **address), context(town, "ben"))
    assert reply.error.reason == UNTOLD
    assert says in capfd.readouterr().err


def test_an_edge_device_needs_a_folder() -> None:
    with pytest.raises(InputError, match="has 'manifest' but no 'data'"):
        find_edge_device(Context(RUN_ID, 5, {"manifest": "a.csv"}, RecordDict(), {}))


class Boasting(SuperLink):
    """One edge device says that it holds far more than the others, and sends weights of its own."""

    claims = 10**6

    def replies(self, messages: list[Message], *more: Any, **others: Any) -> Iterator[Message]:
        for message, reply in zip(messages, super().replies(messages, *more, **others), strict=True):
            kind = message.metadata.message_type
            if self.edge_devices[message.metadata.dst_node_id] == "ben":
                if kind == "query.describe":
                    held = {"utterances": self.claims, "seconds": 2.0 * self.claims, "fedasr": "1\x1b[2J\n"}
                    reply.content["node"] = ConfigRecord(held)
                elif kind == "train":
                    sent = {"num-examples": self.claims, "audio-milliseconds": 2000 * self.claims}
                    reply.content["metrics"].update(sent)
                    arrays = arrays_of(message)
                    reply.content["arrays"] = array_record({n: a * 0 + np.float32(0.5) for n, a in arrays.items()})
            yield reply


@pytest.mark.slow
def test_an_edge_device_that_boasts_does_not_own_the_model(town: Town, tmp_path: Path) -> None:
    watcher = Notes()
    result = fedasr.load_run(town.run(tmp_path / "out", watcher, grid=Boasting(town.folders), rounds=1))
    assert set(result.clients["status"]) == {"ok"}
    (mine, _) = read_weights(result.path)
    start = Experiment(load(town.config(town.server))).first_weights()
    moved = {name: (array - start[name]).ravel() for name, array in mine.items()}
    wanted = {name: (0.5 - start[name]).ravel() for name in mine}
    whole = np.concatenate(list(wanted.values()))
    share = np.concatenate(list(moved.values())) @ whole / (whole @ whole)
    assert 0.3 < share < 0.6  # 8 of 16 utterances; it was 1.0
    assert all("\x1b" not in note and "\n" not in note for note in watcher.notes)


@pytest.mark.slow
def test_an_edge_device_that_claims_what_cannot_be_is_left_out(town: Town, tmp_path: Path) -> None:
    grid = Boasting(town.folders)
    grid.claims = 10**8
    watcher = Notes()
    result = fedasr.load_run(town.run(tmp_path / "out", watcher, grid=grid, rounds=1))
    assert set(result.clients["client"]) == {"anna", "cleo"}
    assert "edge device ben: it does not say what it holds: what it says of that cannot be" in watcher.notes


class Hostile(SuperLink):
    """One edge device says that its input is wrong, which would stop a simulation."""

    def replies(self, messages: list[Message], *more: Any, **others: Any) -> Iterator[Message]:
        for message, reply in zip(messages, super().replies(messages, *more, **others), strict=True):
            hostile = (
                message.metadata.message_type == "train" and self.edge_devices[message.metadata.dst_node_id] == "ben"
            )
            yield Message(Error(Code.BAD_INPUT, "stop"), reply_to=message) if hostile else reply


@pytest.mark.slow
def test_an_edge_device_cannot_stop_a_run(town: Town, tmp_path: Path) -> None:
    result = fedasr.load_run(town.run(tmp_path / "out", grid=Hostile(town.folders)))
    assert result.summary["status"] == "done"
    assert set(result.clients[result.clients["client"] == "ben"]["status"]) == {"failed"}


PRIVATE = {
    "privacy__unit": "example",
    "privacy__noise_multiplier": 1.1,
    "privacy__secret_noise": True,
    "client__optimizer": "sgd",
    "selection__clients_per_round": 3,
}


@pytest.mark.slow
def test_the_account_of_an_edge_device_outlives_its_process(town: Town, tmp_path: Path) -> None:
    edge_devices = fedasr.load_run(town.run(tmp_path / "boxes", **PRIVATE))
    local = simulated(town, tmp_path / "local", **PRIVATE)
    assert edge_devices.summary["epsilon"] == local.summary["epsilon"]
    account = town.folders["anna"] / "account.json"
    assert account.stat().st_mode & 0o777 == 0o600
    (turns,) = json.loads(account.read_text())["runs"].values()
    assert turns["rounds"] == 2


@pytest.mark.slow
def test_another_run_adds_to_the_account(town: Town, tmp_path: Path) -> None:
    once = fedasr.load_run(town.run(tmp_path / "first", **PRIVATE))
    twice = fedasr.load_run(town.run(tmp_path / "second", seed=1, **PRIVATE))
    assert twice.summary["epsilon"] > 1.2 * once.summary["epsilon"]
    assert len(json.loads((town.folders["anna"] / "account.json").read_text())["runs"]) == 2


@pytest.mark.slow
def test_nothing_private_is_done_with_a_damaged_account(
    town: Town, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (town.folders["anna"] / "account.json").write_text("{")
    result = fedasr.load_run(town.run(tmp_path / "out", **PRIVATE)).clients
    assert set(result[result["client"] == "anna"]["status"]) == {"failed"}
    assert "restore it from a copy" in capfd.readouterr().err


@pytest.mark.slow
def test_teachers_on_edge_devices_vote_as_in_the_simulation(town: Town, tmp_path: Path) -> None:
    changes = {
        "strategy__name": "pate",
        "privacy__unit": "teacher",
        "privacy__secret_noise": True,
        "pate__scale": 1.0,
        "pate__public__synthetic__grammar": "words",
        "pate__public__synthetic__words": ["one", "two"],
        "pate__public__synthetic__speakers": 2,
        "pate__public__synthetic__utterances_per_speaker": 2,
    }
    edge_devices = fedasr.load_run(town.run(tmp_path / "boxes", **changes))
    local = simulated(town, tmp_path / "local", **changes)
    mine, theirs = (np.load(run.path / "votes.npy") for run in (edge_devices, local))
    np.testing.assert_array_equal(mine, theirs)
    assert len(list((town.folders["anna"] / "weights").iterdir())) == 1
