"""How much noise a model carries after some rounds, so that kinds of noise can be compared."""

from __future__ import annotations

from math import sqrt

import numpy as np

from fedasr.privacy.correlated.noise import CorrelatedNoise


def prefix_error(noise: CorrelatedNoise, rounds: int) -> float:
    """Return the noise on a model, averaged over the rounds, that goes with μ = 1 of Gaussian DP at the end.

    That is the root mean square of Σ_{i ≤ t} σ·y_i over all rounds t, in clip norms, where σ² is what the ledger is
    charged for all rounds. It is computed from the matrix, not sampled. With plain sums (SGD as the server's optimizer)
    this is the noise on the weights.

    Raises:
        InputError: nothing.
    """
    from scipy.linalg import solve_triangular

    inverse = solve_triangular(noise.matrix(rounds), np.eye(rounds), lower=True)
    return sqrt(noise.total(rounds) * float((np.cumsum(inverse, axis=0) ** 2).sum()) / rounds)
