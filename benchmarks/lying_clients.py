"""WER with clients that lie, for each aggregate: `python -m benchmarks.lying_clients --seeds 0 1 2`.

A liar sends ten times its update, the wrong way; which clients lie is drawn with the seed and stays. Prints a Markdown
table of mean ± standard deviation over the seeds, and each run's WER as JSON with --json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context, RecordDict

from benchmarks.liars import Liars
from fedasr.clients.client_app import app
from fedasr.config import load
from fedasr.experiment import as_json
from fedasr.flower.messages import RUN_ID
from fedasr.runtime.executors import PoolExecutor
from fedasr.runtime.grid import LocalGrid
from fedasr.runtime.launch import open_run, recorded
from fedasr.strategies.server_app import app as server_app

CLIENTS = 60
WORKERS = 2
CONFIG: dict[str, Any] = {
    "name": "lying-clients",
    "rounds": 15,
    "data": {
        "corpus": "synthetic",
        "synthetic": {
            "grammar": "words",
            "words": ["yes", "no", "stop", "up"],
            "speakers": CLIENTS,
            "test_speakers": 24,
            "min_snr_db": 25,
        },
    },
    "model": {"encoder": "blstm", "channels": [32, 48], "hidden": 32},
    "client": {"optimizer": "adamw", "learning_rate": 0.01, "batch_size": 5, "epochs": 2},
    "strategy": {"name": "fedavgm", "momentum": 0.8, "weighting": "uniform"},
    "selection": {"name": "uniform", "clients_per_round": 20},
    "evaluate": {"every": 0},
}
AGGREGATIONS: dict[str, list[str]] = {
    "mean": [],
    "median": ["strategy.aggregation=median"],
    "trimmed-mean, trim_share 0.3": ["strategy.aggregation=trimmed-mean", "strategy.trim_share=0.3"],
    "norm-bound, norm_bound 3": ["strategy.aggregation=norm-bound", "strategy.norm_bound=3"],
}
SHARES = (0.0, 0.1, 0.2)


def wer(changes: list[str], share: float, seed: int) -> float:
    """Return the WER after a run in which a share of the clients lies."""
    chosen = np.random.default_rng(seed).choice(CLIENTS, round(share * CLIENTS), replace=False)
    config = load(CONFIG, [*changes, f"seed={seed}"])
    executor = PoolExecutor(Liars(app, {int(client): "flip" for client in chosen}), "", WORKERS)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        run = open_run(config, out, resume=False)
        assert run is not None
        settings = {"experiment": as_json(run.config), "out": str(out), "resume": False}
        try:
            with recorded(out, config):
                server_app(LocalGrid(executor, CLIENTS), Context(RUN_ID, 0, {}, RecordDict(), settings))
        finally:
            executor.close()
        return float(json.loads((out / "summary.json").read_text())["wer"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = {
        name: [[wer(changes, share, seed) for seed in arguments.seeds] for share in SHARES]
        for name, changes in AGGREGATIONS.items()
    }
    if arguments.json:
        print(json.dumps(found))
        return
    print(f"| aggregation | {' | '.join(f'{100 * share:.0f} % lie' for share in SHARES)} |")
    print("|---|" + "---|" * len(SHARES))
    for name, rows in found.items():
        cells = (f"{np.mean(row):.3f} ± {np.std(row, ddof=1) if len(row) > 1 else 0:.3f}" for row in rows)
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
