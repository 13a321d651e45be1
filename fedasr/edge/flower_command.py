"""Flower's own commands, as processes of this environment that no proxy and no other configuration leads astray."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from fedasr.edge.server_folder import PROFILE, ServerFolder
from fedasr.errors import InputError

LOOPBACK = "127.0.0.1,localhost,::1"
PATIENCE_SECONDS = 60.0
HARMLESS = ("FLWR_LOG_LEVEL",)
"""Of Flower's variables, what may come from outside; all others are set here, or keep their defaults."""
ASTRAY = ("FORWARDED_ALLOW_IPS", "WEB_CONCURRENCY", "SSLKEYLOGFILE", "PYTHONASYNCIODEBUG")


def environment(flower_home: Path) -> dict[str, str]:
    """Return the environment of Flower's processes: its own folder, no telemetry, no installations, one thread.

    A proxy may lie between an edge device and its server, never between two processes of one machine.
    """
    inherited = {name: value for name, value in os.environ.items() if not leads_astray(name)}
    known = [os.environ.get(name, "") for name in ("no_proxy", "NO_PROXY")]
    direct = ",".join(part for part in [*known, LOOPBACK] if part)
    scripts = str(Path(sys.executable).parent)
    return {
        **inherited,
        "PATH": scripts + os.pathsep + os.environ.get("PATH", ""),
        "FLWR_HOME": str(flower_home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "no_proxy": direct,
        "NO_PROXY": direct,
    }


def leads_astray(name: str) -> bool:
    """Say whether a variable of the environment would change what a SuperLink or a SuperNode lets in or tells.

    ``FORWARDED_ALLOW_IPS=*`` lets strangers say where they call from, ``FLWR_INTERNAL_GRPC_CONTROL_API`` opens a second
    door for orders, ``SSLKEYLOGFILE`` tells the keys of connections.
    """
    if name.startswith("FLWR_"):
        return name not in HARMLESS
    return name.startswith(("UVICORN_", "GUNICORN_")) or name in ASTRAY


def command(name: str) -> str:
    """Return the path of one of Flower's commands.

    Raises:
        InputError: it is not installed beside this Python.
    """
    path = shutil.which(name, path=str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", ""))
    if path is None:
        raise InputError(f"'{name}' is not installed beside {sys.executable}; pip install fedasr")
    return path


def flwr(server: ServerFolder, *arguments: str) -> dict[str, Any]:
    """Run ``flwr`` against the server's SuperLink, from its own machine, and return the JSON that it prints.

    Raises:
        InputError: the SuperLink does not answer, or refuses.
    """
    done = subprocess.run(
        [command("flwr"), *arguments, PROFILE, "--format", "json"],
        env=environment(server.flower_home),
        cwd=server.work,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    answer = last_object(done.stdout)
    if done.returncode != 0 or not answer.get("success", False):
        problem = str(answer.get("error-message") or done.stderr or done.stdout).strip()
        if "onnect" in problem:
            problem = (
                "the SuperLink is starting; try again in a few seconds"
                if server.running
                else f"the SuperLink does not answer; start it with 'fedasr edge run-server --home {server.path}'"
            )
        raise InputError(problem, where=f"flwr {' '.join(arguments[:2])}")
    return answer


def last_object(text: str) -> dict[str, Any]:
    """Return the JSON object at the end of what a command printed; empty where there is none."""
    start = text.find("{")
    while start >= 0:
        try:
            answer = json.loads(text[start:])
        except ValueError:
            start = text.find("{", start + 1)
            continue
        return answer if isinstance(answer, dict) else {}
    return {}
