"""A server and its boxes on this machine, each a process with a folder of its own, as two people would start them."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from fedasr.config.schema import SyntheticConfig
from fedasr.data.corpus import SAMPLE_RATE_HZ
from fedasr.data.synthetic import SyntheticCorpus
from fedasr.edge.processes import free_port

from .tiny import ROOT, environment

WORDS = ["yes", "no", "stop"]
NAMES = ("anna", "ben", "cleo")
LOOK_SECONDS = 0.1
FIELDS = ("path", "speaker", "text", "split")


def until(condition: Callable[[], Any], seconds: float, what: str, every: float = LOOK_SECONDS) -> Any:
    """Wait for a condition and return what it found."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        time.sleep(every)
    return found


def speech(root: Path) -> dict[str, list[dict[str, str]]]:
    """Write each speaker's utterances into a folder of its own; return the rows by name, the test speakers' as test."""
    config = SyntheticConfig(
        grammar="words",
        words=WORDS,
        speakers=len(NAMES),
        utterances_per_speaker=24,
        activity="constant",
        test_speakers=2,
        test_utterances_per_speaker=12,
        device=False,
    )
    corpus = SyntheticCorpus(config, seed=1)
    speakers = list(dict.fromkeys(map(str, corpus.columns["speaker"])))
    names = dict(zip(speakers, NAMES, strict=False))
    found: dict[str, list[dict[str, str]]] = {}
    for index in range(len(corpus)):
        split = str(corpus.columns["split"][index])
        name = names.get(str(corpus.columns["speaker"][index]), "test")
        rows = found.setdefault(name, [])
        path = root / name / f"{len(rows):03d}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.clip(corpus.waveform(index), -1, 1), SAMPLE_RATE_HZ, subtype="PCM_16")
        text = str(corpus.columns["text"][index])
        rows.append({"path": str(path), "speaker": name, "text": text, "split": split})
    return found


def write_manifest(path: Path, rows: Iterable[Mapping[str, str]], fields: tuple[str, ...] = FIELDS) -> Path:
    """Write a manifest."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, fields, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    return path


class World:
    """Processes that are all stopped in the end.

    Args:
        root: an empty folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "server"
        self.port = free_port()
        self.started: list[subprocess.Popen[str]] = []
        self.environment = {**environment(), "FEDASR_EDGE_TEST": str(root), "FLWR_LOG_LEVEL": "INFO"}

    def edge(self, *arguments: object, code: int = 0) -> str:
        """Run ``fedasr edge`` and return what it said for people."""
        done = subprocess.run(
            [sys.executable, "-m", "fedasr.cli.main", "edge", *map(str, arguments)],
            env=self.environment,
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr

    def start(self, log: str, *arguments: object) -> subprocess.Popen[str]:
        """Start a Python module in the background."""
        process = subprocess.Popen(
            [sys.executable, "-m", *map(str, arguments)],
            env=self.environment,
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=(self.root / log).open("w"),
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def start_server(self) -> None:
        """Make a server and start it."""
        self.edge("init-server", "--home", self.home, "--host", "127.0.0.1", "--port", self.port)
        server = self.start(
            "server.log", "fedasr.cli.main", "edge", "run-server", "--home", self.home, "--bind", "127.0.0.1"
        )
        until(lambda: "Uvicorn running" in self.log("server.log") or server.poll() is not None, 90, "the SuperLink")
        assert server.poll() is None, self.log("server.log")

    def enrol(self, name: str) -> Path:
        """Enrol a box and carry what it needs to its folder, which is not the server's."""
        self.edge("enroll", name, "--home", self.home)
        folder = self.root / f"box {name}"
        shutil.copytree(self.home / "boxes" / name, folder)
        return folder

    def start_box(self, folder: Path) -> subprocess.Popen[str]:
        """Start a box."""
        return self.start(f"{folder.name}.log", "fedasr.cli.main", "edge", "run-client", "--data", folder)

    def log(self, name: str) -> str:
        """Return what a process has said."""
        return (self.root / name).read_text(errors="replace")

    def submit(self, config: Mapping[str, Any], out: Path) -> str:
        """Submit a run to the SuperLink and return its id; it goes on by itself."""
        file = self.root / f"{out.name}.yaml"
        file.write_text(json.dumps(config))
        settings = f"config={json.dumps(str(file))} out={json.dumps(str(out))}"
        said = self.flwr("run", ROOT, "edge", "--run-config", settings, "--format", "json")
        return str(json.loads(said[said.index("{") :])["run-id"])

    def flwr(self, *arguments: object) -> str:
        """Run Flower's command on the server and return what it said."""
        done = subprocess.run(
            [str(Path(sys.executable).parent / "flwr"), *map(str, arguments)],
            env={**self.environment, "FLWR_HOME": str(self.home / "flower")},
            cwd=self.home / "work",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def left(self) -> list[int]:
        """Return the living processes that were started from here, whoever their parent is by now."""
        mark = f"FEDASR_EDGE_TEST={self.root}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:  # it ended meanwhile, or belongs to somebody else
                continue
        return found

    def stop(self) -> list[int]:
        """Stop everything as a service manager would; return what was still there, which is killed."""
        for process in reversed(self.started):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.started:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        end = time.monotonic() + 10
        while (left := self.left()) and time.monotonic() < end:
            time.sleep(LOOK_SECONDS)
        for process in left:
            os.kill(process, signal.SIGKILL)
        return left
