"""Banded matrix factorisation (Choquette-Choo et al. 2023, arXiv 2306.08153), with a Toeplitz matrix."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.errors import InputError
from fedasr.privacy.checks import count
from fedasr.privacy.correlated.noise import PLACE, Arrays, check_next, saved_round, saved_rows
from fedasr.typing import Floats


class BandedToeplitz:
    """M = c/‖c‖ in a band of the diagonal: y_t/‖c‖ = z_t − Σ_k c_k·y_{t−k}/‖c‖ over the last ``bands`` − 1 rounds.

    Columns have norm 1, so a turn costs what it costs with independent noise of the same multiplier, which is what one
    band is. Two columns as far apart as there are bands are orthogonal: with turns so far apart their costs add, and
    they are charged when the turns begin, in rounds 1, 1 + s, 1 + 2s … That covers any device: its i-th turn comes in
    round 1 + (i − 1)·s at the earliest.

    The state is ``bands`` − 1 arrays of the model's size, float64: what later rounds take back must be what was added.

    Args:
        coefficients: c, shape ``(bands,)``; the first is 1 and none is negative.
        separation: s, rounds between two turns of a device at least.

    Raises:
        InputError: turns come closer than there are bands, or the coefficients are not right.
    """

    def __init__(self, coefficients: npt.ArrayLike, separation: int) -> None:
        self.coefficients: Floats = np.array(coefficients, np.float64)
        c = self.coefficients
        if c.ndim != 1 or not len(c) or c[0] != 1 or not np.all((c >= 0) & np.isfinite(c)):
            raise InputError("the coefficients of banded noise must begin with 1, none of them negative")
        self.separation = count("selection.separation", separation)
        if self.bands > separation:
            raise InputError(
                f"'privacy.bands' is {self.bands}, but 'selection.separation' {separation}; the turns of a device must"
                " be at least as many rounds apart as the noise has bands: lower one or raise the other"
            )
        self.norm = float(np.linalg.norm(c))
        self.round = 0
        self.recent: Floats | None = None
        """y/‖c‖ of the last rounds, shape ``(bands − 1, size)``, that of round t in row t modulo ``bands`` − 1"""

    @property
    def name(self) -> str:
        """``banded``, or ``independent`` with one band."""
        return "independent" if self.bands == 1 else "banded"

    @property
    def bands(self) -> int:
        """Rounds over which a draw is spread."""
        return len(self.coefficients)

    def draw(self, round: int, rng: np.random.Generator, size: int) -> Floats:
        """Return the noise of the next round, shape ``(size,)``."""
        check_next(round, self.round, size, None if self.recent is None else self.recent.shape[1])
        noise = rng.standard_normal(size)
        rows = self.bands - 1
        if rows:
            if self.recent is None:
                self.recent = np.zeros((rows, size))
            # Term by term: a product of matrices would depend on the number of threads.
            term = np.empty(size)
            for back in range(1, min(rows, self.round) + 1):
                np.multiply(self.recent[(round - back) % rows], float(self.coefficients[back]), out=term)
                noise -= term
            self.recent[round % rows] = noise
        self.round = round
        return noise * self.norm

    def charge(self, round: int) -> float:
        """Return 1 in the rounds in which the device with the most turns has one, else 0."""
        return float((round - 1) % self.separation == 0)

    def total(self, rounds: int) -> float:
        """Return the charges of so many rounds."""
        return float(ceil(rounds / self.separation))

    def squared_sensitivity(self, rounds: int, participations: int | None = None) -> float:
        """Return the squared sensitivity of so many rounds, exactly.

        It is less than the charges only while the last turn has not yet had all rounds of its band.
        """
        firsts = np.arange(0, rounds, self.separation)[:participations]
        lengths = np.minimum(rounds - firsts, self.bands)
        return float(np.cumsum(self.coefficients**2)[lengths - 1].sum()) / self.norm**2

    def matrix(self, rounds: int) -> Floats:
        """Return M, shape ``(rounds, rounds)``."""
        matrix = np.zeros((rounds, rounds))
        for k, value in enumerate(self.coefficients[:rounds]):
            np.fill_diagonal(matrix[k:], value / self.norm)
        return matrix

    def state_dict(self) -> Arrays:
        """Return the round, the coefficients and the noise of the last rounds, the oldest first."""
        state: Arrays = {"round": np.array([self.round]), "coefficients": self.coefficients.copy()}
        if self.recent is not None:
            rows = len(self.recent)
            rounds = np.arange(max(self.round - rows, 0), self.round) + 1
            state["recent"] = self.recent[rounds % rows]
        return state

    def load_state_dict(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from ``state_dict``, with the coefficients of the rounds before.

        Raises:
            InputError: it is damaged, or has another number of bands.
        """
        round, coefficients = saved_round(state), state.get("coefficients")
        if coefficients is None or coefficients.shape != (self.bands,):
            held = "no" if coefficients is None else len(coefficients)
            raise InputError(f"has {held} bands; expected {self.bands}", where=PLACE)
        rows = self.bands - 1
        saved = saved_rows(state, "recent", min(rows, round))
        fresh = BandedToeplitz(coefficients, self.separation)
        if saved is not None:
            fresh.recent = np.zeros((rows, saved.shape[1]))
            fresh.recent[(np.arange(round - len(saved), round) + 1) % rows] = saved
        self.coefficients, self.norm = fresh.coefficients, fresh.norm
        self.round, self.recent = round, fresh.recent
