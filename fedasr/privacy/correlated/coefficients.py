"""The first column of a banded Toeplitz matrix M: how strongly the noise of a round takes back that of those before."""

from __future__ import annotations

import numpy as np

from fedasr.privacy.checks import count
from fedasr.typing import Floats


def square_root(bands: int) -> Floats:
    """Return the coefficients of (1 − x)^(−½), shape ``(bands,)``: 1, ½, ⅜, …, binom(2k, k)/4^k.

    All of them make the square root of the matrix of prefix sums (Fichtenberger, Henzinger and Upadhyay 2022, arXiv
    2202.11205), the first few its banded root (Kalinin and Lampert 2024, arXiv 2405.13763).

    Raises:
        InputError: there is less than one band.
    """
    k = np.arange(1, count("privacy.bands", bands))
    return np.concatenate([[1.0], np.cumprod((2 * k - 1) / (2 * k))])


def optimised(bands: int, rounds: int) -> Floats:
    """Return the coefficients, shape ``(bands,)``, of least mean squared error of the prefix sums at equal ε.

    The noise on the prefix sums of a run is W·z with Toeplitz W, whose first column w is the power series
    1/((1 − x)·c(x)); its mean square is Σ (T − t)·w_t²/T for t from 0. A turn costs Σ c_k², however many turns there
    are. The product of both is minimised, by L-BFGS from the square root on (in the spirit of McKenna 2024, arXiv
    2405.15913). With few bands beside the rounds that is up to 14 % less error than the root has (2,000 rounds, 16
    bands); with as many bands as a quarter of the rounds it is less than 1 %.

    Args:
        bands: at least 1.
        rounds: T, of the run.

    Raises:
        InputError: one of them is less than 1.
    """
    from scipy.optimize import minimize
    from scipy.signal import correlate, lfilter

    start = square_root(min(bands, count("rounds", rounds)))
    left = np.arange(rounds, 0, -1.0)

    def error(free: Floats) -> tuple[float, Floats]:
        """Return the logarithm of the product, and its gradient."""
        c = np.concatenate([[1.0], free])
        w = lfilter([1.0], c, np.ones(rounds))
        # ∂w/∂c_k is −w/c, moved by k rounds.
        moved = lfilter([1.0], c, w)
        slope = -2 * correlate(left * w, moved, method="fft")[rounds - 1 :][: len(c)]
        squares, norm = left @ w**2, c @ c
        return float(np.log(squares) + np.log(norm)), (slope / squares + 2 * c / norm)[1:]

    coefficients = start
    if len(start) > 1:
        best = minimize(error, start[1:], jac=True, method="L-BFGS-B", bounds=[(0.0, 1.0)] * (len(start) - 1))
        coefficients = np.concatenate([[1.0], best.x])
    # Bands that no round reaches.
    return np.concatenate([coefficients, np.zeros(bands - len(coefficients))])
