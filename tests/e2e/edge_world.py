"""A server and its devices on this machine, each a process with a folder of its own, as two people would start them."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from fedasr.config.schema import SyntheticConfig
from fedasr.data.corpus import SAMPLE_RATE_HZ
from fedasr.data.synthetic import SyntheticCorpus
from fedasr.edge.processes import descendants, free_port

from .tiny import ROOT, environment

WORDS = ["yes", "no", "stop"]
NAMES = ("anna", "ben", "cleo")
LOOK_SECONDS = 0.1
FIELDS = ("path", "speaker", "text", "split")


def until(condition: Callable[[], Any], seconds: float, what: str, every: float = LOOK_SECONDS) -> Any:
    """Wait for a condition and return what it found."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        time.sleep(every)
    return result


def living(variable: str, value: object) -> list[int]:
    """Return the living processes that were started with a variable of their environment, whoever their parent is."""
    mark = f"{variable}={value}".encode()
    result = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                result.append(int(entry.name))
        except OSError:  # it ended meanwhile, or belongs to somebody else
            continue
    return result


def family(process: subprocess.Popen[str]) -> list[int]:
    """Return a process and all that it has started."""
    return [process.pid, *descendants(process.pid)]


def command_line(pid: int) -> str:
    """Return the command line of a process, its words with spaces between; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def executors(device: subprocess.Popen[str]) -> list[int]:
    """Return the process of a device that waits for messages, and after it the one that answers a message, if any."""
    return [pid for pid in family(device) if "fedasr.edge.executor" in command_line(pid)]


def tell(processes: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to processes, those that have ended meanwhile left out."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


class Relay:
    """A line to a port of this machine that can be cut: whoever calls is hung up on, in the middle of a word too.

    Args:
        port: where it leads to.
    """

    def __init__(self, port: int) -> None:
        self.target = port
        self.cut = False
        self.open: set[socket.socket] = set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        """Take callers until the relay is closed."""
        with suppress(OSError):
            while True:
                caller, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(caller,), daemon=True).start()

    def serve(self, caller: socket.socket) -> None:
        """Carry what a caller and the target say, both ways."""
        with suppress(OSError), caller:
            if self.cut:
                return
            with socket.create_connection(("127.0.0.1", self.target), timeout=10) as called:
                called.settimeout(None)
                self.open |= {caller, called}
                back = threading.Thread(target=self.carry, args=(called, caller), daemon=True)
                back.start()
                self.carry(caller, called)
                back.join()
                self.open -= {caller, called}

    def carry(self, source: socket.socket, target: socket.socket) -> None:
        """Carry bytes until one side hangs up."""
        with suppress(OSError):
            while piece := source.recv(1 << 16):
                target.sendall(piece)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Cut the line."""
        self.cut = True
        for end in list(self.open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Let callers through again."""
        self.cut = False


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
    result: dict[str, list[dict[str, str]]] = {}
    for index in range(len(corpus)):
        split = str(corpus.columns["split"][index])
        name = names.get(str(corpus.columns["speaker"][index]), "test")
        rows = result.setdefault(name, [])
        path = root / name / f"{len(rows):03d}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.clip(corpus.waveform(index), -1, 1), SAMPLE_RATE_HZ, subtype="PCM_16")
        text = str(corpus.columns["text"][index])
        rows.append({"path": str(path), "speaker": name, "text": text, "split": split})
    return result


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
        self.devices: dict[str, subprocess.Popen[str]] = {}
        """name → the process that was started last for it"""
        self.environment = {**environment(), "FEDASR_EDGE_TEST": str(root), "FLWR_LOG_LEVEL": "INFO"}

    def edge(self, *arguments: object, code: int = 0) -> str:
        """Run ``fedasr edge`` and return what it said for people."""
        done = self.edge_command(*arguments)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr

    def edge_output(self, *arguments: object) -> str:
        """Run ``fedasr edge`` and return what it printed."""
        done = self.edge_command(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def edge_command(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run ``fedasr edge``."""
        return subprocess.run(
            [sys.executable, "-m", "fedasr.cli.main", "edge", *map(str, arguments)],
            env=self.environment,
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self, log: str, *arguments: object) -> subprocess.Popen[str]:
        """Start a Python module in the background."""
        process = subprocess.Popen(
            [sys.executable, "-m", *map(str, arguments)],
            env=self.environment,
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=(self.root / log).open("a"),
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def start_server(self) -> subprocess.Popen[str]:
        """Start the server; make it where there is none."""
        if not self.home.exists():
            self.edge("init-server", "--home", self.home, "--host", "127.0.0.1", "--port", self.port)
        before = self.log("server.log").count("Uvicorn running") if (self.root / "server.log").exists() else 0
        server = self.start(
            "server.log", "fedasr.cli.main", "edge", "run-server", "--home", self.home, "--bind", "127.0.0.1"
        )
        until(
            lambda: self.log("server.log").count("Uvicorn running") > before or server.poll() is not None,
            90,
            "the SuperLink",
        )
        assert server.poll() is None, self.log("server.log")
        return server

    def enrol(self, name: str, safe: bool = False) -> Path:
        """Enrol a device, of safe rules or of one whose speech is not private, and copy its files to its own folder."""
        self.edge("enroll", name, "--home", self.home, *([] if safe else ["--allow-non-private"]))
        folder = self.root / f"device {name}"
        shutil.copytree(self.home / "boxes" / name, folder)
        return folder

    def start_device(self, folder: Path) -> subprocess.Popen[str]:
        """Start an edge device."""
        result = self.start(f"{folder.name}.log", "fedasr.cli.main", "edge", "run-client", "--data", folder)
        self.devices[folder.name.removeprefix("device ")] = result
        return result

    def at_work(self, name: str, kind: str = "train") -> list[int]:
        """Return the process that answers a device's message, in a list; empty while it answers none."""
        log = self.log(f"device {name}.log")
        if log.rfind(f"Receiving: {kind} message") <= log.rfind("Sending:"):
            return []
        return executors(self.devices[name])[1:]

    def log(self, name: str) -> str:
        """Return what a process has said."""
        return (self.root / name).read_text(errors="replace")

    def submit(self, config: Mapping[str, Any], out: Path, resume: bool = False, app: Path = ROOT) -> str:
        """Submit a run of an app to the SuperLink and return its id; it goes on by itself."""
        file = self.root / f"{out.name}.yaml"
        file.write_text(json.dumps(config))
        settings = f"config={json.dumps(str(file))} out={json.dumps(str(out))} resume={json.dumps(resume)}"
        said = self.flwr("run", app, "edge", "--run-config", settings, "--format", "json")
        return str(json.loads(said[said.index("{") :])["run-id"])

    def ended(self, run: str) -> bool:
        """Say whether the task of a run has ended, well or not."""
        return any("Finished task" in line and f"of run {run}" in line for line in self.log("server.log").splitlines())

    def runs(self, run: str) -> bool:
        """Say whether a run goes on, in the words of the SuperLink."""
        said = self.flwr("list", "edge", "--run-id", run, "--format", "json")
        return not str(json.loads(said[said.index("{") :])["runs"][0]["status"]).startswith("finished")

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
        return living("FEDASR_EDGE_TEST", self.root)

    def stop(self) -> list[str]:
        """Stop everything as a service manager would; return what was still there, by command, which is killed."""
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
        said = [f"{pid}: {command_line(pid)}" for pid in left]
        tell(left, signal.SIGKILL)
        return said
