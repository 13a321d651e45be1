"""FedASR on the workload: the whole of it, with selection, messages, tables and a checkpoint every round."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import workload
from fedasr.config import load
from fedasr.runtime.launch import launch
from fedasr.runtime.session import Silent


class Clock(Silent):
    """Notes when each round ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def begin(self, name: str, rounds: int, done: int, clients: int) -> None:
        """Note the start."""
        self.times.append(time.perf_counter())

    def round(self, row: Mapping[str, Any]) -> None:
        """Note a round."""
        self.times.append(time.perf_counter())


def main() -> None:
    """Run FedASR and print the seconds of each round as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--echo", action="store_true")
    parser.add_argument("--ray-address", help="run on Ray, on this cluster")
    arguments = parser.parse_args()
    clock = Clock()
    settings = workload.config(arguments.clients, arguments.rounds, arguments.workers, arguments.echo)
    if arguments.ray_address is not None:
        settings["runtime"] |= {"name": "ray", "ray_address": arguments.ray_address}
    with tempfile.TemporaryDirectory() as folder:
        launch(load(settings), Path(folder) / "run", watcher=clock)
    print(json.dumps({"rounds": [b - a for a, b in pairwise(clock.times)]}))


if __name__ == "__main__":
    main()
