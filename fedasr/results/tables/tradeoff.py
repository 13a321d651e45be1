"""Error rate against ε: what privacy costs, mechanism by mechanism, with everything that an ε depends on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fedasr.errors import InputError
from fedasr.privacy.ledger import PUBLIC_SEED, SECRET
from fedasr.results.load import Run
from fedasr.results.tables.groups import Runs, flatten, swept, unique
from fedasr.results.tables.statistics import mean_interval

PUBLIC = "no privacy"
NOTHING = "nothing released"
"""A run of PATE whose budget afforded no label: its student learnt public speech alone, and ε is 0."""
MECHANISM = {
    "data.corpus": "",
    "data.manifest": "",
    "model.name": "",
    "strategy.name": "",
    "pate.mechanism": "",
    "pate.unit": "votes on each ",
    "pate.simulated_teachers": "simulated teachers: ",
    "privacy.unit": "",
    "privacy.noise_at": "noise at the ",
    "privacy.micro_batches": "micro-batches ",
}
"""What sets mechanisms apart, and what stands before the value in their names; the rest of a config may be tuned."""
ASKED = "-"
"""Value of ``pate.simulated_teachers`` where the teachers were asked."""
COLUMNS = ["mechanism", "unit", "epsilon", "delta", "adjacency", "seen_by", "sampling", "population", "randomness", "n",
           "seeds"]  # fmt: skip


def tradeoff(runs: Runs, metric: str = "wer") -> pd.DataFrame:
    """Return one row per mechanism and budget.

    Args:
        runs: ``Run`` objects or run folders, private or not; those that differ only in their seed become one row.
        metric: a numeric column of ``rounds``; its last value counts.

    Returns:
        ``mechanism``; ``unit, epsilon, delta, adjacency, seen_by, sampling, population, randomness`` as in
        ``privacy.json`` (ε: the largest over the seeds; infinite without privacy, 0 where nothing was released, and
        then the rest empty);
        ``n`` seeds and which; the metric's mean, ``<metric>_low`` and ``<metric>_high``, the 95 % t interval over
        seeds. By mechanism, then ε.

    Raises:
        InputError: no runs, a folder is not a run folder, or a run has not ended or never measured the metric.
    """
    points: dict[tuple[str, float, str], list[Run]] = {}
    names = mechanism_names(distinct := unique(runs))
    for run in distinct:
        points.setdefault((names[run.path], allowance(run), identity(run)), []).append(run)
    rows = []
    for (name, _, _), members in points.items():
        by_seed = {run.seed: run for run in members}
        if len(by_seed) < len(members):
            twice = sorted(run.seed for run in members if by_seed[run.seed] is not run)[0]
            where = str(next(run.path for run in members if by_seed[run.seed] is not run))
            raise InputError(
                f"repeats seed {twice} of '{name}' at the same budget; give each mechanism, budget and seed once",
                where=where,
            )
        values = np.array([run.last(metric) for run in members], np.float64)
        if not np.isfinite(values).all():
            where = str(members[int(np.argmin(np.isfinite(values)))].path)
            raise InputError(f"has no '{metric}' after its last round", where=where)
        mean, low, high = mean_interval(values)
        facts = {"mechanism": name, **privacy_facts(members), "n": len(members), "seeds": sorted(by_seed)}
        rows.append(facts | {metric: float(mean), f"{metric}_low": float(low), f"{metric}_high": float(high)})
    table = pd.DataFrame(rows, columns=[*COLUMNS, metric, f"{metric}_low", f"{metric}_high"])
    return table.sort_values(["mechanism", "epsilon"], kind="stable", ignore_index=True)


def allowance(run: Run) -> float:
    """Return what groups runs over seeds: the budget, or without one the noise, infinite without privacy."""
    privacy = run.config.get("privacy") or {}
    if privacy.get("unit", "none") == "none":
        return math.inf
    if released_nothing(run):
        return 0.0
    value = privacy.get("epsilon") or privacy.get("noise_multiplier")
    return float(value or math.nan)


def released_nothing(run: Run) -> bool:
    """Say whether a run of PATE has ended without a label that was paid for."""
    strategy = (run.config.get("strategy") or {}).get("name")
    return strategy == "pate" and run.status == "done" and run.privacy is None and run.summary.get("epsilon") == 0


def study(run: Run) -> str:
    """Return what a run is part of: the folder of its sweep, or by itself its name."""
    return run.path.resolve().parent.name if swept(run.path.name) else run.name


def identity(run: Run) -> str:
    """Return what the seeds of one point have in common: the whole config but the seed."""
    return repr(sorted((key, repr(value)) for key, value in flatten(run.config).items()))


def mechanism_names(runs: Sequence[Run]) -> dict[Path, str]:
    """Return a name for each run: the mechanism, by the keys in which the runs differ."""
    values = {run.path: settings(run) for run in runs}
    private = [settings_of for settings_of in values.values() if settings_of["privacy.unit"] != "none"]
    kinds = {key: {settings_of[key] for settings_of in private} for key in MECHANISM if key != "privacy.unit"}
    # Runs without PATE have no value of its keys: that alone sets nothing apart.
    differing = [key for key, kind in kinds.items() if len(kind - {""} if key.startswith("pate.") else kind) > 1]
    public = {identity(run) for run in runs if values[run.path]["privacy.unit"] == "none"}
    names = {}
    for run in runs:
        path, settings_of = run.path, values[run.path]
        if settings_of["privacy.unit"] == "none":
            # Each study has runs without privacy of its own.
            parts = [PUBLIC, study(run)] if len(public) > 1 else [PUBLIC]
        elif released_nothing(run):
            speech = [key for key in differing if key.startswith(("data.", "model."))]
            parts = [NOTHING, *(f"{MECHANISM[key]}{settings_of[key]}" for key in speech)]
        else:
            differences = [
                f"{MECHANISM[key]}{settings_of[key]}" for key in differing if settings_of[key] not in ("", ASKED)
            ]
            parts = [f"{settings_of['privacy.unit']}-level", *differences]
        names[path] = ", ".join(part for part in parts if part)
    return names


def settings(run: Run) -> dict[str, str]:
    """Return a run's values of the keys of ``MECHANISM``, a path as its folder."""
    chosen = {}
    for key in MECHANISM:
        node: Any = run.config
        for part in key.split("."):
            node = None if node is None else node.get(part)
        chosen[key] = "" if node is None else str(node)
    chosen["pate.simulated_teachers"] = chosen["pate.simulated_teachers"] or ASKED
    if chosen["strategy.name"] != "pate":  # its keys are in every config
        chosen.update({key: "" for key in chosen if key.startswith("pate.")})
    chosen["privacy.unit"] = chosen["privacy.unit"] or "none"
    if chosen["data.manifest"]:
        chosen["data.manifest"] = Path(chosen["data.manifest"]).parent.name
    return chosen


def privacy_facts(runs: Sequence[Run]) -> dict[str, Any]:
    """Return what an ε depends on, of runs that share a budget.

    Raises:
        InputError: a private run has no single ε, because it has not ended or releases of several units.
    """
    empty = {"unit": "", "epsilon": math.inf, "delta": math.nan, "adjacency": "", "seen_by": "", "sampling": "",
             "population": "", "randomness": ""}  # fmt: skip
    if allowance(runs[0]) in (0.0, math.inf):
        return empty | {"epsilon": allowance(runs[0])}
    documents = []
    for run in runs:
        document = run.privacy or {}
        if document.get("epsilon") is None:
            raise InputError("has no single ε; expected a finished private run", where=str(run.path / "privacy.json"))
        documents.append(document)
    populations = {document["population"] for document in documents}
    return {
        "unit": documents[0]["unit"],
        "epsilon": max(float(document["epsilon"]) for document in documents),
        "delta": documents[0]["delta"],
        "adjacency": documents[0]["adjacency"],
        "seen_by": documents[0]["seen_by"],
        "sampling": documents[0]["sampling"],
        "randomness": SECRET if all(document.get("randomness") == SECRET for document in documents) else PUBLIC_SEED,
        "population": " to ".join(str(p) for p in sorted({min(populations, key=number), max(populations, key=number)})),
    }


def number(population: object) -> float:
    """Return a population to compare by; None, where it changed during a run, comes last."""
    return math.inf if population is None else float(str(population))
