"""Machines as people have them: full disks, schedulers that end jobs, users without a home, scripts without a guard."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import fedasr
from fedasr.files import write_json, write_json_anyhow
from fedasr.runtime import checkpoint

from .tiny import environment, tiny

KIBIBYTE = 1 << 10
BY_TWO = ["runtime.executor=pool", "runtime.workers=2"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny config as a file, in a folder whose name has spaces and letters of two scripts."""
    folder = tmp_path_factory.mktemp("a folder, né ليلى")
    file = folder / "config.yaml"
    OmegaConf.save(tiny(), file)
    return file


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "fedasr", *map(str, arguments)]


def status(out: Path) -> str:
    return str(json.loads((out / "summary.json").read_text())["status"])


def journal(out: Path) -> str:
    file = out / "checkpoint" / "rounds.jsonl"
    return file.read_text() if file.exists() else ""


def wait_until(true: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def children(process: int) -> list[int]:
    result = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=False)
    return [int(line) for line in result.stdout.split()]


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def going(config: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A long run with two workers, in a process group of its own, after its first round."""
    out = tmp_path / "out"
    process = subprocess.Popen(
        command("run", config, "--out", out, "rounds=500", *BY_TWO),
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: journal(out) or process.poll() is not None)
    yield process, out
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_scheduler_that_ends_a_job_finds_a_checkpoint(
    going: tuple[subprocess.Popen[str], Path], number: signal.Signals
) -> None:
    """The signal goes to all processes of the job, as schedulers send it, and twice."""
    process, out = going
    for _ in range(2):
        os.killpg(process.pid, number)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert f"interrupted by {number.name}" in error
    assert status(out) == "interrupted"
    stopped = fedasr.load_run(out)
    assert stopped.summary["rounds"] == len(journal(out).splitlines()) < 500


@pytest.mark.slow
def test_the_second_ctrl_c_is_an_interruption_too(going: tuple[subprocess.Popen[str], Path]) -> None:
    process, out = going
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.002)
    _, error = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT), error
    assert status(out) == "interrupted"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_workers_die_with_their_parent(going: tuple[subprocess.Popen[str], Path]) -> None:
    process, _ = going
    workers = children(process.pid)
    assert len(workers) >= 2
    process.kill()
    _, error = process.communicate(timeout=60)
    assert "Traceback" not in error
    wait_until(lambda: not any(map(alive, workers)), 20)


def limit_files(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def names(out: Path) -> list[str]:
    return sorted(path.name for path in out.rglob("*") if ".part" in path.name)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["serial", "pool"])
def test_no_room_for_a_checkpoint(config: Path, tmp_path: Path, executor: str) -> None:
    out = tmp_path / "out"
    arguments = ["run", config, "--out", out, f"runtime.executor={executor}"]
    done = subprocess.run(
        command(*arguments, "runtime.workers=1"),
        # or Python leaves half of its bytecode
        env={**environment(), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        preexec_fn=limit_files(20 * KIBIBYTE),
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1] == f"failed: {out}/checkpoint/state.safetensors: File too large"
    assert "Traceback" not in done.stderr
    assert status(out) == "failed"
    assert names(out) == []


@pytest.mark.slow
def test_a_disk_that_fills_up_keeps_the_last_checkpoint(config: Path, tmp_path: Path) -> None:
    """There is room for one checkpoint and not for two; once there is, the run goes on to the same bits."""
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(small)], check=False).returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        out = small / "out"
        arguments = ["run", config, "--out", out, "--resume"]
        done = subprocess.run(command(*arguments), env=environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 1, done.stderr
        assert done.stderr.splitlines()[-1] == f"failed: {out}/checkpoint/state.safetensors: No space left on device"
        assert "Traceback" not in done.stderr
        assert status(out) == "failed"
        assert names(out) == []
        kept = checkpoint.load(out / "checkpoint")
        assert kept is not None
        assert kept.round < 3
        subprocess.run(["mount", "-o", "remount,size=20m", str(small)], check=True)
        done = subprocess.run(command(*arguments), env=environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert status(out) == "done"
        resumed = fedasr.load_run(out).summary["model_sha256"]
    finally:
        subprocess.run(["umount", str(small)], check=False)
    assert resumed == fedasr.run(config, out=tmp_path / "whole").summary["model_sha256"]


def test_a_full_disk_has_room_for_a_few_words_in_the_place_of_others(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(small)], check=False).returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        write_json(small / "summary.json", {"status": "running", "long": "x" * 100})
        with (small / "ballast").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"0" * KIBIBYTE)
        with pytest.raises(OSError, match=r"No space left on device: .*summary\.json"):
            write_json(small / "summary.json", {"status": "failed"})
        write_json_anyhow(small / "summary.json", {"status": "failed"})
        assert status(small) == "failed"
        assert sorted(path.name for path in small.iterdir()) == ["ballast", "summary.json"]
    finally:
        subprocess.run(["umount", str(small)], check=False)


HOMELESS = """
import os, pwd, sys
for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "XDG_CACHE_HOME"):
    os.environ.pop(name, None)
def unknown(user):
    raise KeyError(f"getpwuid(): uid not found: {user}")
pwd.getpwuid = unknown
from fedasr.cli.main import main
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_user_without_a_home(config: Path, tmp_path: Path) -> None:
    """As in a container that runs under a number which its system does not know."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    arguments = ["run", config, "--out", tmp_path / "out", "rounds=1", *BY_TWO]
    done = subprocess.run(
        [sys.executable, "-c", HOMELESS, *map(str, arguments)],
        env={**environment(), "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (temporary / f"fedasr-{os.getuid()}").stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
def test_an_ascii_terminal_that_is_none(config: Path, tmp_path: Path) -> None:
    """The C locale, no standard input, paths in other letters, a strict umask."""
    out = tmp_path / "wyniki ąę ليلى"
    done = subprocess.run(
        command("run", config, "--out", out, "rounds=1", "--json"),
        env={**environment(), "LC_ALL": "C", "TERM": ""},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: os.umask(0o077) and None,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert status(out) == "done"
    assert json.loads(done.stdout)["status"] == "done"


SCRIPT = """
import sys
import fedasr
from fedasr.runtime import checkpoint

print("imported", flush=True)
changes = {{"rounds": 1, "runtime.executor": "pool", "runtime.workers": 3, "runtime.device": "auto"}}
{guard}fedasr.run(sys.argv[1], out=sys.argv[2], overrides=changes)
"""


@pytest.mark.parametrize(
    "guard",
    ["", pytest.param('if __name__ == "__main__": ', marks=pytest.mark.slow)],  # test_wheel.py has a quick one
    ids=["without", "with"],
)
def test_a_script_whose_workers_are_spawned(config: Path, tmp_path: Path, guard: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(guard=guard))
    done = subprocess.run(
        [sys.executable, str(script), str(config), str(tmp_path / "out")],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if guard:
        assert done.returncode == 0, done.stderr
        assert status(tmp_path / "out") == "done"
        return
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1, done.stderr
    assert done.stderr.splitlines()[-1].endswith(
        f"{script}: every worker imports this script, and so starts its run again; put the call under:"
        " if __name__ == '__main__':"
    )
    assert status(tmp_path / "out") == "failed"


DAEMON = """
import multiprocessing, sys
import fedasr
from fedasr.runtime import checkpoint

def one(seed):
    try:
        fedasr.run(sys.argv[1], out=sys.argv[2], overrides={"runtime.executor": "pool", "runtime.workers": 2})
    except fedasr.errors.InputError as error:
        return str(error)

if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(1) as pool:
        print(pool.map(one, [0])[0])
"""


@pytest.mark.slow
def test_a_worker_of_a_multiprocessing_pool_has_none_of_its_own(config: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DAEMON, str(config), str(tmp_path / "out")],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip().endswith("which may have none of its own; set runtime.executor=serial"), done.stderr
