"""What secure aggregation costs: `python -m benchmarks.secure_aggregation`.

Workload W: 50 clients a round, 146,112 parameters, 20 utterances a client (docs/results/engine.md), plain, simulated
and in protocol, in turn in one process, so that what else the machine does falls on all of them. Seconds are processor
time of the server's process, in which the clients run one after another. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import fedasr
from benchmarks import workload
from fedasr.config import load
from fedasr.runtime.launch import launch
from fedasr.runtime.session import Silent

CLIENTS, PARAMETERS = 50, 146_112
MODES: dict[str, dict[str, Any]] = {
    "plain": {},
    "simulate, 16 bits": {"mode": "simulate"},
    "protocol, 16 bits, 20 neighbours": {"mode": "protocol"},
}


class Clock(Silent):
    """Notes the processor time at the end of each round."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def begin(self, name: str, rounds: int, done: int, clients: int) -> None:
        """Note the start."""
        self.times.append(time.process_time())

    def round(self, row: Mapping[str, Any]) -> None:
        """Note a round."""
        self.times.append(time.process_time())


def measured(secure: Mapping[str, Any], rounds: int, echo: bool = False) -> tuple[list[float], float]:
    """Return the processor seconds of each round but the first, and the bytes that a client sends."""
    clock, settings = Clock(), workload.config(CLIENTS, rounds, 0, echo)
    settings["runtime"] = {"executor": "serial"}
    if secure:
        settings["secure_aggregation"] = dict(secure)
    with tempfile.TemporaryDirectory() as folder:
        launch(load(settings), Path(folder) / "run", watcher=clock)
        run = fedasr.load_run(Path(folder) / "run")
        assert run.summary["parameters"] == PARAMETERS
        sent = float(run.clients["bytes_up"].mean())
    return [b - a for a, b in pairwise(clock.times)][1:], sent


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in MODES}
    sent: dict[str, float] = {}
    for _ in range(arguments.repeats):
        for name, secure in MODES.items():
            result, sent[name] = measured(secure, arguments.rounds)
            seconds[name] += result
    plain = median(seconds["plain"])
    print("| | bytes a client sends | ÷ float32's | processor seconds a round | ÷ plain |")
    print("|---|---|---|---|---|")
    for name in MODES:
        middle = median(seconds[name])
        spread = f"{min(seconds[name]):.3f}–{max(seconds[name]):.3f}"
        ratios = f"{sent[name] / (4 * PARAMETERS):.2f} | {middle:.3f} ({spread}) | {middle / plain:.2f}"
        print(f"| {name} | {sent[name]:,.0f} | {ratios} |")


if __name__ == "__main__":
    main()
