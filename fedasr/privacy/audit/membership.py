"""Scores of membership: from the losses of a target model, and of shadow models that were trained with or without.

ℓ is a loss in nats per token, so that p = e^{−ℓ} is what the model gives a token on average.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedasr.typing import Floats

Bools = npt.NDArray[np.bool_]
LEAST_LOSS = 1e-9
"""Below it losses are not told apart: φ of a loss of zero is infinite."""
ENOUGH = 64
"""Shadow models from which on each utterance has deviations of its own."""


def stable_logit(loss: Floats) -> Floats:
    """Return φ = −ln(e^ℓ − 1), the logit of e^{−ℓ}, which is about Gaussian over models where p itself is not."""
    loss = np.maximum(loss, LEAST_LOSS)
    return np.asarray(-loss - np.log(-np.expm1(-loss)))


def lira(target: Floats, shadows: Floats, inside: Bools, enough: int = ENOUGH) -> Floats:
    """Return ln N(φ; μ_in, σ_in) − ln N(φ; μ_out, σ_out) (Carlini et al. 2022, arXiv 2112.03570).

    The centres are medians over shadow models. Deviations are common to all below ``enough`` of them: a few values say
    little about one's own.

    Args:
        target: φ of the model that is attacked, shape ``(n,)``.
        shadows: φ of the shadow models, shape ``(models, n)``.
        inside: whether a model was trained on it, shape ``(models, n)``.
        enough: shadow models of a kind.

    Returns:
        Shape ``(n,)``; NaN where no shadow model, or every one, was trained on it.
    """
    parts = []
    for kind in (inside, ~inside):
        values = np.where(kind, shadows, np.nan)
        count = kind.sum(0)
        centre = np.full(shadows.shape[1], np.nan)
        centre[count > 0] = np.nanmedian(values[:, count > 0], axis=0)
        squares = np.nansum((values - centre) ** 2, axis=0)
        free = np.maximum(count - 1, 0)
        common = squares.sum() / max(1, free.sum())
        own = squares / np.maximum(free, 1)
        variance = np.maximum(own if count.min(initial=enough) >= enough else common, 1e-12)
        parts.append(-((target - centre) ** 2) / (2 * variance) - np.log(variance) / 2)
    return np.asarray(parts[0] - parts[1])


def freedom(inside: Bools) -> int:
    """Return how many values tell of the deviations in ``lira``, of the kind that has fewer."""
    return min(int(np.maximum(kind.sum(0) - 1, 0).sum()) for kind in (inside, ~inside))


def shape_of(shadows: Floats, inside: Bools) -> tuple[float, float]:
    """Return skewness and excess kurtosis of φ around the centres of its kind: both 0 where it is Gaussian.

    Args:
        shadows: φ, shape ``(models, n)``.
        inside: whether a model was trained on it, shape ``(models, n)``.
    """
    residuals = []
    for kind in (inside, ~inside):
        several = kind.sum(0) > 1
        values = np.where(kind, shadows, np.nan)[:, several]
        if values.size:
            rest = values - np.nanmean(values, axis=0)
            residuals.append(rest[np.isfinite(rest)] / max(float(np.nanstd(rest)), 1e-12))
    joined = np.concatenate(residuals) if residuals else np.zeros(0)
    if len(joined) < 3:
        return float("nan"), float("nan")
    return float((joined**3).mean()), float((joined**4).mean() - 3)


def ratios(loss: Floats, shadows: Floats, inside: Bools, share: float = 0.3) -> Floats:
    """Return ln p(x|θ)/p(x) of RMIA: how much likelier than models that may or may not have seen it find it.

    p(x) = ½((1 + a)·p̄_out + 1 − a), from models that were not trained on it alone (Zarifzadeh, Liu and Shokri 2024,
    arXiv 2312.03262).

    Args:
        loss: ℓ of the target, shape ``(n,)``.
        shadows: ℓ of the shadow models, shape ``(models, n)``.
        inside: whether a model was trained on it, shape ``(models, n)``.
        share: a.

    Returns:
        Shape ``(n,)``; NaN where every shadow model was trained on it.
    """
    count = (~inside).sum(0)
    outside = np.where(inside, 0.0, np.exp(-shadows)).sum(0) / np.where(count > 0, count, np.nan)
    return np.asarray(-loss - np.log(((1 + share) * outside + 1 - share) / 2))


def rmia(ratio: Floats, population: Floats) -> Floats:
    """Return Pr_z[ratio(x) > ratio(z)], shape ``(n,)``.

    Args:
        ratio: of the units, shape ``(n,)``.
        population: of z, shape ``(population,)``.
    """
    return np.asarray(np.searchsorted(np.sort(population), ratio, side="left") / len(population))
