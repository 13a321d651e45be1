"""Do measures of fairness with and without errors rank models alike? Over finished runs whose groups were compared."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from fedasr import seeds
from fedasr.errors import InputError
from fedasr.results.load import Run
from fedasr.results.tables.fairness import read_fairness
from fedasr.results.tables.groups import Runs, group_runs, unique
from fedasr.typing import Floats

EXTRINSIC = ("gap", "voice_gap")
INTRINSIC = ("divergence", "kl", "sensitivity", "sensitivity_ratio")
MEASURES = (*EXTRINSIC, *INTRINSIC)
RESAMPLES = 2000
LEAST_MODELS, MODELS_FOR_INTERVAL = 3, 6


def voice_measures(runs: Runs, attribute: str) -> pd.DataFrame:
    """Return a row a run: the gap in WER between the levels of an attribute, and the divergence of the posteriors.

    Args:
        runs: compared by ``fedasr fairness RUN --counterfactual ATTRIBUTE``.
        attribute: of the voices, such as ``gender``.

    Returns:
        ``run, wer, gap, divergence``: the mean WER over the levels, fractions, and nats per token.

    Raises:
        InputError: a run has no such comparison.
    """
    rows = []
    for run in unique(runs):
        result = next((one for one in read_fairness(run.path) if one.get("counterfactual") == attribute), None)
        if result is None:
            raise InputError(
                f"'{attribute}' was not compared; run 'fedasr fairness {run.path} --counterfactual {attribute}' first",
                where=str(run.path),
            )
        groups = result["groups"].values()
        wer = sum(group["errors"] for group in groups) / max(sum(group["words"] for group in groups), 1)
        rows.append((str(run.path), wer, result["gap"]["difference"], result["divergence"]["value"]))
    return pd.DataFrame(rows, columns=["run", "wer", "gap", "divergence"])


def measures(runs: Runs, attribute: str) -> pd.DataFrame:
    """Return a row a run: all that its ``fairness.json`` says of an attribute.

    Args:
        runs: compared by ``fedasr fairness RUN --by ATTRIBUTE --intrinsic`` or ``--counterfactual ATTRIBUTE``.
        attribute: such as ``gender``.

    Returns:
        ``run, label`` (runs that differ only in their seed have the same one), the extrinsic ``gap`` between groups and
        ``voice_gap`` between levels of the same speech, fractions; the intrinsic ``divergence``, ``kl`` and
        ``sensitivity`` in nats per token, and ``sensitivity_ratio``. NaN: not measured.

    Raises:
        InputError: a run has neither comparison.
    """
    rows = [
        {"run": str(run.path), "label": group.label, **measured(run, attribute)}
        for group in group_runs(runs)
        for run in group.runs
    ]
    return pd.DataFrame(rows, columns=["run", "label", *MEASURES])


def measured(run: Run, attribute: str) -> dict[str, float]:
    """Return the measures of an attribute of one run; NaN where one was not measured."""
    found = read_fairness(run.path)
    groups = next((one for one in found if one["attribute"] == attribute), None)
    voices = next((one for one in found if one.get("counterfactual") == attribute), None)
    if groups is None and voices is None:
        raise InputError(
            f"'{attribute}' was not compared; run 'fedasr fairness {run.path} --by {attribute} --intrinsic' first",
            where=str(run.path),
        )
    sensitivity = (groups or {}).get("sensitivity", {})
    values = {
        "gap": (groups or {}).get("gap", {}).get("difference"),
        "voice_gap": (voices or {}).get("gap", {}).get("difference"),
        "divergence": (voices or {}).get("divergence", {}).get("value"),
        "kl": (voices or {}).get("kl", {}).get("value"),
        "sensitivity": sensitivity.get("value"),
        "sensitivity_ratio": sensitivity.get("ratio", {}).get("value"),
    }
    return {name: math.nan if value is None else float(value) for name, value in values.items()}


def rank_correlations(runs: Runs, attribute: str) -> pd.DataFrame:
    """Return Spearman's rank correlation of each intrinsic with each extrinsic measure over runs.

    Args:
        runs: as in ``measures``.
        attribute: such as ``gender``.

    Returns:
        ``intrinsic, extrinsic, correlation, low, high, models, n``: the 95 % bootstrap interval over models, that is
        over configs with all their seeds, ``n`` runs in all; NaN for fewer than six. A pair that fewer than three
        models have is left out.

    Raises:
        InputError: as ``measures``.
    """
    table = measures(runs, attribute)
    rows = []
    for intrinsic in INTRINSIC:
        for extrinsic in EXTRINSIC:
            there = table[np.isfinite(table[intrinsic]) & np.isfinite(table[extrinsic])]
            if there["label"].nunique() >= LEAST_MODELS:
                first, second = (there[name].to_numpy(np.float64) for name in (intrinsic, extrinsic))
                found = correlate(first, second, there["label"])
                rows.append({"intrinsic": intrinsic, "extrinsic": extrinsic, **found})
    return pd.DataFrame(rows, columns=["intrinsic", "extrinsic", "correlation", "low", "high", "models", "n"])


def rank_correlation(runs: Runs, attribute: str) -> dict[str, float]:
    """Return Spearman's rank correlation of the gap between the levels of an attribute and the divergence over runs.

    Returns:
        ``correlation, low, high, models, n``, as ``rank_correlations`` has them.

    Raises:
        InputError: as ``voice_measures``, or there are fewer than three models.
    """
    table = voice_measures(runs, attribute)
    label = {str(run.path): group.label for group in group_runs(runs) for run in group.runs}
    table = table[table["run"].isin(label)]
    labels = table["run"].map(label)
    if labels.nunique() < LEAST_MODELS:
        raise InputError(
            f"{labels.nunique()} models have no ranks to correlate; expected three or more, and ten to say something"
        )
    return correlate(table["gap"].to_numpy(np.float64), table["divergence"].to_numpy(np.float64), labels)


def correlate(first: Floats, second: Floats, labels: pd.Series[str]) -> dict[str, float]:
    """Return Spearman's correlation, with the percentile bootstrap interval over the models that ``labels`` name.

    Seeds of one config are alike, so that they are drawn together. For eight independent models or more the interval
    contains the truth in 94 to 98 % of simulated samples; it is left out below six, where it is too narrow.
    """
    value = float(spearman(first, second, np.ones((1, len(first))))[0])
    models, place = np.unique(labels.to_numpy().astype(str), return_inverse=True)
    low = high = math.nan
    if len(models) >= MODELS_FOR_INTERVAL:
        even = np.full(len(models), 1 / len(models))
        times = seeds.generator(0, "fairness/ranks").multinomial(len(models), even, RESAMPLES)
        drawn = spearman(first, second, times[:, place].astype(np.float64))
        drawn = drawn[np.isfinite(drawn)]
        if len(drawn):
            low, high = (float(end) for end in np.quantile(drawn, (0.025, 0.975)))
    return {"correlation": value, "low": low, "high": high, "models": len(models), "n": len(first)}


def spearman(first: Floats, second: Floats, times: Floats) -> Floats:
    """Return the correlation of ranks where each value counts several times; NaN where one side is all alike.

    Args:
        first: shape ``(values,)``.
        second: the same shape.
        times: how often each counts, ``(samples, values)``.

    Returns:
        Shape ``(samples,)``.
    """
    total = times.sum(axis=1, keepdims=True)
    centred = []
    for values in (first, second):
        # Half of those that are equal are below: ties share the mean of their ranks.
        below = (values[:, None] < values) + 0.5 * (values[:, None] == values)
        ranks = times @ below
        centred.append(ranks - (times * ranks).sum(axis=1, keepdims=True) / total)
    a, b = centred
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt((times * a**2).sum(axis=1) * (times * b**2).sum(axis=1))
        return np.asarray((times * a * b).sum(axis=1) / spread, np.float64)
