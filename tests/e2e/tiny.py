"""A run that takes seconds: a dozen synthetic speakers and a small model."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("fedasr", "strategies", "clients", "simulations")
"""The folders that are installed."""


def tiny(**changes: Any) -> dict[str, Any]:
    """Return the tiny config; keyword arguments are dotted keys with ``__`` for the dot."""
    config: dict[str, Any] = {
        "name": "tiny",
        "rounds": 3,
        "data": {
            "corpus": "synthetic",
            "synthetic": {
                "grammar": "digits",
                "speakers": 12,
                "utterances_per_speaker": 3,
                "test_speakers": 3,
                "test_utterances_per_speaker": 2,
            },
        },
        "model": {"encoder": "blstm", "channels": [16, 16], "hidden": 16, "dropout": 0.1},
        "client": {"optimizer": "adamw", "learning_rate": 0.003, "batch_size": 2},
        "strategy": {"name": "fedavgm", "momentum": 0.5},
        "selection": {"name": "activity", "clients_per_round": 5},
        "runtime": {"executor": "serial"},
    }
    for name, value in changes.items():
        node = config
        *path, last = name.split("__")
        for step in path:
            node = node.setdefault(step, {})
        node[last] = value
    return config


def copy_checkout(folder: Path) -> None:
    """Copy what an installation is built from: building leaves files in the folder it works in."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)


def environment() -> dict[str, str]:
    """Return the environment of a command under test; what it talks to is on this machine, behind no proxy."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def fedasr(*arguments: str, cwd: Path | None = None, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run the ``fedasr`` command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "fedasr.cli.main", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment(),
        timeout=timeout,
        check=False,
    )
