"""Run folders for the tests of what reads them: small, but shaped as real runs are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from fedasr.evaluation.fairness.comparison import Outcomes, compare_groups
from fedasr.files import write_json
from fedasr.seeds import generator

MODEL_BYTES = 1_500_000


def make_run(
    folder: Path,
    *,
    seed: int = 0,
    selection: str = "uniform",
    rounds: int = 20,
    every: int = 1,
    name: str = "home",
    status: str | None = "done",
    wer: list[float] | None = None,
    audio_seconds: list[float] | None = None,
    failures: bool = True,
    config: dict[str, Any] | None = None,
    summary: dict[str, Any] | None = None,
) -> Path:
    """Write the run folder of 10 of 50 clients a round whose WER falls with noise that depends on the seed."""
    folder.mkdir(parents=True)
    rng = generator(seed, f"test-{selection}")
    tree: dict[str, Any] = {
        "name": name,
        "seed": seed,
        "rounds": rounds,
        "selection": {"name": selection, "clients_per_round": 10},
        "client": {"learning_rate": 0.002},
        "runtime": {"name": "local", "executor": "pool", "workers": 2},
    }
    for key, value in (config or {}).items():
        section, _, leaf = key.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[leaf] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    at = np.arange(1, rounds + 1)
    speed = 6 if selection == "uniform" else 4
    curve = np.array(wer) if wer is not None else 0.1 + 0.8 * np.exp(-at / speed) + 0.01 * rng.standard_normal(rounds)
    evaluated = (at % every == 0) | (at == rounds)
    failed = rng.binomial(2, 0.3, rounds) if failures else np.zeros(rounds, dtype=int)
    table = pd.DataFrame(
        {
            "round": at,
            "loss": np.where(evaluated, 30 * curve, np.nan),
            "wer": np.where(evaluated, curve, np.nan),
            "cer": np.where(evaluated, 0.4 * curve, np.nan),
            "train_loss": 28 * curve + 2,
            "clients_selected": 10,
            "clients_replied": 10 - failed,
            "clients_failed": failed,
            "examples": 100,
            "audio_seconds": audio_seconds if audio_seconds is not None else rng.uniform(150, 230, rounds),
            "bytes_up": (10 - failed) * MODEL_BYTES,
            "bytes_down": 10 * MODEL_BYTES,
            "wall_seconds": 0.75,
            "simulated_seconds": np.nan,
        }
    )
    table.to_parquet(folder / "rounds.parquet")
    rows = [
        (int(r), f"speaker-{client:03d}", 0.2, 10, 18.0, 12.5, MODEL_BYTES, "failed" if i < failed[r - 1] else "ok")
        for r in at
        for i, client in enumerate(rng.choice(50, 10, replace=False))
    ]
    columns = ["round", "client", "probability", "examples", "audio_seconds", "train_loss", "bytes_up", "status"]
    pd.DataFrame(rows, columns=columns).to_parquet(folder / "clients.parquet")
    if status is not None:
        facts = {
            "name": name, "status": status, "seed": seed, "rounds": rounds, "wer": float(curve[-1]) if rounds else None,
            "updates_per_second": 13.4, "wall_seconds": 21.0, "parameters": 381_216, "model_sha256": "9f" * 32,
        }  # fmt: skip
        (folder / "summary.json").write_text(json.dumps(facts | (summary or {})), encoding="utf-8")
    return folder


def add_activity(folder: Path, rates: list[float | None], at: int = 20) -> Path:
    """Add the WER of each decile of activity after a round, None where nobody is in the decile."""
    rows = [
        {"round": at, "period": 1, "decile": index + 1, "wer": rate, "words": 1000, "errors": round(1000 * rate),
         "clients": 5, "utterances": 20 * (index + 1)}
        for index, rate in enumerate(rates)
        if rate is not None
    ]  # fmt: skip
    extend(folder / "activity.parquet", rows)
    return folder


def add_periods(folder: Path, rates: list[list[float]], rounds_each: int = 4) -> Path:
    """Add the WER at the end of each period (a row) on the speech of each period so far (its entries)."""
    rows = [
        {"round": rounds_each * (period + 1), "period": period + 1, "test_period": tested + 1, "wer": rate,
         "cer": 0.4 * rate, "words": 500, "utterances": 100}
        for period, row in enumerate(rates)
        for tested, rate in enumerate(row)
    ]  # fmt: skip
    extend(folder / "periods.parquet", rows)
    return folder


def add_fairness(folder: Path) -> Path:
    """Add a comparison of twelve women and twelve men, who err twice as often, and one of a single speaker."""
    rng = generator(0, "test-fairness")
    speakers = np.array([f"s{number:02d}" for number in range(25)], object)
    groups = np.array(["f"] * 12 + ["<m>"] * 12 + ["x"], object)
    errors = rng.binomial(60, np.where(groups == "f", 0.1, 0.2))
    result = compare_groups("gender", Outcomes(speakers, np.full(25, 60), errors), groups, 0, 0.05)
    write_json(folder / "fairness.json", [result])
    return folder


def extend(file: Path, rows: list[dict[str, Any]]) -> None:
    """Append rows to a table."""
    before = [pd.read_parquet(file)] if file.exists() else []
    pd.concat([*before, pd.DataFrame(rows)]).to_parquet(file)


def simulate_clock(folder: Path, seconds: float) -> Path:
    """Give every round a simulated duration."""
    table = pd.read_parquet(folder / "rounds.parquet")
    table.assign(simulated_seconds=seconds).to_parquet(folder / "rounds.parquet")
    return folder


def two_strategies(folder: Path, seeds: int = 3, **options: Any) -> list[Path]:
    """Write ``seeds`` runs each of two selection strategies."""
    return [
        make_run(folder / f"{selection}-{seed}", seed=seed, selection=selection, name=f"{selection}-{seed}", **options)
        for selection in ("uniform", "activity")
        for seed in range(seeds)
    ]
