"""The page of real edge devices as it is followed: the server's folder in the checkout, and runs submitted from there.

Flower packs the folder that a run is submitted from. What a run leaves there must not be in the next one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fedasr

from .edge_world import World, command_line, speech, until, write_manifest
from .test_edge_faults import fill
from .tiny import copy_checkout

if not Path("/proc/self/environ").exists():
    pytest.skip("the test looks into /proc to be sure that it leaves no process behind", allow_module_level=True)

pytestmark = pytest.mark.slow  # a server, an edge device and five runs, some three minutes

PATIENCE_S = 240.0


class House:
    """A checkout with the server's folder in it, and an edge device.

    Args:
        root: an empty folder.
    """

    def __init__(self, root: Path) -> None:
        self.world = World(root)
        self.checkout = root / "checkout"
        self.checkout.mkdir()
        copy_checkout(self.checkout)
        self.world.home = self.checkout / "server"
        rows = speech(root / "speech")
        self.test = write_manifest(root / "test.csv", rows["test"])
        self.world.start_server()
        folder = self.world.enrol("anna")
        write_manifest(folder / "manifest.csv", rows["anna"], ("path", "speaker", "text"))
        self.world.start_device(folder)

    def submit(self, out: Path, rounds: int = 1, resume: bool = False) -> str:
        """Submit a run from the root of the checkout and return its id."""
        config = {
            "name": out.name,
            "rounds": rounds,
            "data": {"corpus": "manifest", "manifest": str(self.test), "clients": 1},
            "model": {"encoder": "lstm", "channels": [8, 8], "hidden": 8},
            "client": {"batch_size": 4, "steps": 2},
            "selection": {"clients_per_round": 1},
            "runtime": {"name": "deployment", "reply_timeout_s": 60},
        }
        return self.world.submit(config, out, resume, app=self.checkout)

    def summary(self, out: Path) -> dict[str, Any]:
        """Return the summary of a run; empty while there is none."""
        path = out / "summary.json"
        return dict(json.loads(path.read_text())) if path.is_file() else {}

    def ended(self, run: str) -> None:
        """Wait for the end of a run."""
        until(lambda: self.world.ended(run), PATIENCE_S, f"the end of run {run}")

    def rounds(self, out: Path, count: int) -> None:
        """Wait for so many finished rounds."""
        until(lambda: (self.summary(out).get("rounds") or 0) >= count, PATIENCE_S, f"round {count}")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    root = tmp_path_factory.mktemp("page")
    result = None
    world = None
    try:
        result = House(root)
        world = result.world
        yield result
    finally:
        left = world.stop() if world is not None else []
    assert not left, f"processes are left over: {left}"


def test_three_runs_from_one_checkout(house: House, tmp_path: Path) -> None:
    sizes = []
    for number in range(3):
        out = tmp_path / f"run{number}"
        run = house.submit(out)
        house.ended(run)
        assert house.summary(out)["status"] == "done", house.world.log("server.log")[-3000:]
        assert fedasr.load_run(out).rounds["round"].tolist() == [1]
        sizes.append(sum(path.stat().st_size for path in house.world.home.rglob("*") if path.is_file()))
    # Each run is kept by the SuperLink; a packed one that holds the ones before doubles.
    assert sizes[2] - sizes[1] < 1.5 * (sizes[1] - sizes[0]) + 2**20, sizes


def test_a_run_whose_process_is_told_to_end_says_so_and_goes_on(house: House, tmp_path: Path) -> None:
    out = tmp_path / "ended"
    run = house.submit(out, rounds=200)
    until(lambda: house.summary(out).get("status") == "running", PATIENCE_S, "the run to begin")
    process = until(
        lambda: [pid for pid in house.world.left() if "flwr-serverapp" in command_line(pid)], 30, "its process"
    )
    for pid in process:
        os.kill(pid, signal.SIGTERM)
    until(lambda: house.summary(out)["status"] == "interrupted", 60, "the summary to say so")
    house.ended(run)
    done = house.summary(out).get("rounds") or 0
    again = house.submit(out, rounds=200, resume=True)
    until(lambda: house.world.log("server.log").count(again), 60, "the run to start")
    until(lambda: house.summary(out)["status"] == "running", PATIENCE_S, "the run to go on")
    house.world.flwr("stop", again, "edge")
    until(lambda: not house.world.runs(again), PATIENCE_S, "the run to be stopped", every=1.0)
    assert (house.summary(out).get("rounds") or 0) >= done


ROUNDS = 4
"""More than a run has while its disk is filled."""


def test_a_full_disk_at_the_server_is_one_line_and_no_torn_file(house: House, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    arguments = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", str(disk)]
    done = subprocess.run(arguments, capture_output=True, check=False) if shutil.which("mount") else None
    if done is None or done.returncode:
        pytest.skip("a small disk cannot be mounted here; it takes root")
    try:
        out = disk / "run"
        run = house.submit(out, rounds=ROUNDS)
        until(lambda: house.summary(out).get("status") == "running", PATIENCE_S, "the run to begin")
        end = disk / "filler"

        def over() -> bool:
            fill(end)
            return house.world.ended(run)

        until(over, PATIENCE_S, "the run to fail")
        assert house.summary(out)["status"] == "failed"
        assert "No space left on device" in house.summary(out)["error"]
        torn = [path for path in out.rglob("*") if path.is_file() and path.stat().st_size == 0]
        assert not [path for path in torn if path.name not in ("lock", "rounds.jsonl", "clients.jsonl")], torn
        assert not list(out.rglob("*.part"))
        end.unlink()
        again = house.submit(out, rounds=ROUNDS, resume=True)
        house.ended(again)
        summary = house.summary(out)
        assert (summary["status"], summary["rounds"]) == ("done", ROUNDS), house.world.flwr("log", again, "--show")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
