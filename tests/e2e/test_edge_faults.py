"""Faults of real edge devices and of their server, each brought about for real while a private run goes on."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedasr
from benchmarks.soak import check, soak
from fedasr.edge.certificates import certificate_pem, make_authority
from fedasr.edge.handshake import Unreachable, knock
from fedasr.models.weights import read_weights
from fedasr.privacy.ledger import Ledger
from fedasr.runtime import checkpoint
from fedasr.runtime.run_folder import RunFolder

from .edge_world import (
    NAMES,
    WORDS,
    Relay,
    World,
    command_line,
    family,
    living,
    speech,
    tell,
    until,
    write_manifest,
)
from .manners import answering

if not Path("/proc/self/environ").exists():
    pytest.skip("the test looks into /proc to be sure that it leaves no process behind", allow_module_level=True)

pytestmark = pytest.mark.slow  # a server and five edge devices, some ten minutes

DEADLINE_S = 45.0
"""Long for a sound device on a busy machine: those that fail are to be the ones that the tests have broken. After a
minute without a heartbeat an edge device counts as not connected, and is waited for no longer."""
SHORT_S = 25.0
"""Long for the only sound device."""
PATIENCE_S = 240.0
"""How long something may take that comes after a round or two."""
COLUMNS = ("path", "speaker", "text")
DISK = "4m"


def config(manifest: Path, clients: int, **changes: Any) -> dict[str, Any]:
    """Return a small config; keyword arguments are sections."""
    return {
        "name": "faults",
        "seed": 1,
        "rounds": 500,  # more than the tests wait for: the run is stopped
        "data": {"corpus": "manifest", "manifest": str(manifest), "clients": clients},
        "model": {"encoder": "lstm", "channels": [8, 8], "hidden": 8},
        "client": {"optimizer": "sgd", "learning_rate": 0.1, "batch_size": 4, "steps": 6},
        "selection": {"clients_per_round": clients},
        "strategy": {"max_failed_share": 0.9},
        "evaluate": {"every": 0},
        "runtime": {"name": "deployment", "reply_timeout_s": DEADLINE_S},
        **changes,
    }


PRIVATE = {"privacy": {"unit": "example", "noise_multiplier": 1.0, "secret_noise": True}}


class Town:
    """Five edge devices: dora is reached by a line that can be cut, eve has no speech; and a private run that goes on.

    Args:
        root: an empty folder.
    """

    def __init__(self, root: Path) -> None:
        self.world = World(root)
        self.rows = speech(root / "speech")
        self.test = write_manifest(root / "test.csv", self.rows["test"])
        self.folder = RunFolder(root / "run")
        self.devices: dict[str, Path] = {}
        self.line = Relay(self.world.port)
        self.disk: Path | None = None

    def open(self) -> None:
        """Start the server and the edge devices, and submit the run."""
        world = self.world
        self.server = world.start_server()
        for name in (*NAMES, "dora", "eve"):
            folder = self.devices[name] = world.enrol(name)
            if name == "ben":
                self.disk = small_disk(folder)
            if name == "dora":
                settings = folder / "identity" / "box.json"
                known = json.loads(settings.read_text())
                settings.write_text(json.dumps({**known, "superlink": f"127.0.0.1:{self.line.port}"}))
            if name != "eve":
                write_manifest(folder / "manifest.csv", self.rows.get(name, self.rows["anna"]), COLUMNS)
            world.start_device(folder)
        self.config = config(self.test, len(self.devices), **PRIVATE)
        self.run = world.submit(self.config, self.folder.path)

    def log(self, name: str) -> str:
        """Return the log of an edge device."""
        return self.world.log(f"device {name}.log")

    def table(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of a table of the run, so far."""
        return list(self.folder.rows(name))

    def last_round(self) -> int:
        """Return the last round that has ended."""
        return max((row["round"] for row in self.table("clients")), default=0)

    def row(self, name: str, number: int) -> dict[str, Any]:
        """Return what became of an edge device in a round."""
        (result,) = [row for row in self.table("clients") if (row["client"], row["round"]) == (name, number)]
        return result

    def takes_part(self, name: str, after: int) -> dict[str, Any]:
        """Wait until an edge device has been in a round after another one, and return its row."""
        ended = f"{name} to be in a round after {after}"

        def found() -> dict[str, Any] | None:
            rows = [row for row in self.table("clients") if row["client"] == name and row["round"] > after]
            return next((row for row in rows if row["status"] == "ok"), None)

        try:
            row: dict[str, Any] = until(found, PATIENCE_S, ended)
        except AssertionError as error:
            said = [
                f"== {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in self.world.root.glob("*.log")
            ]
            pytest.fail("\n".join([str(error), *said, *map(str, self.table("clients")[-12:])]))
        return row

    def replies(self, name: str) -> int:
        """Return how many updates the server has had of an edge device."""
        return sum(row["status"] == "ok" for row in self.table("clients") if row["client"] == name)

    def in_training(self, name: str) -> tuple[int, list[int]]:
        """Wait until an edge device trains; return the round and the process that does it."""
        worker = until(lambda: self.world.at_work(name), PATIENCE_S, f"{name} to train")
        return self.last_round() + 1, worker

    def ended(self, number: int) -> None:
        """Wait until a round has ended."""
        until(lambda: self.last_round() >= number, PATIENCE_S, f"the end of round {number}")

    def leave_alone(self, name: str) -> None:
        """Stop all edge devices but one."""
        for process in self.world.devices.values():
            process.send_signal(signal.SIGTERM)
        for process in self.world.devices.values():
            process.wait(PATIENCE_S)
        self.world.start_device(self.devices[name])

    def parts(self) -> list[Path]:
        """Return the half-written files of all edge devices."""
        return [path for folder in self.devices.values() for path in folder.rglob("*.part")]

    def account(self, name: str) -> int:
        """Return how many updates an edge device's account holds."""
        return sum(
            turns["rounds"] for turns in json.loads((self.devices[name] / "account.json").read_text())["runs"].values()
        )


def small_disk(folder: Path) -> Path | None:
    """Put a folder onto a small disk of its own; return the folder, or None where that is not allowed."""
    spare = folder.with_name(f"{folder.name} spare")
    shutil.copytree(folder, spare)
    arguments = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "tmpfs", str(folder)]
    done = subprocess.run(arguments, capture_output=True, check=False) if shutil.which("mount") else None
    if done is None or done.returncode:
        return None
    shutil.copytree(spare, folder, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    result = Town(tmp_path_factory.mktemp("faults"))
    try:
        result.open()
        yield result
    finally:
        tell(living("FEDASR_EDGE_TEST", result.world.root), signal.SIGCONT)
        left = result.world.stop()
        if result.disk is not None:
            subprocess.run(["umount", str(result.disk)], check=True)
    assert not left, f"processes are left over: {left}"


@pytest.fixture(scope="module")
def silence(town: Town) -> int:
    """A round in whose training one device is frozen and the line of another is cut; both are mended after it."""
    town.takes_part("dora", 0)
    town.takes_part("anna", 0)
    number, _ = town.in_training("anna")
    frozen = family(town.world.devices["anna"])
    tell(frozen, signal.SIGSTOP)
    town.line.close()
    try:
        town.ended(number)
    finally:
        tell(frozen, signal.SIGCONT)
        town.line.mend()
    return number


def test_a_round_ends_at_its_deadline_with_the_replies_it_has(town: Town, silence: int) -> None:
    # Whichever comes first: the deadline, or the minute without a sign of life.
    silent = (f"no reply within {DEADLINE_S:g} s", "the edge device lost its connection, or was started anew")
    for name in ("anna", "dora"):
        row = town.row(name, silence)
        assert row["status"] == "failed"
        assert row["reason"] in silent
    assert town.row("cleo", silence)["status"] == "ok"
    (result,) = [row for row in town.table("rounds") if row["round"] == silence]
    assert result["clients_replied"] == result["clients_selected"] - result["clients_failed"]
    assert result["wall_seconds"] < 3 * DEADLINE_S


def test_a_late_reply_is_nobodys_and_the_edge_device_takes_part_again(town: Town, silence: int) -> None:
    town.takes_part("anna", silence)
    assert town.row("anna", silence)["status"] == "failed"
    assert town.account("anna") >= town.replies("anna")


def test_an_edge_device_whose_line_was_cut_comes_back_by_itself(town: Town, silence: int) -> None:
    assert town.row("dora", silence)["status"] == "failed"
    town.takes_part("dora", silence)
    assert town.world.devices["dora"].poll() is None


@pytest.fixture(scope="module")
def kills(town: Town) -> dict[str, int]:
    """Each device's round in which something of it was killed while it trained: one after the other, at once.

    Of cleo the device itself, of anna the process that answers the message, of dora the executor.
    """
    waiting = {"cleo": kill_device, "anna": kill_answer, "dora": kill_executor}
    rounds: dict[str, int] = {}
    for name in waiting:
        town.takes_part(name, 0)
    while waiting:
        name, worker = until(lambda: caught(town, waiting), PATIENCE_S, f"{list(waiting)} to train")
        rounds[name] = town.last_round() + 1
        waiting.pop(name)(town, name, worker)
    return rounds


def caught(town: Town, names: Iterable[str]) -> tuple[str, list[int]] | None:
    """Return an edge device that trains, and the process that does it; None while none of them does."""
    found = ((name, town.world.at_work(name)) for name in names)
    return next(((name, worker) for name, worker in found if worker), None)


def kill_device(town: Town, name: str, worker: list[int]) -> None:
    """Kill an edge device and start it again."""
    device = town.world.devices[name]
    orphans = family(device)[1:]
    tell([device.pid], signal.SIGKILL)
    assert set(worker) < set(orphans)
    until(lambda: not [pid for pid in orphans if alive(pid)], 10, "what the edge device has started to end with it")
    town.world.start_device(town.devices[name])


def kill_answer(town: Town, name: str, worker: list[int]) -> None:
    """Kill the process that answers a message."""
    tell(worker, signal.SIGKILL)


def kill_executor(town: Town, name: str, worker: list[int]) -> None:
    """Kill the executor of an edge device, which then ends, and start it again."""
    device = town.world.devices[name]
    tell([parent(worker[0])], signal.SIGKILL)
    assert device.wait(PATIENCE_S) == 1
    assert town.log(name).splitlines()[-1].startswith("failed: the edge device's executor ended with status -9")
    town.world.start_device(town.devices[name])


def alive(pid: int) -> bool:
    """Say whether a process lives; one that nobody has waited for does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_an_edge_device_that_is_killed_in_training_is_in_a_later_round(town: Town, kills: dict[str, int]) -> None:
    number = kills["cleo"]
    town.ended(number)
    row = town.row("cleo", number)
    assert (row["status"], row["reason"]) == ("failed", "the edge device lost its connection, or was started anew")
    town.takes_part("cleo", number)
    assert not town.parts()
    assert town.account("cleo") >= town.replies("cleo")


def test_a_message_whose_process_is_killed_costs_one_reply(town: Town, kills: dict[str, int]) -> None:
    number = kills["anna"]
    town.ended(number)
    assert town.row("anna", number)["status"] == "failed"
    assert "a message was not answered: its process was killed; does the edge device have enough memory?" in town.log(
        "anna"
    )
    town.takes_part("anna", number)
    assert town.world.devices["anna"].poll() is None


def test_an_edge_device_whose_executor_is_killed_can_be_started_again(town: Town, kills: dict[str, int]) -> None:
    number = kills["dora"]
    town.ended(number)
    assert town.row("dora", number)["status"] == "failed"
    town.takes_part("dora", number)


def parent(pid: int) -> int:
    """Return the parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_an_edge_device_runs_once(town: Town) -> None:
    said = town.world.edge("run-client", "--data", town.devices["anna"], code=2)
    assert "runs already on this machine" in said.splitlines()[-1]


def test_a_full_disk_fails_the_message_and_loses_nothing(town: Town) -> None:
    if town.disk is None:
        pytest.skip("a small disk cannot be mounted here; it takes root")
    town.takes_part("ben", 0)
    account, filler = town.disk / "account.json", town.disk / "filler"
    number, _ = town.in_training("anna")

    def failed() -> dict[str, Any] | None:
        fill(filler)  # again and again: what is deleted meanwhile, such as a journal of the cache, makes room
        rows = [row for row in town.table("clients") if row["client"] == "ben" and row["round"] >= number]
        return next((row for row in rows if row["status"] == "failed"), None)

    row = until(failed, PATIENCE_S, "ben to fail")
    assert row["reason"] == "the edge device could not do it; its own log says why"
    assert f"train: {account}: cannot be written: No space left on device" in town.log("ben").splitlines()
    assert town.account("ben") >= town.replies("ben")
    assert not town.parts()
    filler.unlink()
    again = town.takes_part("ben", row["round"])
    assert town.account("ben") >= town.replies("ben")
    assert again["reason"] is None


def fill(path: Path) -> None:
    """Let a file take what is left of its disk."""
    with suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(1 << 12))


def test_an_edge_device_without_usable_speech_waits_until_it_has_some(town: Town) -> None:
    """No manifest, an empty one, only damaged recordings; then sound ones and a damaged one among them."""
    eve = town.devices["eve"]
    line = "query.describe: "
    until(lambda: f"{line}{eve / 'manifest.csv'}: " in town.log("eve"), PATIENCE_S, "a line about the manifest")
    manifest = eve / "manifest.csv"
    write_manifest(manifest, [], COLUMNS)
    until(lambda: said(town, "manifest.csv: has no rows"), PATIENCE_S, "a line about the empty manifest")
    broken = eve / "broken.flac"
    broken.write_bytes(b"no audio")
    damaged = {"path": str(broken), "speaker": "eve", "text": WORDS[0]}
    write_manifest(manifest, [damaged], COLUMNS)
    until(lambda: said(town, "none of the 1 utterances"), PATIENCE_S, "a line about the damaged recording")
    assert not [row for row in town.table("clients") if row["client"] == "eve"]
    write_manifest(manifest, [*town.rows["anna"], damaged], COLUMNS)
    row = town.takes_part("eve", 0)
    assert row["examples"] == len(town.rows["anna"])


def said(town: Town, text: str) -> bool:
    """Say whether eve's log has a text in a line about what she holds."""
    return any(text in line for line in town.log("eve").splitlines() if line.startswith("query.describe: "))


def test_a_server_that_is_killed_in_a_round_goes_on_with_resume(town: Town) -> None:
    """The devices come back by themselves; of the round that was lost, updates may have left: their accounts say so."""
    number, _ = town.in_training("anna")
    kill_superlink(town)
    town.server = town.world.start_server()
    before = {name: town.account(name) for name in NAMES}
    town.run = town.world.submit(town.config, town.folder.path, resume=True)
    for name in (*NAMES, "dora"):
        town.takes_part(name, number - 1)
        assert town.world.devices[name].poll() is None
    assert all(town.account(name) > before[name] for name in NAMES)
    town.ended(number + 1)


def kill_superlink(town: Town) -> None:
    """Kill the SuperLink and wait until all that belongs to it has ended."""
    everything = family(town.server)
    superlinks = [pid for pid in everything if "fedasr.edge.superlink" in command_line(pid)]
    tell(superlinks[:1], signal.SIGKILL)
    assert town.server.wait(PATIENCE_S) == 1
    assert "failed: the SuperLink ended with status -9" in town.world.log("server.log").splitlines()[-1]
    until(lambda: not any(map(alive, everything)), PATIENCE_S, "the apps of the SuperLink to end with it")


def test_every_round_is_accounted_for(town: Town) -> None:
    """The last one: it stops the run."""
    town.world.flwr("stop", town.run, "edge")
    until(lambda: not town.world.runs(town.run), PATIENCE_S, "the run to stop")
    rows = town.table("clients")
    assert [row["round"] for row in town.table("rounds")] == list(range(1, town.last_round() + 1))
    pairs = [(row["round"], row["client"]) for row in rows]
    assert len(set(pairs)) == len(pairs)
    assert all((row["status"] == "ok") == (row["reason"] is None) for row in rows)
    result = checkpoint.load(town.folder.checkpoint)
    assert result is not None
    assert result.round == town.last_round()
    told = dict(zip(sorted(town.devices), range(len(town.devices)), strict=True))
    for name in (*NAMES, "dora"):
        assert town.account(name) >= town.replies(name)
        assert spent(town.devices[name] / "account.json") >= result.facts["privacy"]["epsilons"][str(told[name])]


def spent(account: Path) -> float:
    """Return the ε of an edge device's account."""
    ledger = Ledger("rdp")
    ledger.load_state_dict(json.loads(account.read_text())["ledger"])
    return ledger.epsilon(1e-5, "example", "server")


CENTRAL = {
    "rounds": 4,
    "privacy": {"unit": "user", "noise_multiplier": 1.0, "clip_norm": 0.1, "secret_noise": True},
    "selection": {"name": "poisson", "clients_per_round": 2},
    "strategy": {"weighting": "uniform", "max_failed_share": 0.9},
    # Devices call again after 20 seconds, and have old messages to answer first.
    "runtime": {"name": "deployment", "reply_timeout_s": 3 * DEADLINE_S},
}


def test_a_private_run_whose_server_was_killed_ends_as_if_it_had_not_been(town: Town, tmp_path: Path) -> None:
    """Central privacy, Poisson sampling, secret noise: the ledger of the simulation of the same clients."""
    world = town.world
    for name in ("dora", "eve"):
        world.devices[name].send_signal(signal.SIGTERM)
        world.devices[name].wait(PATIENCE_S)
    wanted = config(town.test, len(NAMES), **CENTRAL)
    out = tmp_path / "central"
    run = world.submit(wanted, out)
    until(lambda: len(list(RunFolder(out).rows("rounds"))) >= 1, PATIENCE_S, "the first round")
    until(lambda: any(world.at_work(name) for name in NAMES), PATIENCE_S, "somebody to train")
    kill_superlink(town)
    town.server = world.start_server()
    run = world.submit(wanted, out, resume=True)
    until(lambda: world.ended(run), 2 * PATIENCE_S, "the run")
    devices = fedasr.load_run(out)
    assert devices.summary["status"] == "done"
    whole = [row for name in (*NAMES, "test") for row in town.rows[name]]
    local = {**wanted, "data": {"corpus": "manifest", "manifest": str(write_manifest(tmp_path / "whole.csv", whole))}}
    simulated = fedasr.run({**local, "runtime": {"executor": "serial"}}, out=tmp_path / "local")
    assert devices.privacy is not None
    assert simulated.privacy is not None
    assert devices.privacy["ledger"]["entries"] == simulated.privacy["ledger"]["entries"]
    assert devices.summary["epsilon"] == simulated.summary["epsilon"]
    assert set(devices.clients["status"]) <= {"ok"}  # a cohort may be empty
    assert devices.rounds["round"].tolist() == [1, 2, 3, 4]


def test_only_the_first_of_two_answers_counts(town: Town, tmp_path: Path) -> None:
    """A device answers all twice, and a round later once more: the first answers make the simulation's weights."""
    world = town.world
    folder = world.enrol("zoe")
    write_manifest(folder / "manifest.csv", town.rows["ben"], COLUMNS)
    wanted = config(town.test, 2, rounds=3)
    out = tmp_path / "twice"
    town.leave_alone("anna")
    with answering(folder, "twice") as answered:
        run = world.submit(wanted, out)
        until(lambda: world.ended(run), 2 * PATIENCE_S, "the run")
    assert answered.count("train") == wanted["rounds"]
    # A reply to what has been answered is not stored, whether the answer was fetched already or not.
    assert world.log("server.log").count("Failed to store Message reply") >= 2
    devices = fedasr.load_run(out)
    rows = devices.clients[devices.clients["client"] == "zoe"]
    assert (rows["round"].tolist(), set(rows["status"])) == ([1, 2, 3], {"ok"})
    whole = [*town.rows["anna"], *({**row, "speaker": "zoe"} for row in town.rows["ben"]), *town.rows["test"]]
    local = {**wanted, "data": {"corpus": "manifest", "manifest": str(write_manifest(tmp_path / "whole.csv", whole))}}
    simulated = fedasr.run({**local, "runtime": {"executor": "serial"}}, out=tmp_path / "local")
    (mine, _), (theirs, _) = read_weights(devices.path), read_weights(simulated.path)
    for name, array in theirs.items():
        np.testing.assert_allclose(mine[name], array, rtol=1e-4, atol=1e-5, err_msg=name)


def test_an_edge_device_that_stops_in_the_middle_of_its_upload_keeps_nobody_waiting(town: Town, tmp_path: Path) -> None:
    """Flower's grid would wait for the rest for three minutes, and everybody else would be late."""
    world = town.world
    folder = world.enrol("yves")
    write_manifest(folder / "manifest.csv", town.rows["ben"], COLUMNS)
    out = tmp_path / "half"
    town.leave_alone("anna")
    with answering(folder, "half") as answered:
        wanted = config(town.test, 2, rounds=2, runtime={"name": "deployment", "reply_timeout_s": SHORT_S})
        run = world.submit(wanted, out)
        until(lambda: world.ended(run), 2 * PATIENCE_S, "the run")
    assert "train" in answered
    result = fedasr.load_run(out)
    rows = {(row["round"], row["client"]): row for row in result.clients.to_dict("records")}
    for number in (1, 2):
        assert rows[number, "anna"]["status"] == "ok"
        assert rows[number, "yves"]["reason"] == f"no reply within {SHORT_S:g} s"
    assert result.rounds["wall_seconds"].max() < 2 * DEADLINE_S


def test_who_hangs_up_at_once_is_waited_for(tmp_path: Path) -> None:
    """What forwards to a server that is away does so; an edge device that ended for good would never come back."""
    authority = tmp_path / "ca.crt"
    authority.write_bytes(certificate_pem(make_authority("nobody")[1]))
    line = Relay(0)
    line.close()
    with pytest.raises(Unreachable, match=r"hangs up at once|nobody answers"):
        knock("127.0.0.1", line.port, authority)


def test_a_server_that_can_start_no_run_ends_with_a_line(tmp_path: Path) -> None:
    world = World(tmp_path)
    try:
        server = world.start_server()
        starter = until(lambda: [p for p in family(server) if "flower-superexec" in command_line(p)], 60, "the starter")
        tell(starter, signal.SIGKILL)
        assert server.wait(60) == 1
        said = world.log("server.log")
        assert "the SuperLink ended with status 1: flower-superexec was killed or failed (9), no run" in said
        world.start_server()
    finally:
        assert not world.stop()


def test_a_soak_in_miniature(tmp_path: Path) -> None:
    seen, run = soak(tmp_path / "soak", rounds=3, devices=3, every_s=4.0, seed=0)
    check(seen, run)
    assert sum(seen.kills.values())
    assert seen.starts
    assert all(server > 0 and device > 0 for _, server, device in seen.memory)
