"""What taking encoded updates in costs a round: `python -m benchmarks.codecs`.

Workload W (docs/results/engine.md): 50 clients a round, 146,112 parameters, 20 utterances a client, one after another
in this process. Of each round, the processor time in which the server checks, decodes and adds up the replies, over
that of the whole round; plain, int8 and EDEN in turn. Prints a Markdown table.
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

from flwr.app import Message, RecordDict

import fedasr
from benchmarks import workload
from benchmarks.secure_aggregation import CLIENTS, PARAMETERS
from fedasr.config import load
from fedasr.runtime.launch import launch
from fedasr.runtime.session import Silent
from fedasr.strategies.aggregation.accumulating import UpdateAccumulator

CODECS = ("none", "int8", "eden")


class Clock(Silent):
    """Notes the processor time at the end of each round, and that of taking replies in."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.taking: list[float] = [0.0]

    def begin(self, name: str, rounds: int, done: int, clients: int) -> None:
        """Note the start."""
        self.times.append(time.process_time())

    def round(self, row: Mapping[str, Any]) -> None:
        """Note a round."""
        self.times.append(time.process_time())
        self.taking.append(0.0)


def measured(codec: str, rounds: int) -> tuple[list[float], list[float], float]:
    """Return the seconds of each round but the first, those of taking replies in, and the bytes of a reply."""
    clock, settings = Clock(), workload.config(CLIENTS, rounds, 0, False)
    settings |= {"runtime": {"executor": "serial"}, "compression": {"up": codec}}
    plain = UpdateAccumulator.accumulate

    def timed(self: UpdateAccumulator, total: Any, sent: RecordDict, reply: Message) -> Message:
        started = time.process_time()
        try:
            return plain(self, total, sent, reply)
        finally:
            clock.taking[-1] += time.process_time() - started

    UpdateAccumulator.accumulate = timed  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory() as folder:
            launch(load(settings), Path(folder) / "run", watcher=clock)
            run = fedasr.load_run(Path(folder) / "run")
            assert run.summary["parameters"] == PARAMETERS
            sent = float(run.clients["bytes_up"].mean())
    finally:
        UpdateAccumulator.accumulate = plain  # type: ignore[method-assign]
    whole = [b - a for a, b in pairwise(clock.times)]
    return whole[1:], clock.taking[1 : len(whole)], sent


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    whole: dict[str, list[float]] = {codec: [] for codec in CODECS}
    taking: dict[str, list[float]] = {codec: [] for codec in CODECS}
    sent: dict[str, float] = {}
    for _ in range(arguments.repeats):
        for codec in CODECS:
            rounds, taken, sent[codec] = measured(codec, arguments.rounds)
            whole[codec] += rounds
            taking[codec] += taken
    print("| codec | bytes of a reply | seconds a round | taking replies in | share of the round |")
    print("|---|---|---|---|---|")
    for codec in CODECS:
        shares = [part / all_ for part, all_ in zip(taking[codec], whole[codec], strict=True)]
        spread = f"{100 * median(shares):.1f} % ({100 * min(shares):.1f}–{100 * max(shares):.1f})"
        print(f"| {codec} | {sent[codec]:,.0f} | {median(whole[codec]):.3f} | {median(taking[codec]):.4f} | {spread} |")


if __name__ == "__main__":
    main()
