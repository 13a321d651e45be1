"""``flwr run``: the app in Flower's own bundle, through a SuperLink, to the bits of ``fedasr run``."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import fedasr
from fedasr.edge.processes import free_port
from tests.needs import needs

from .edge_world import living, tell
from .tiny import ROOT, environment

needs("ray", "Flower's simulation engine needs Ray: pip install 'fedasr[ray]'")
if not Path("/proc/self/environ").exists():
    pytest.skip("the test looks into /proc to be sure that it leaves no process behind", allow_module_level=True)

OVERRIDES = {
    "rounds": 2,
    "data.synthetic.speakers": 12,
    "data.synthetic.utterances_per_speaker": 3,
    "data.synthetic.test_speakers": 3,
    "data.synthetic.test_utterances_per_speaker": 2,
    "model.hidden": 16,
    "selection.clients_per_round": 5,
    "client.epochs": 1,
    "compression.up": "eden",
    "compression.down": "int8",
}


def ailment(port: str) -> str | None:
    """Return why the SuperLink does not answer, or None where it does."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy does not reach this machine's own
    try:
        with direct.open(f"http://127.0.0.1:{port}/health", timeout=2) as reply:
            return None if reply.status == 200 else f"status {reply.status}"
    except OSError as error:
        return repr(error)


@pytest.fixture
def flower(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A local SuperLink of its own, started from an empty folder; yields the environment that leads to it."""
    home, empty = tmp_path / "home", tmp_path / "empty"
    home.mkdir()
    empty.mkdir()
    scripts = Path(sys.executable).parent
    variables = {
        **environment(),
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "FLWR_HOME": str(home),
        "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(free_port()),
        "FLWR_LOCAL_CONTROL_API_PORT": str(free_port()),
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
    }
    port = variables["FLWR_LOCAL_SUPERLINK_HTTP_API_PORT"]
    # What `flwr run` starts by itself where there is none, except that we know its process.
    superlink = subprocess.Popen(
        [
            *("flower-superlink", "--insecure", "--simulation", "--isolation", "subprocess"),
            *("--host", "127.0.0.1", "--port", port, "--database", str(home / "state.db")),
        ],
        env=variables,
        cwd=empty,
        stdout=(home / "superlink.log").open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        end = time.monotonic() + 120
        while (reason := ailment(port)) is not None:
            log = (home / "superlink.log").read_text()
            assert superlink.poll() is None, f"the SuperLink ended: {log}"
            assert time.monotonic() < end, f"the SuperLink does not answer ({reason}): {log}"
            time.sleep(0.1)
        yield variables
        superlink.terminate()
        superlink.wait(20)
        end = time.monotonic() + 20
        while living("FLWR_HOME", home) and time.monotonic() < end:
            time.sleep(0.1)
        assert not living("FLWR_HOME", home), "processes are left over"
    finally:
        tell(living("FLWR_HOME", home), signal.SIGKILL)


def flwr(variables: dict[str, str], *arguments: str) -> str:
    """Run the ``flwr`` command from an empty folder and return what it said."""
    done = subprocess.run(
        ["flwr", *arguments],
        env=variables,
        cwd=Path(variables["FLWR_HOME"]).with_name("empty"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_flwr_run_gives_the_bits_of_fedasr_run(flower: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = {
        "config": "simulations/quickstart.yaml",
        "overrides": shlex.join(f"{name}={value}" for name, value in OVERRIDES.items()),
        "out": str(out),
    }
    said = flwr(
        flower,
        *("run", str(ROOT), "--stream"),
        *("--federation-config", "num-supernodes=12 client-resources-num-cpus=1"),
        *("--run-config", " ".join(f"{key}={json.dumps(value)}" for key, value in settings.items())),
    )
    # The exit status says only that the run was submitted.
    (run,) = json.loads(flwr(flower, "list", "--format", "json"))["runs"]
    assert run["status"] == "finished:completed", said
    assert "round 2/2" in said
    result = fedasr.load_run(out)
    assert result.summary["status"] == "done"
    assert (out / "report.html").exists()
    local = fedasr.run("quickstart", out=tmp_path / "local", overrides={**OVERRIDES, "runtime.executor": "serial"})
    assert result.summary["model_sha256"] == local.summary["model_sha256"]
