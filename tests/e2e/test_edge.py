"""Real devices: SuperLink and SuperNodes over TLS with node authentication, strangers at the door, the same result."""

from __future__ import annotations

import http.server
import json
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fedasr
from fedasr.edge.certificates import (
    certificate_pem,
    key_pem,
    load_authority,
    make_authority,
    make_device_key,
    make_server,
)
from fedasr.edge.processes import free_port
from fedasr.edge.secrets import write_private
from fedasr.edge.server_folder import ServerFolder
from fedasr.edge.watching.server_state import server_status
from fedasr.models.weights import read_weights
from fedasr.runtime.run_folder import RunFolder
from fedasr.runtime.watched_edge_grid import EXCHANGE

from .edge_world import NAMES, WORDS, World, family, speech, tell, until, write_manifest

if not Path("/proc/self/environ").exists():
    pytest.skip("the test looks into /proc to be sure that it leaves no process behind", allow_module_level=True)

ROUNDS = 3
PUBLIC_WORDS = {"grammar": "words", "words": WORDS, "activity": "constant", "test_speakers": 1}


def config(manifest: Path, **runtime: Any) -> dict[str, Any]:
    return {
        "name": "edge",
        "seed": 1,
        "rounds": ROUNDS,
        "data": {"corpus": "manifest", "manifest": str(manifest)},
        "model": {"encoder": "lstm", "channels": [16, 24], "hidden": 32},
        "client": {"optimizer": "adamw", "learning_rate": 0.01, "batch_size": 4, "epochs": 15},
        "selection": {"clients_per_round": 3},
        "evaluate": {"decoder": "vocabulary", "vocabulary": WORDS},
        "runtime": runtime,
    }


class Town:
    """Three edge devices that train, one that was revoked, and the folder of the run."""

    def __init__(self, root: Path) -> None:
        self.world = World(root)
        self.rows = speech(root / "speech")
        self.whole = write_manifest(root / "whole.csv", [row for rows in self.rows.values() for row in rows])
        self.server = write_manifest(root / "test.csv", self.rows["test"])
        self.out = root / "run"
        self.devices: dict[str, Path] = {}

    def open(self) -> None:
        """Start the server, enrol and start the edge devices, revoke one, and submit a run."""
        world = self.world
        world.start_server()
        for name in NAMES:
            folder = self.devices[name] = world.enrol(name)
            write_manifest(folder / "manifest.csv", self.rows[name], ("path", "speaker", "text"))
            world.start_device(folder)
        self.devices["dora"] = world.enrol("dora")
        world.edge("revoke", "dora", "--home", world.home)
        deployed = config(self.server, name="deployment")
        deployed["data"]["clients"] = len(NAMES)
        self.run_id = world.submit(deployed, self.out)

    def refused(self, folder: Path) -> str:
        """Start a device that must not get in, while the run goes on, and return the one line that it ends with."""
        return self.world.edge("run-client", "--data", folder, code=2).strip().splitlines()[-1]

    def stranger(self, name: str) -> Path:
        """Return the folder of somebody who has stolen all of an edge device but its key."""
        folder = self.world.root / name
        shutil.copytree(self.devices["anna"] / "identity", folder / "identity")
        write_private(folder / "identity" / "box.key", make_device_key()[0])
        return folder


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    result = Town(tmp_path_factory.mktemp("edge"))
    try:
        result.open()
        yield result
    finally:
        left = result.world.stop()
    assert not left, f"processes are left over: {left}"


def server_says(town: Town, text: str) -> str:
    """Return the line of the server's log that holds a text, once it is there."""
    lines = town.world.log
    return str(until(lambda: [x for x in lines("server.log").splitlines() if text in x], 20, f"'{text}' in the log")[0])


# While the run goes on


@pytest.mark.slow
def test_an_unknown_key_is_refused(town: Town) -> None:
    line = town.refused(town.stranger("unknown"))
    assert line.startswith("error: ")
    assert "does not accept the key of 'anna'" in line
    assert "its key is unknown" in server_says(town, "refused: activate-node from 127.0.0.1, key SHA256:")


@pytest.mark.slow
def test_a_revoked_key_is_refused(town: Town) -> None:
    assert "does not accept the key of 'dora': it was revoked" in town.refused(town.devices["dora"])
    registry = json.loads((town.world.home / "boxes.json").read_text())
    (dora,) = [row for row in registry if row["name"] == "dora"]
    assert dora["revoked"]
    server_says(town, f"key {dora['fingerprint']}: its key is unknown, was revoked")


def test_a_wrong_authority_is_refused(town: Town) -> None:
    folder = town.stranger("misled")
    (folder / "identity" / "ca.crt").write_bytes(certificate_pem(make_authority("somebody else")[1]))
    assert "is not signed by the authority in" in town.refused(folder)
    server_says(town, "refused: a connection before it said anything: it does not trust this server's authority")


def test_plain_http_is_refused(town: Town) -> None:
    with socket.create_connection(("127.0.0.1", town.world.port), timeout=10) as plain:
        plain.sendall(b"POST /v1/fleet/activate-node HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        answered = plain.recv(100)
    assert not answered.startswith(b"HTTP")
    server_says(town, "refused: a connection before it said anything: plain HTTP, without TLS")


@pytest.mark.slow
def test_an_edge_device_refuses_a_server_without_tls(town: Town) -> None:
    plain = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=plain.serve_forever, daemon=True).start()
    try:
        assert "does not speak TLS" in town.refused(elsewhere(town, "plain", plain.server_port))
    finally:
        plain.shutdown()
        plain.server_close()


@pytest.mark.slow
def test_an_expired_certificate_is_refused(town: Town) -> None:
    world, home = town.world, town.world.root / "expired"
    authority = load_authority(world.home / "ca.key", world.home / "ca.crt")
    key, certificate = make_server(authority, ["127.0.0.1"], days=1, now=datetime.now(UTC) - timedelta(days=2))
    home.mkdir()
    write_private(home / "server.key", key_pem(key))
    (home / "server.crt").write_bytes(certificate_pem(certificate))
    port = free_port()
    # Run directly: `run-server` would not start with it.
    server = world.start(
        "expired.log",
        "fedasr.edge.superlink",
        *("--ssl-ca-certfile", world.home / "ca.crt", "--enable-supernode-auth"),
        *("--ssl-certfile", home / "server.crt", "--ssl-keyfile", home / "server.key"),
        # Its own process that starts runs would not trust it either, and it would end with that.
        *("--host", "127.0.0.1", "--port", port, "--isolation", "process"),
    )
    until(lambda: "Uvicorn running" in world.log("expired.log"), 60, "the SuperLink with the expired certificate")
    assert "its certificate has expired" in town.refused(elsewhere(town, "late", port))
    until(lambda: "to it this server's certificate has expired" in world.log("expired.log"), 10, "a line in the log")
    server.terminate()
    server.wait(20)


def elsewhere(town: Town, name: str, port: int) -> Path:
    """Return an edge device that was enrolled properly but is led to another port."""
    folder = town.stranger(name)
    settings = folder / "identity" / "box.json"
    settings.write_text(json.dumps({"name": "anna", "superlink": f"127.0.0.1:{port}"}))
    return folder


# And the run


def at_the_end(world: World, run: str, out: Path) -> fedasr.Run:
    """Wait for a run and return it; where it fails, say all that was said."""
    try:
        until(lambda: world.ended(run), 300, "the run", every=0.5)
        assert (out / "report.html").exists(), "the run has failed"
    except AssertionError as error:
        logs = [f"== {log.name}\n{log.read_text()[-3000:]}" for log in sorted(world.root.glob("*.log"))]
        said = world.flwr("log", run, "edge", "--show")
        pytest.fail("\n".join([str(error), said, *logs]))
    return fedasr.load_run(out)


@pytest.fixture(scope="module")
def done(town: Town) -> fedasr.Run:
    return at_the_end(town.world, town.run_id, town.out)


def test_the_error_rate_falls(done: fedasr.Run) -> None:
    assert done.summary["status"] == "done"
    wer = done.rounds["wer"].tolist()
    assert wer[-1] < wer[0]
    assert wer[-1] < 0.2


def test_the_weights_are_those_of_the_simulation(done: fedasr.Run, town: Town, tmp_path: Path) -> None:
    local = fedasr.run(config(town.whole, executor="serial"), out=tmp_path / "local")
    (devices, _), (simulated, _) = read_weights(done.path), read_weights(local.path)
    assert devices.keys() == simulated.keys()
    for name, array in simulated.items():
        np.testing.assert_allclose(devices[name], array, rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_table_says_what_each_edge_device_sent(done: fedasr.Run, town: Town) -> None:
    sent = done.clients
    assert sorted(map(tuple, sent[["round", "client"]].to_numpy().tolist())) == [
        (number, name) for number in range(1, ROUNDS + 1) for name in NAMES
    ]
    assert set(sent["status"]) == {"ok"}
    assert (sent["examples"] == 24).all()
    weights = sum(array.nbytes for array in read_weights(done.path)[0].values())
    assert sent["bytes_up"].between(weights, 2 * weights).all()
    assert done.rounds["bytes_up"].sum() == sent["bytes_up"].sum()
    for name in NAMES:
        counts = json.loads((town.devices[name] / "activity.json").read_text())
        assert counts["messages"]["train"] == ROUNDS
        assert counts["last_round"]["utterances"] == 24


@pytest.mark.slow
def test_the_run_can_be_watched(done: fedasr.Run, town: Town) -> None:
    """The SuperLink and the run folder together: who is there, who answered, the error rate."""
    home = town.world.home
    result = server_status(ServerFolder(home))
    states = {device["name"]: device["state"] for device in result["boxes"]}
    assert states == {**dict.fromkeys(NAMES, "online"), "dora": "revoked"}
    run = result["run"]
    assert (run["run"], run["status"], run["state"]) == (town.run_id, "finished:completed", "done")
    assert (run["folder"], run["over"], run["good"]) == (str(town.out), True, True)
    assert (run["round"], run["rounds"], run["wer"]) == (ROUNDS, ROUNDS, done.rounds["wer"].iloc[-1])
    assert {device["box"]: device["status"] for device in run["last_round"]["boxes"]} == dict.fromkeys(NAMES, "ok")
    assert run["bytes_received"] > done.clients["bytes_up"].sum()
    said = town.world.edge("status", town.run_id, "--home", home, "--watch")
    assert "the run is over: done after round 3 of 3" in said.splitlines()[-1]
    assert "has no run '5'; the newest: " in town.world.edge("status", "5", "--home", home, code=2)


def test_who_was_asked_is_written_down(done: fedasr.Run) -> None:
    said = json.loads((done.path / EXCHANGE).read_text())
    assert (said["kind"], said["round"], said["over"], said["failed"]) == ("train", ROUNDS, True, {})
    assert sorted(said["asked"]) == sorted(said["answered"]) == list(NAMES)


def test_an_edge_device_runs_none_of_the_servers_code(done: fedasr.Run, town: Town) -> None:
    """Flower brings the app to every node; the server has unpacked it, no edge device has."""
    assert list((town.world.home / "flower" / "apps").iterdir())
    for name in NAMES:
        assert not list(town.devices[name].rglob("*.py"))


@pytest.mark.slow
def test_what_is_private_is_nobody_elses(done: fedasr.Run, town: Town) -> None:
    world = town.world
    private = [world.home / "ca.key", world.home / "server.key", *world.home.glob("boxes/*/identity/box.key")]
    private += [town.devices[name] / path for name in NAMES for path in ("identity/box.key", "work/executor.secret")]
    assert len(private) == 12
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}


@pytest.mark.slow
def test_edge_devices_without_transcripts_learn_labels_of_their_own(
    done: fedasr.Run, town: Town, tmp_path: Path
) -> None:
    """From a model that knows the words; the same weights as in a simulation, where nobody reads the transcripts."""

    def unlabelled(manifest: Path, **runtime: Any) -> dict[str, Any]:
        tree = config(manifest, **runtime)
        tree |= {"name": "unlabelled", "rounds": 1, "init_from": str(done.path)}
        tree["client"] = {**tree["client"], "labels": "self", "epochs": 2}
        tree["self_labels"] = {"teacher": "global", "threshold": [0.3, 0.3], "augment": False}
        return tree

    manifests = {name: town.devices[name] / "manifest.csv" for name in NAMES}
    transcribed = {name: path.read_text() for name, path in manifests.items()}
    for name, path in manifests.items():
        write_manifest(path, town.rows[name], ("path", "speaker"))
    deployed = unlabelled(town.server, name="deployment")
    deployed["data"]["clients"] = len(NAMES)
    out = town.out.with_name("unlabelled")
    devices = at_the_end(town.world, town.world.submit(deployed, out), out)
    for name, text in transcribed.items():
        manifests[name].write_text(text)
    local = fedasr.run(unlabelled(town.whole, executor="serial"), out=tmp_path / "local")
    assert dict(devices.clients[["client", "status"]].to_numpy().tolist()) == dict.fromkeys(NAMES, "ok")
    assert devices.rounds["kept_share"].tolist() == local.rounds["kept_share"].tolist()
    assert devices.rounds["kept_share"].item() > 0.5
    assert np.isnan(devices.rounds["label_wer"]).all(), "nobody knows the truth"
    (mine, _), (theirs, _) = read_weights(devices.path), read_weights(local.path)
    for name, array in theirs.items():
        np.testing.assert_allclose(mine[name], array, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_edge_devices_as_teachers_cast_the_votes_of_the_simulation(
    done: fedasr.Run, town: Town, tmp_path: Path
) -> None:
    """The same votes as in a simulation; nobody can repeat the noise on them."""

    def aggregator(manifest: Path, **runtime: str) -> dict[str, Any]:
        tree = config(manifest, **runtime)
        del tree["selection"]
        public = {**PUBLIC_WORDS, "speakers": 4, "utterances_per_speaker": 4}
        tree |= {"name": "labels", "rounds": 1, "strategy": {"name": "pate"}}
        tree |= {"privacy": {"unit": "teacher", "delta": 1e-4, "secret_noise": True}}
        tree |= {"pate": {"scale": 0.7, "public": {"synthetic": public}}}
        return tree

    deployed = aggregator(town.server, name="deployment")
    deployed["data"]["clients"] = len(NAMES)
    out = town.out.with_name("labels")
    devices = at_the_end(town.world, town.world.submit(deployed, out), out)
    local = fedasr.run(aggregator(town.whole, executor="serial"), out=tmp_path / "local")
    table = pd.read_parquet(devices.path / "queries.parquet")
    assert len(table) == 16
    np.testing.assert_array_equal(*(np.load(run.path / "votes.npy") for run in (devices, local)))
    assert table["correct"].mean() > 0.5
    assert (devices.summary["epsilon"], devices.privacy) == (local.summary["epsilon"], local.privacy)
    for name in NAMES:
        assert len(list((town.devices[name] / "weights").glob("*.safetensors"))) == 1, (
            "an edge device keeps its teacher"
        )
    weights = {path.name for path in out.rglob("*.safetensors")}
    expected = {"model.safetensors", "state.safetensors", "speech.safetensors"}
    assert weights == expected, "the student and its checkpoint, and no teacher"


@pytest.mark.slow
def test_sums_alone_though_a_device_is_killed_in_the_middle(done: fedasr.Run, town: Town, tmp_path: Path) -> None:
    """Secure aggregation among three devices; in the second round one is killed after it has shared its secrets.

    In the second round they are sent a difference, a bit a weight.
    """
    world = town.world
    peers = world.edge_output("peers", "--home", world.home)
    assert [line.split()[2] for line in peers.splitlines()] == list(NAMES), "who was revoked is none"
    for name in NAMES:
        folder = town.devices[name]
        (folder / "peers.txt").write_text(peers)
        policy = folder / "policy.yaml"
        policy.write_text(policy.read_text().replace("least_in_sum: 3", "least_in_sum: 2"))

    def secure(manifest: Path, **runtime: Any) -> dict[str, Any]:
        tree = config(manifest, **runtime)
        tree["model"] = {**tree["model"], "alphabet": "latin"}
        tree["client"]["epochs"] = 2
        tree["secure_aggregation"] = {"mode": "protocol", "threshold": 2, "least_clients": 2}
        tree["compression"] = {"down": "eden"}
        return {**tree, "name": "sums", "rounds": 2}

    deployed = secure(town.server, name="deployment")
    deployed["data"]["clients"] = len(NAMES)
    out = town.out.with_name("sums")
    run = world.submit(deployed, out)
    rounds = RunFolder(out)
    until(lambda: len(list(rounds.rows("rounds"))) == 1, 300, "the first round")
    until(lambda: world.at_work("ben"), 120, "ben to train in the second")
    tell(family(world.devices["ben"]), signal.SIGKILL)
    world.start_device(town.devices["ben"])  # it tells the server at once that its message is lost
    result = at_the_end(world, run, out)
    rows = {(row["round"], row["client"]): row["status"] for row in result.clients.to_dict("records")}
    assert rows == {(number, name): "ok" for number in (1, 2) for name in NAMES} | {(2, "ben"): "failed"}
    assert result.rounds["clients_replied"].tolist() == [3, 2]
    down = result.clients.groupby("round")["bytes_down"].max()
    assert down[2] < down[1] - 3 * sum(array.size for array in read_weights(out)[0].values())
    assert np.isnan(result.clients["train_loss"]).all(), "the server learns no single one"
    assert result.rounds["train_loss"].notna().all(), "but their sum"
    local = fedasr.run({**secure(town.whole, executor="serial"), "rounds": 1}, out=tmp_path / "local")
    (mine,), (theirs,) = (list(part.rounds["loss"])[:1] for part in (result, local))
    assert mine == pytest.approx(theirs, rel=1e-5)


@pytest.mark.slow
def test_an_edge_device_that_is_revoked_ends(done: fedasr.Run, town: Town) -> None:
    world = town.world
    device = world.devices["cleo"]
    world.edge("revoke", "cleo", "--home", world.home)
    try:
        assert device.wait(120) == 2
    except subprocess.TimeoutExpired:
        pytest.fail(world.log("device cleo.log")[-2000:])
    assert "does not accept the key of 'cleo': it was revoked" in world.log("device cleo.log").splitlines()[-1]
