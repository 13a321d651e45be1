"""Time and memory that a selection takes, for each selector, among a million devices.

python -m benchmarks.selection [--clients 1000000] [--cohort 100] [--rounds 7]

Each selector runs in a process of its own. A tenth of the devices have taken part before, in rounds of the cohort's
size each; every reply of a measured round is fed back. Times are the median of the rounds after the first, which
finds who is selectable. They stand beside two plain ways: a list of the devices that store something, and
`random.sample` of it; and NumPy's `choice` without replacement with probabilities, which does not give the devices the
inclusion probabilities asked for. Memory is the peak of the resident set above what it is after the imports, with the
roster.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.measure import ROOT
from fedasr import seeds
from fedasr.config.schema import SelectionConfig
from fedasr.data.roster import Roster
from fedasr.strategies.selection import SELECTORS, Feedback, Selector, make_selector

VARIANTS = {
    **{name: SelectionConfig(name=name) for name in SELECTORS},
    "activity, exponent 0.5": SelectionConfig(name="activity", exponent=0.5),
    "activity, with replacement": SelectionConfig(name="activity", replacement=True),
    "round-robin, separation 1000": SelectionConfig(name="round-robin", separation=1000),
    "power-of-choice, last": SelectionConfig(name="power-of-choice", probe="last"),
}
EXPLORED = 0.1


def peak_mb() -> float:
    """Return the largest resident set of this process so far, in megabytes (``ru_maxrss`` has the parent's in it)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def population(clients: int) -> Roster:
    """Return devices whose counts are log-normal, as in the synthetic corpora."""
    rng = seeds.generator(0, "benchmark")
    stored = np.maximum(1, rng.lognormal(np.log(10), 0.8, clients)).astype(np.int64)
    return Roster.from_counts(stored, stored * rng.uniform(1.0, 5.0, clients))


def feed(selector: Selector, roster: Roster, round: int, chosen: np.ndarray) -> None:
    """Report plausible losses and durations."""
    rng = seeds.generator(1, "benchmark", round)
    loss, duration = rng.uniform(0.5, 3.0, len(chosen)), rng.lognormal(3.0, 0.5, len(chosen))
    roster.note(round, chosen, loss, duration)
    nobody = np.zeros(0, np.int64)
    selector.observe(Feedback(round, chosen, loss, loss**2, roster.utterances[chosen], duration, nobody))


def one(name: str, clients: int, cohort: int, rounds: int) -> dict[str, float]:
    """Measure a selector in this process."""
    before = peak_mb()
    roster = population(clients)
    with_roster = peak_mb()
    selector = make_selector(VARIANTS[name])
    if hasattr(selector, "probe"):
        selector.probe = lambda round, asked: np.sin(asked.astype(np.float64))
    past = int(EXPLORED * clients) // cohort
    taken = seeds.generator(2, "benchmark").permutation(clients)[: past * cohort].reshape(past, cohort)
    for round, chosen in enumerate(taken, 1):
        feed(selector, roster, round, chosen)
    seconds = []
    for round in range(past + 1, past + 1 + rounds):
        started = time.perf_counter()
        selection = selector.select(round, roster, cohort, seeds.generator(0, "selection", round))
        seconds.append(time.perf_counter() - started)
        feed(selector, roster, round, selection.clients)
    peak = peak_mb()
    started = time.perf_counter()
    state = json.dumps(selector.state_dict())
    saved = time.perf_counter() - started
    return {
        "seconds": median(seconds[1:]),
        "first": seconds[0],
        "roster_mb": with_roster - before,
        "memory_mb": peak - before,
        "state_mb": len(state) / 2**20,
        "state_seconds": saved,
    }


def timed(action: Callable[[], object], times: int) -> float:
    """Return the median seconds of an action."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    return median(seconds)


def plain_ways(clients: int, cohort: int, rounds: int) -> tuple[float, float]:
    """Return the seconds of uniform and of proportional selection without a selector."""
    stored = population(clients).utterances
    listed, draws = stored.tolist(), random.Random(0)
    uniform = timed(lambda: draws.sample([i for i in range(clients) if listed[i] > 0], cohort), rounds)
    rng = np.random.default_rng(0)
    proportional = timed(lambda: rng.choice(clients, cohort, replace=False, p=stored / stored.sum()), rounds)
    return uniform, proportional


def main() -> None:
    """Measure all selectors and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=1_000_000)
    parser.add_argument("--cohort", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        print(json.dumps(one(given.one, given.clients, given.cohort, given.rounds)))
        return
    uniform, proportional = plain_ways(given.clients, given.cohort, given.rounds)
    print(f"{given.clients} devices, {given.cohort} a round; list and random.sample {1000 * uniform:.0f} ms,", end=" ")
    print(f"numpy choice by activity {1000 * proportional:.0f} ms\n")
    print("| selector | ms a selection | ms the first | MB with the roster | MB of state | ms to save it |")
    print("|---|---|---|---|---|---|")
    numbers = ["--clients", str(given.clients), "--cohort", str(given.cohort), "--rounds", str(given.rounds)]
    for name in VARIANTS:
        command = [sys.executable, "-m", "benchmarks.selection", "--one", name, *numbers]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
        result = json.loads(done.stdout)
        cells = (
            f"{1000 * result['seconds']:.1f}",
            f"{1000 * result['first']:.0f}",
            f"{result['memory_mb']:.0f}",
            f"{result['state_mb']:.2f}",
            f"{1000 * result['state_seconds']:.0f}",
        )
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print(f"\nThe roster alone: {result['roster_mb']:.0f} MB.")


if __name__ == "__main__":
    main()
