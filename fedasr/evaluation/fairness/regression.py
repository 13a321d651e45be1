"""Ratios of error rates between groups, adjusted for what else sets their utterances and speakers apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, ndtri

from fedasr.evaluation.fairness.gaps import Estimate
from fedasr.evaluation.fairness.mixed_poisson import Fit, MixedPoisson
from fedasr.typing import Floats

Z = float(ndtri(0.975))
MOST_FITS, CLOSE = 4, 0.05
"""Of the dispersion: how often it is found anew, and a relative change that is none."""


@dataclass(frozen=True)
class Adjusted:
    """What the regression says."""

    reference: str
    """the group with the most speakers, to which the others are compared"""
    ratios: dict[str, Estimate]
    """of each other group's error rate to the reference's, all else equal"""
    covariates: dict[str, Estimate]
    """of the error rate, for one standard deviation more of each covariate"""
    left_out: dict[str, str] = field(default_factory=dict)
    """covariates that are not in it, and why"""
    sigma: float = 0.0
    """standard deviation of the speakers' effect on the logarithm of the error rate"""
    dispersion: float = float("nan")
    """of the errors within a speaker, over that of a Poisson number; above 1 it is allowed for"""
    p_value: float = float("nan")
    """of the likelihood-ratio test that all groups are alike, all else equal"""


def adjusted(
    groups: npt.NDArray[Any],
    speakers: npt.NDArray[Any],
    words: npt.NDArray[np.int64],
    errors: npt.NDArray[np.int64],
    covariates: Mapping[str, Floats],
) -> Adjusted | str:
    """Return the mixed-effects Poisson regression of errors on groups and covariates, or why there is none.

    Args:
        groups: of each utterance, shape ``(utterances,)``, as all that follow.
        speakers: of each utterance.
        words: of each reference; utterances without are left out.
        errors: of each utterance.
        covariates: by name.
    """
    labels = np.asarray(groups).astype(str)
    wrong = {name: errors[(labels == name) & (words > 0)].sum() for name in np.unique(labels).tolist()}
    used = (words > 0) & np.isin(labels, [name for name, count in wrong.items() if count])
    names = sorted(set(labels[used].tolist()))
    if len(names) < 2:
        return "fewer than two groups have errors"
    counts = {name: len(set(np.asarray(speakers)[used & (labels == name)].tolist())) for name in names}
    if sum(counts.values()) <= len(names):
        return "each group has one speaker, whose rate is the group's"
    reference = max(names, key=lambda name: counts[name])
    others = [name for name in names if name != reference]
    design = np.stack([np.ones(used.sum()), *((labels[used] == name).astype(np.float64) for name in others)], axis=1)
    kept, left_out = [], {}
    for name, values in covariates.items():
        column = np.asarray(values, np.float64)[used]
        if not np.isfinite(column).all():
            left_out[name] = "not known of all utterances"
            continue
        spread = float(column.std())
        if spread <= 1e-9 * max(1.0, float(np.abs(column).max())):
            left_out[name] = "the same for all"
            continue
        wider = np.column_stack([design, (column - column.mean()) / spread])
        if np.linalg.matrix_rank(wider, tol=1e-6 * np.sqrt(len(wider))) < wider.shape[1]:
            left_out[name] = "follows from the group and the other covariates"
            continue
        design = wider
        kept.append(name)
    try:
        full, dispersion = quasi_fit(errors[used], words[used], design, np.asarray(speakers)[used])
        without = np.delete(design, range(1, 1 + len(others)), axis=1)
        clumps = allowed_for(dispersion)
        null = MixedPoisson(errors[used] / clumps, words[used] / clumps, without, np.asarray(speakers)[used]).fit()
    except ArithmeticError as error:
        return str(error)
    statistic = max(2 * (full.log_likelihood - null.log_likelihood), 0.0)
    place = {name: 1 + index for index, name in enumerate([*others, *kept])}
    return Adjusted(
        reference,
        {name: ratio(full, place[name]) for name in others},
        {name: ratio(full, place[name]) for name in kept},
        left_out,
        full.sigma,
        dispersion,
        float(chdtrc(len(others), statistic)),
    )


def quasi_fit(
    errors: npt.NDArray[np.int64], words: npt.NDArray[np.int64], design: Floats, speakers: npt.NDArray[Any]
) -> tuple[Fit, float]:
    """Return the fit of the quasi-likelihood, and the dispersion.

    A word that is missed often goes with its neighbours, so that errors come in clumps and vary more than a Poisson
    number. The logarithm of the quasi-likelihood is that of Poisson over the dispersion: the likelihood of errors and
    words over it. The speaker effect is found beside it, and does not stand in for it.

    Raises:
        ArithmeticError: as ``MixedPoisson.fit``.
    """
    dispersion = 1.0
    fit = MixedPoisson(errors, words, design, speakers).fit()
    for _ in range(MOST_FITS - 1):
        result = dispersion * fit.dispersion
        if not np.isfinite(result) or abs(allowed_for(result) / dispersion - 1) < CLOSE:
            return fit, result
        dispersion = allowed_for(result)
        fit = MixedPoisson(errors / dispersion, words / dispersion, design, speakers).fit()
    return fit, dispersion


def allowed_for(dispersion: float) -> float:
    """Return by what errors and words are divided: not by less than 1, lest a lucky sample look certain."""
    return max(1.0, dispersion) if np.isfinite(dispersion) else 1.0


def ratio(fit: Fit, column: int) -> Estimate:
    """Return the ratio of rates of a coefficient, with its 95 % interval."""
    value, half = fit.coefficients[column], Z * fit.errors[column]
    return Estimate(*(float(np.exp(at)) for at in (value, value - half, value + half)))
