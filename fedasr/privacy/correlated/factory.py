"""From a config to a noise."""

from __future__ import annotations

from fedasr.privacy.checks import one_of
from fedasr.privacy.correlated.banded import BandedToeplitz
from fedasr.privacy.correlated.coefficients import optimised
from fedasr.privacy.correlated.noise import CorrelatedNoise
from fedasr.privacy.correlated.tree import Tree

NOISES = ("independent", "banded", "tree")


def make_noise(name: str, *, bands: int, separation: int, rounds: int) -> CorrelatedNoise:
    """Return the noise of a run.

    Args:
        name: ``independent``, ``banded`` or ``tree``.
        bands: of ``banded``, at most the separation; the state is one model less than there are bands.
        separation: rounds between two turns of a device that the selection keeps at least.
        rounds: of the run, for which the bands are weighted.

    Raises:
        InputError: there is no such noise, a number is less than 1, or there are more bands than the separation allows.
    """
    one_of("privacy.noise", name, NOISES)
    if name == "tree":
        return Tree(separation)
    return BandedToeplitz(optimised(bands if name == "banded" else 1, rounds), separation)
