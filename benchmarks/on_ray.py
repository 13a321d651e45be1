"""Seconds a round on one Ray cluster: FedASR (``runtime.name=ray``), Flower's engine, and FedASR without Ray.

    python -m benchmarks.on_ray                        # workloads O and W, 10,000 clients
    python -m benchmarks.on_ray --workloads O --repeats 5

The cluster has two nodes of one CPU each on this machine. The systems take turns on it; a ratio is the median of the
ratios of neighbouring runs. The table goes to ``docs/results/ray.md``.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.measure import Measurement, measure

NODES = 2
NAMES = {"flower": "Flower's engine", "fedasr": "FedASR, `ray`", "local": "FedASR, `local`"}
MODULES = {"flower": "benchmarks.run_flower", "fedasr": "benchmarks.run_fedasr", "local": "benchmarks.run_fedasr"}


@contextmanager
def cluster() -> Iterator[str]:
    """Start the cluster and return its address."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "OMP_NUM_THREADS": "1"}
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 500_000_000}
    nodes = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    for _ in range(NODES - 1):
        nodes.add_node(**node)
    try:
        yield str(nodes.address)
    finally:
        nodes.shutdown()


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=10000)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workloads", nargs="+", default=["O", "W"], choices=["W", "O"])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    lines = [
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; {NODES} nodes of one CPU,"
        f" {arguments.clients:,} clients, 50 a round, {arguments.rounds} rounds, {arguments.repeats} repeats in turn,"
        " median (lowest–highest).",
        "",
        "| workload | system | seconds a round | Flower's engine / it | wall, whole process (s) |",
        "|---|---|---|---|---|",
    ]
    with cluster() as address:
        for workload in arguments.workloads:
            result: dict[str, list[Measurement]] = {name: [] for name in NAMES}
            for _ in range(arguments.repeats):
                for name in NAMES:
                    options = ["--clients", str(arguments.clients), "--rounds", str(arguments.rounds)]
                    options += ["--workers", str(NODES)] + (["--echo"] if workload == "O" else [])
                    options += [] if name == "local" else ["--ray-address", address]
                    result[name].append(measure(MODULES[name], *options))
            for name in NAMES:
                lines.append(row(workload, name, result[name], result["flower"]))
                print(lines[-1], flush=True)
    text = "\n".join(lines) + "\n"
    if arguments.out:
        arguments.out.write_text(text)
    print(text)


def row(workload: str, name: str, runs: list[Measurement], flower: list[Measurement]) -> str:
    """Return a row of the table."""
    seconds = sorted(run.round_s for run in runs)
    ratios = sorted(base.round_s / run.round_s for run, base in zip(runs, flower, strict=True))
    spread = f"{median(seconds):.4f} ({seconds[0]:.4f}–{seconds[-1]:.4f})"
    times = f"{median(ratios):.1f} ({ratios[0]:.1f}–{ratios[-1]:.1f})"
    return f"| {workload} | {NAMES[name]} | {spread} | {times} | {median(run.wall_s for run in runs):.1f} |"


if __name__ == "__main__":
    main()
