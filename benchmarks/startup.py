"""Processor time of whole commands until they have answered, beside an earlier state of the source.

python -m benchmarks.startup [--before CHECKOUT] [--repeats 3]

Each command is a process of its own; its seconds are those of user and system time, of its worker processes as well,
so that other work on the machine changes them little. The two states take turns; the table has the median
(lowest–highest).
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.measure import ROOT

COMMANDS = {
    "fedasr --version": ["--version"],
    "fedasr --help": ["--help"],
    "a wrong key: fedasr run quickstart round=3": ["run", "quickstart", "round=3"],
    "fedasr run quickstart rounds=0": ["run", "quickstart", "rounds=0"],
}


def seconds(arguments: list[str], checkout: Path) -> float:
    """Return the processor seconds of a command with the source of a checkout."""
    with tempfile.TemporaryDirectory() as folder:
        out = ["--out", f"{folder}/run"] if arguments[0] == "run" else []
        environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "fedasr.cli.main", *arguments, *out],
            cwd=folder, env=environment, capture_output=True, check=False,
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--before", type=Path, help="a checkout of the earlier state: git worktree add FOLDER COMMIT")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    states = {**({"before": given.before.resolve()} if given.before else {}), "now": ROOT}
    print(f"| command | {' | '.join(f'{name} (s)' for name in states)} |\n|---|{'---|' * len(states)}")
    for name, arguments in COMMANDS.items():
        result: dict[str, list[float]] = {state: [] for state in states}
        for repeat in range(given.repeats + 1):
            for state, checkout in states.items():
                spent = seconds(arguments, checkout)
                if repeat:  # the first compiles and fills caches
                    result[state].append(spent)
        cells = [f"{median(values):.2f} ({min(values):.2f}–{max(values):.2f})" for values in result.values()]
        print(f"| `{name}` | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
