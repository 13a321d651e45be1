"""WER with Byzantine clients, for each attack and aggregate: `python -m benchmarks.byzantine --seeds 0 1 2`.

Which clients are Byzantine is drawn with the seed. Prints a Markdown table of mean ± standard deviation over the seeds,
and each run's WER as JSON with --json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import fedasr

CONFIG: dict[str, Any] = {
    "name": "byzantine",
    "rounds": 15,
    "data": {
        "corpus": "synthetic",
        "synthetic": {
            "grammar": "words",
            "words": ["yes", "no", "stop", "up"],
            "speakers": 60,
            "test_speakers": 24,
            "min_snr_db": 25,
        },
    },
    "model": {"encoder": "blstm", "channels": [32, 48], "hidden": 32},
    "client": {"optimizer": "adamw", "learning_rate": 0.01, "batch_size": 5, "epochs": 2},
    "strategy": {"name": "fedavgm", "momentum": 0.8, "weighting": "uniform"},
    "selection": {"name": "uniform", "clients_per_round": 20},
    "evaluate": {"every": 0},
    "runtime": {"workers": 2},
}
AGGREGATIONS: dict[str, dict[str, Any]] = {
    "mean": {"strategy.aggregation": "mean"},
    "median": {"strategy.aggregation": "median"},
    "trimmed-mean, trim_share 0.3": {"strategy.aggregation": "trimmed-mean", "strategy.trim_share": 0.3},
    "norm-bound, norm_bound 3": {"strategy.aggregation": "norm-bound", "strategy.norm_bound": 3.0},
}
ATTACKS: dict[str, dict[str, Any]] = {
    "none": {},
    "10 % sign-flip, factor 10": {"attack.name": "sign-flip", "attack.options.factor": 10, "attack.share": 0.1},
    "20 % sign-flip, factor 10": {"attack.name": "sign-flip", "attack.options.factor": 10, "attack.share": 0.2},
    "20 % alie": {"attack.name": "alie", "attack.share": 0.2},
    "20 % inner-product, epsilon 2": {
        "attack.name": "inner-product",
        "attack.options.epsilon": 2,
        "attack.share": 0.2,
    },
}


def wer(changes: dict[str, Any], seed: int) -> float:
    """Return the WER of a run."""
    with tempfile.TemporaryDirectory() as folder:
        run = fedasr.run(CONFIG, out=Path(folder) / "run", overrides={**changes, "seed": seed})
        return float(run.summary["wer"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rates = {
        aggregation: {attack: [wer({**how, **by}, seed) for seed in arguments.seeds] for attack, by in ATTACKS.items()}
        for aggregation, how in AGGREGATIONS.items()
    }
    if arguments.json:
        print(json.dumps(rates))
        return
    print(f"| aggregation | {' | '.join(ATTACKS)} |")
    print("|---|" + "---|" * len(ATTACKS))
    for aggregation, row in rates.items():
        cells = (
            f"{np.mean(values):.3f} ± {np.std(values, ddof=1) if len(values) > 1 else 0:.3f}" for values in row.values()
        )
        print(f"| {aggregation} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
