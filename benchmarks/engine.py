"""Seconds a round, wall time and memory of FedASR beside the bare PyTorch loop and Flower + Ray, in the same run.

    python -m benchmarks.engine                     # workloads W and O, 1,000 and 10,000 clients
    python -m benchmarks.engine --clients 1000000 --no-flower

The systems take turns, so that a machine whose speed drifts is fair to all; a ratio is the median of the ratios of
neighbouring runs. The table goes to ``docs/results/engine.md``.
"""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path
from statistics import median

from benchmarks.measure import Measurement, measure

SYSTEMS = {"loop": "benchmarks.run_loop", "fedasr": "benchmarks.run_fedasr", "flower": "benchmarks.run_flower"}
NAMES = {"loop": "bare PyTorch loop", "fedasr": "FedASR", "flower": "Flower + Ray"}


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--workloads", nargs="+", default=["W", "O"], choices=["W", "O"])
    parser.add_argument("--flower-repeats", type=int, default=2)
    parser.add_argument("--no-flower", action="store_true")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    systems = ["loop", "fedasr"] + ([] if arguments.no_flower else ["flower"])
    lines = [
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()};"
        f" {arguments.workers} worker processes, {arguments.rounds} rounds, {arguments.repeats} repeats in turn,"
        " median (lowest–highest).",
        "",
        "| workload | clients | system | seconds a round | × loop | wall, whole process (s) | memory, PSS (MB) |",
        "|---|---|---|---|---|---|---|",
    ]
    for workload in arguments.workloads:
        for clients in arguments.clients:
            result: dict[str, list[Measurement]] = {name: [] for name in systems}
            for repeat in range(arguments.repeats):
                for name in systems:
                    if name == "flower" and repeat >= arguments.flower_repeats:
                        continue  # it takes long, and the gap is not close
                    options = ["--clients", str(clients), "--rounds", str(arguments.rounds)]
                    options += ["--workers", str(arguments.workers)] + (["--echo"] if workload == "O" else [])
                    result[name].append(measure(SYSTEMS[name], *options))
            for name in systems:
                lines.append(row(workload, clients, name, result[name], result["loop"]))
                print(lines[-1], flush=True)
    text = "\n".join(lines) + "\n"
    if arguments.out:
        arguments.out.write_text(text)
    print(text)


def row(workload: str, clients: int, name: str, runs: list[Measurement], loop: list[Measurement]) -> str:
    """Return a row of the table."""
    seconds = sorted(run.round_s for run in runs)
    ratio = median(run.round_s / base.round_s for run, base in zip(runs, loop, strict=False))
    wall, memory = median(run.wall_s for run in runs), max(run.memory_mb for run in runs)
    spread = f"{median(seconds):.4f} ({seconds[0]:.4f}–{seconds[-1]:.4f})"
    return f"| {workload} | {clients:,} | {NAMES[name]} | {spread} | {ratio:.2f} | {wall:.1f} | {memory:.0f} |"


if __name__ == "__main__":
    main()
