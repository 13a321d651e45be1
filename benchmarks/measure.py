"""Run one system in a process of its own and watch it: seconds a round, wall time with imports, memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Measurement:
    """Seconds of each round (the first is left out of ``round_s``), wall time, and peak memory of the tree."""

    rounds: list[float]
    wall_s: float
    memory_mb: float

    @property
    def round_s(self) -> float:
        """Median seconds a round, the first left out."""
        return median(self.rounds[1:])


def descendants(root: int) -> list[int]:
    """Return a process and all that it started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    result, waiting = [], [root]
    while waiting:
        process = waiting.pop()
        result.append(process)
        waiting += children.get(process, [])
    return result


def memory_mb(root: int) -> float:
    """Return the proportional set size of a process tree in megabytes: shared pages count once."""
    total = 0
    for process in descendants(root):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def resident_mb(root: int) -> float:
    """Return the resident set sizes of a process tree, summed, in megabytes: shared pages count in every process."""
    return status_mb(root, "VmRSS")


def anonymous_mb(root: int) -> float:
    """Return what a process tree has written itself, in megabytes: without the pages of libraries and other files.

    Those come and go by themselves, 100 MB of them while a process ends.
    """
    return status_mb(root, "RssAnon")


def status_mb(root: int, line: str) -> float:
    """Return a line of ``/proc/*/status`` summed over a process tree, in megabytes."""
    total = 0
    for process in descendants(root):
        try:
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(result.split()[1]) for result in lines if result.startswith(f"{line}:"))
    return total / 1024


def measure(module: str, *arguments: str) -> Measurement:
    """Run ``python -m module arguments``; its last line is JSON with the seconds of each round."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    peak = 0.0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.25):
            peak = max(peak, memory_mb(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    out, error = process.communicate()
    wall = time.perf_counter() - started
    done.set()
    watcher.join()
    if process.returncode:
        raise RuntimeError(f"{module} {' '.join(arguments)} failed:\n{error[-3000:]}")
    return Measurement(json.loads(out.strip().splitlines()[-1])["rounds"], wall, peak)
