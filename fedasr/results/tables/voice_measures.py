"""Do measures of fairness with and without errors rank models alike? Over runs that spoke their test speech again."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from fedasr.errors import InputError
from fedasr.results.tables.fairness import read_fairness
from fedasr.results.tables.groups import Runs, unique

Z = 1.959964


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


def rank_correlation(runs: Runs, attribute: str) -> dict[str, float]:
    """Return Spearman's rank correlation of gap and divergence over runs, with its 95 % interval.

    The interval is Fisher's, with the variance of Bonett and Wright (2000, doi:10.1007/BF02294183).

    Returns:
        ``correlation, low, high, n``; the interval is NaN for fewer than four runs.

    Raises:
        InputError: as ``voice_measures``, or there are fewer than three runs.
    """
    table = voice_measures(runs, attribute)
    count = len(table)
    if count < 3:
        raise InputError(f"{count} runs have no ranks to correlate; expected three or more, and ten to say something")
    result = float(spearmanr(table["gap"], table["divergence"]).statistic)
    low = high = math.nan
    if count > 3 and abs(result) < 1:
        half = Z * math.sqrt((1 + result**2 / 2) / (count - 3))
        low, high = (float(np.tanh(np.arctanh(result) + side * half)) for side in (-1, 1))
    return {"correlation": result, "low": low, "high": high, "n": count}
