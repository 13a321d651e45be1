"""Which sampling the accountant may assume of the devices that a selection chooses; where there is none, a refusal.

Amplification by sampling holds for the sampling that ran and for no other. A cohort of fixed size accounted for as
Poisson understates ε; so does any selection that looks at what devices hold, since one device more then changes who
else is chosen. Such a selection can be accounted for without amplification, that is with the largest selection
probability there is, one; and only where what it looks at is public, and the neighbour is a device whose contribution
is set to zero rather than one that was never there.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from fedasr.errors import InputError, nearest
from fedasr.privacy.checks import count
from fedasr.privacy.events import Event, FixedSizeGaussian, Gaussian, PoissonGaussian

ADAPTIVE = ("oort", "afl", "power-of-choice")
"""They choose by losses, which are computed from what devices hold."""
BY_ACTIVITY = ("activity", "top-activity", "mixed")
"""They choose by how much devices hold."""
SELECTIONS = ("uniform", "poisson", "threshold", "round-robin", *BY_ACTIVITY, *ADAPTIVE)


@dataclass(frozen=True)
class Sampling:
    """What is known of who takes part in a round."""

    name: str
    """``poisson``, ``fixed-size`` or ``none``"""
    adjacency: str
    probability: float
    """of a device to be in a round, as far as the accountant may use it"""
    population: int
    separation: int = 1
    """rounds between two turns of a device at least: so few of the rounds cost each device something"""
    assumption: str = ""
    """one sentence for people"""

    def gaussian(self, noise_multiplier: float, unit: str = "user") -> Event:
        """Return the event of one round whose sum of clipped updates got Gaussian noise.

        Args:
            noise_multiplier: standard deviation of the noise on the sum, in clip norms.
            unit: whose updates are clipped.
        """
        if self.name == "poisson":
            return PoissonGaussian(unit=unit, noise_multiplier=noise_multiplier, sampling_probability=self.probability)
        if self.name == "fixed-size":
            return FixedSizeGaussian(
                unit=unit, noise_multiplier=noise_multiplier, sampling_probability=self.probability
            )
        return Gaussian(unit=unit, noise_multiplier=noise_multiplier, adjacency=self.adjacency)

    def is_charged(self, round: int) -> bool:
        """Say whether a round is to be charged: with a separation s, each device has at most one turn in any s rounds.

        Charging rounds 1, 1 + s, 1 + 2s … covers the device with the most turns at any time, since independent noise
        on the rounds without it costs it nothing.
        """
        return (round - 1) % self.separation == 0

    def turns(self, rounds: int) -> int:
        """Return how many of so many rounds are charged."""
        return ceil(rounds / self.separation)


def sampling_assumption(
    selection: str,
    *,
    population: int,
    cohort: int,
    public_activity: bool = False,
    separation: int = 0,
    replacement: bool = False,
) -> Sampling:
    """Return what the accountant may assume of a selection.

    Args:
        selection: ``selection.name``.
        population: devices that can be selected; for ``threshold`` those that qualify.
        cohort: devices a round, on average for ``poisson``.
        public_activity: how much each device stores is public and not what is protected.
        separation: rounds between two turns of a device that ``round-robin`` keeps at least.
        replacement: ``activity`` and ``mixed`` draw with replacement.

    Raises:
        InputError: the accountant can assume nothing of it; the line says why, and what to select by instead.
    """
    count("population", population)
    count("cohort", cohort)
    if selection == "poisson":
        q = min(1.0, cohort / population)
        text = f"Poisson: each of {population} takes part in a round independently with probability {q:g}"
        return Sampling("poisson", "add-remove", q, population, assumption=text)
    if selection == "uniform" or (selection == "threshold" and public_activity):
        size = min(cohort, population)
        text = f"fixed size: {size} of {population} in a round, uniformly without replacement"
        return Sampling("fixed-size", "replace-one", size / population, population, assumption=text)
    if selection == "round-robin":
        if separation < 1:
            raise InputError(
                "'selection.name' is 'round-robin' without a promised separation, which gives the accountant nothing;"
                " set 'selection.separation'"
            )
        text = f"no sampling assumed; a device has at most one turn in any {separation} rounds"
        return Sampling("none", "zero-out", 1.0, population, separation, text)
    if selection in ADAPTIVE:
        refuse(selection, "chooses by the losses of devices, which depend on the speech that is to be protected")
    if selection in BY_ACTIVITY or selection == "threshold":
        if not public_activity:
            refuse(selection, "chooses by how much devices hold, which is part of what is to be protected")
        if replacement:
            refuse(selection, "draws with replacement, so that a device may count several times over its clip norm")
        text = "no sampling assumed: any device may be in every round; how much each holds is taken to be public"
        return Sampling("none", "zero-out", 1.0, population, assumption=text)
    if ":" in selection:
        refuse(selection, "is not one whose sampling is known")
    raise InputError(
        f"'selection.name' is '{selection}'{nearest(selection, SELECTIONS)}; expected one of: {', '.join(SELECTIONS)}"
    )


def refuse(selection: str, why: str) -> None:
    """Raise: no ε can be told for this selection.

    Raises:
        InputError: always.
    """
    raise InputError(
        f"'selection.name' is '{selection}', which {why}: no accountant covers it; for private training select by"
        " 'poisson' or 'uniform'"
    )
