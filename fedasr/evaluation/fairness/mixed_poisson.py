"""Poisson regression with a normal speaker effect, by maximum likelihood.

Errors e of an utterance of w words by speaker s: e ~ Poisson(w·exp(xβ + u)), u ~ N(0, σ²) for each speaker (Liu,
Veliche and Peng 2021, arXiv:2109.09061). The speaker effect is integrated out by adaptive Gauss–Hermite quadrature (Liu
and Pierce 1994, doi:10.1093/biomet/81.3.624), whose nodes lie where the integrand is: those of a fixed rule miss the
narrow likelihood of a speaker with a hundred errors. SciPy has no mixed models, and the Poisson one of statsmodels is
Bayesian (variational, with priors on β and σ), which gives neither the likelihood ratio nor the intervals wanted here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import gammaln, logsumexp, wrightomega

from fedasr.typing import Floats

POINTS = 20
SMALLEST, LARGEST = 1e-3, 10.0
"""Bounds of σ; where it ends at the lower one, speakers do not differ by more than chance."""
STEP = 1e-4


@dataclass(frozen=True)
class Fit:
    """A fitted model. ``coefficients`` are logarithms of rates and ratios, shape ``(columns,)``."""

    coefficients: Floats
    covariance: Floats
    """of the coefficients, from the observed information, shape ``(columns, columns)``"""
    sigma: float
    """standard deviation of the speaker effect, 0 where it is below what can be told from 0"""
    log_likelihood: float
    dispersion: float
    """Pearson's, given each speaker's expected rate: 1 where utterances of a speaker vary as a Poisson number does"""

    @property
    def errors(self) -> Floats:
        """The standard errors of the coefficients, shape ``(columns,)``."""
        return np.asarray(np.sqrt(np.diag(self.covariance)), np.float64)


class MixedPoisson:
    """The model and its marginal likelihood.

    Args:
        errors: of each utterance, shape ``(utterances,)``.
        words: of each utterance, above 0, shape ``(utterances,)``.
        design: covariates, linearly independent, shape ``(utterances, columns)``.
        speakers: of each utterance, shape ``(utterances,)``.
        points: of the quadrature.
    """

    def __init__(
        self,
        errors: npt.NDArray[Any],
        words: npt.NDArray[Any],
        design: Floats,
        speakers: npt.NDArray[Any],
        points: int = POINTS,
    ) -> None:
        self.errors = np.asarray(errors, np.float64)
        self.words = np.asarray(words, np.float64)
        self.design = np.asarray(design, np.float64)
        names, self.place = np.unique(np.asarray(speakers).astype(str), return_inverse=True)
        self.count = len(names)
        self.totals = self.sums(self.errors)
        nodes, weights = np.polynomial.hermite.hermgauss(points)
        self.nodes = nodes
        self.log_weights = np.log(weights) + nodes**2

    def sums(self, values: Floats) -> Floats:
        """Return the sum over each speaker's utterances, shape ``(speakers,)``."""
        return np.asarray(np.bincount(self.place, values, self.count), np.float64)

    def likelihood(self, parameters: Floats) -> tuple[float, Floats]:
        """Return the log-likelihood and its gradient.

        Args:
            parameters: β and log σ, shape ``(columns + 1,)``.
        """
        beta, variance = parameters[:-1], math.exp(2 * parameters[-1])
        rate = self.words * np.exp(np.minimum(self.design @ beta, 50.0))
        at, logs = self.posterior(self.sums(rate), variance)
        total = logsumexp(logs, axis=1)
        weight = np.exp(logs - total[:, None])
        value = float((self.errors * np.log(rate) - gammaln(self.errors + 1)).sum() + total.sum())
        raised = (weight * np.exp(at)).sum(axis=1)
        slope = self.design.T @ (self.errors - rate * raised[self.place])
        of_sigma = float(((weight * at**2).sum(axis=1) / variance - 1).sum())
        return value, np.append(slope, of_sigma)

    def posterior(self, expected: Floats, variance: float) -> tuple[Floats, Floats]:
        """Return the nodes of each speaker's effect, and the logarithms of the terms of the integral.

        A speaker's likelihood in u is exp(E·u − M·exp(u)) with the speaker's errors E and expected errors M. Its
        product with the density of u is largest where E − M·exp(u) = u/σ², which Wright's omega function solves.
        """
        logs = np.log(variance) + np.log(expected)
        mode = np.log(wrightomega(logs + variance * self.totals)) - logs
        scale = math.sqrt(2) / np.sqrt(expected * np.exp(mode) + 1 / variance)
        at = mode[:, None] + scale[:, None] * self.nodes
        terms = self.totals[:, None] * at - expected[:, None] * np.exp(at) - at**2 / (2 * variance)
        constant = np.log(scale)[:, None] - 0.5 * math.log(2 * math.pi * variance)
        return at, terms + self.log_weights + constant

    def fit(self) -> Fit:
        """Return the maximum-likelihood fit.

        Raises:
            ArithmeticError: the likelihood has no maximum that is found, such as where a column tells errors from none.
        """

        def objective(parameters: Floats) -> tuple[float, Floats]:
            value, slope = self.likelihood(parameters)
            return -value, -slope

        columns = self.design.shape[1]
        start, *_ = np.linalg.lstsq(self.design, np.log((self.errors + 0.5) / self.words), rcond=None)
        result = minimize(
            objective,
            np.append(start, math.log(0.5)),
            jac=True,
            method="L-BFGS-B",
            bounds=[(None, None)] * columns + [(math.log(SMALLEST), math.log(LARGEST))],
            options={"maxiter": 1000, "ftol": 1e-13, "gtol": 1e-7},
        )
        at = np.asarray(result.x, np.float64)
        vanishes = bool(at[-1] < math.log(10 * SMALLEST))
        free = columns if vanishes else columns + 1
        at, information = self.refined(at, free)
        value, slope = self.likelihood(at)
        size = np.abs(slope[:free]).max()
        if not math.isfinite(value) or size > 1e-3 * max(1.0, float(np.sqrt(self.errors.sum()))):
            raise ArithmeticError("the regression did not converge")
        covariance = np.asarray(np.linalg.inv(information)[:columns, :columns], np.float64)
        if not (np.diag(covariance) > 0).all():
            raise ArithmeticError("the regression did not converge")
        return Fit(at[:-1], covariance, 0.0 if vanishes else math.exp(at[-1]), value, self.dispersion(at))

    def refined(self, at: Floats, free: int, steps: int = 10) -> tuple[Floats, Floats]:
        """Return parameters after Newton's steps in the first ``free`` ones, and the observed information there.

        Raises:
            ArithmeticError: the information cannot be inverted.
        """
        for _ in range(steps):
            information = self.information(at, free)
            value, slope = self.likelihood(at)
            try:
                step = np.linalg.solve(information, slope[:free])
            except np.linalg.LinAlgError:
                raise ArithmeticError("the regression did not converge") from None
            moved = at.copy()
            moved[:free] += step
            if not np.isfinite(step).all() or self.likelihood(moved)[0] < value:
                return at, information
            at = moved
            if np.abs(step).max() < 1e-9:
                break
        return at, self.information(at, free)

    def information(self, at: Floats, free: int) -> Floats:
        """Return minus the second derivatives, by central differences of the gradient; ``(free, free)``."""
        rows = []
        for place in range(free):
            shift = np.zeros_like(at)
            shift[place] = STEP
            ahead, behind = self.likelihood(at + shift)[1], self.likelihood(at - shift)[1]
            rows.append((behind - ahead)[:free] / (2 * STEP))
        matrix = np.array(rows)
        return np.asarray((matrix + matrix.T) / 2, np.float64)

    def dispersion(self, parameters: Floats) -> float:
        """Return Pearson's statistic over its degrees of freedom, each speaker's rate at its posterior mean."""
        rate = self.words * np.exp(self.design @ parameters[:-1])
        at, logs = self.posterior(self.sums(rate), math.exp(2 * parameters[-1]))
        weight = np.exp(logs - logsumexp(logs, axis=1)[:, None])
        mean = rate * (weight * np.exp(at)).sum(axis=1)[self.place]
        freedom = len(rate) - self.design.shape[1] - self.count
        return float(((self.errors - mean) ** 2 / mean).sum() / freedom) if freedom > 0 else float("nan")
