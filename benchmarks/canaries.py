"""What canary users cost a run, and whether its model is as good: the same private config with some and with none.

python -m benchmarks.canaries [--canaries 200] [--clients 2000] [--rounds 4] [--repeats 3] [--wer]

Both take turns, and both have the same number of clients in a cohort on average: with M canary users beside N clients
the cohort is (N + M)/N times as large. A round's seconds are processor time of the server and its clients, which run
in one process, over those clients that trained, so that other work on the machine and the chance of the cohorts change
them little. ``--wer`` evaluates the last model of each seed, with and without.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import fedasr

COHORT = 100


def config(clients: int, canaries: int, rounds: int, seed: int) -> dict[str, Any]:
    """Return the config of a run."""
    speech = {"grammar": "keywords", "speakers": clients, "utterances_per_speaker": 8, "activity": "constant"}
    return {
        "name": f"canaries-{canaries}",
        "seed": seed,
        "rounds": rounds,
        "data": {"corpus": "synthetic", "synthetic": speech | {"test_speakers": 20}, "cache": {"memory_mb": 500}},
        "model": {"name": "ctc", "encoder": "blstm", "channels": [32, 48], "hidden": 48, "layers": 1},
        "client": {"optimizer": "adamw", "learning_rate": 0.002, "epochs": 2, "batch_size": 4},
        "strategy": {"name": "fedavgm", "momentum": 0.8, "weighting": "uniform"},
        "selection": {"name": "poisson", "clients_per_round": round(COHORT * (clients + canaries) / clients)},
        "privacy": {"unit": "user", "noise_multiplier": 0.73, "clip_norm": 0.2, "clipping": "per-layer"},
        "audit": {"canaries": canaries},
        "evaluate": {"every": 0, "transcripts": 0},
        "runtime": {"executor": "serial"},
    }


class Clock(fedasr.Callback):
    """Notes the processor seconds of each round: from one checkpoint to the next."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.replied: list[float] = []

    def on_start(self, run: Any) -> None:
        """Start the first round."""
        self.at.append(spent())

    def on_round(self, row: Any) -> None:
        """End a round."""
        self.at.append(spent())
        self.replied.append(row["clients_replied"])


def spent() -> float:
    """Return the processor seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def one(clients: int, canaries: int, rounds: int, seed: int) -> tuple[list[float], float, float]:
    """Run; return the seconds per client of each round but the first and last, those after the rounds, and the WER.

    The last round evaluates, and the first fills caches.
    """
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        run = fedasr.run(
            config(clients, canaries, rounds, seed), out=Path(folder) / "run", quiet=True, callbacks=[clock]
        )
        after = spent() - clock.at[-1]
        took = [after - before for before, after in zip(clock.at, clock.at[1:], strict=False)]
        return [s / n for s, n in zip(took, clock.replied, strict=True)][1:-1], after, float(run.summary["wer"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--canaries", type=int, default=200)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--wer", action="store_true", help="print the WER of each seed as well")
    given = parser.parse_args()
    started = time.perf_counter()
    result: dict[int, list[tuple[list[float], float, float]]] = {0: [], given.canaries: []}
    for seed in range(given.repeats):
        for canaries, results in result.items():
            results.append(one(given.clients, canaries, given.rounds, seed))
    ratios = [median(some[0]) / median(none[0]) for none, some in zip(result[0], result[given.canaries], strict=True)]
    print(f"a round with {given.canaries} canary users over one with none, processor seconds per client that trained:")
    print(f"  {median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}), {given.repeats} pairs")
    ends = {canaries: median(after for _, after, _ in results) for canaries, results in result.items()}
    print(f"after the last round: {ends[given.canaries] - ends[0]:.1f} s more, once a run")
    if given.wer:
        for canaries, results in result.items():
            rates = [100 * wer for _, _, wer in results]
            spread = stdev(rates) if len(rates) > 1 else float("nan")
            shown = ", ".join(f"{rate:.1f}" for rate in rates)
            print(f"WER with {canaries}: {mean(rates):.1f} % (deviation {spread:.1f}): {shown}")
    print(f"in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
