"""Which sampling the accountant may assume of the devices that a selection chooses; where there is none, a refusal.

Amplification by sampling holds for the sampling that ran and for no other. A cohort of fixed size accounted for as
Poisson understates ε; so does any selection that looks at what devices hold, since one device more then changes who
else is chosen. Such a selection can be accounted for without amplification, that is with the largest selection
probability there is, one; and only where what it looks at is public, and the neighbour is a device whose contribution
is set to zero rather than one that was never there.

The same holds where not the selector but the clock looks: with ``devices.over_commit`` whoever is slow leaves the place
to another, and how fast a device is follows from how much it holds.

A selector says of itself what it is (``Traits``); what says nothing is refused. The probability that is charged is a
constant of the run, a share of the *registered* devices: one that followed from who holds speech would tell who does.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import NoReturn

from fedasr.errors import InputError
from fedasr.privacy.checks import count, one_of
from fedasr.privacy.events import Event, FixedSizeGaussian, Gaussian, PoissonGaussian

PUBLIC_GROUPS = "in which group a device is ('selection.by') is taken to be public"
"""On what an ε counts whose run selects by groups."""
SAMPLINGS = ("poisson", "fixed-size", "none")


@dataclass(frozen=True)
class Traits:
    """What a selector declares of itself; rules and accountants read this and no name.

    What is not declared is not given: in a private run a selector that does not read activity sees the registered
    devices and nothing about them, and no selector sees a loss.

    Raises:
        InputError: there is no such sampling, or a number is out of range.
    """

    sampling: str
    """``poisson``: each registered device independently with probability min(1, k/N); ``fixed-size``: k of those that
    can be chosen, uniformly without replacement; ``none``: anything else"""
    reads_losses: bool = False
    """whether the choice depends on losses, of replies or asked for"""
    reads_activity: bool = False
    """whether the choice depends on how much devices hold, or on who of them holds anything"""
    reads_groups: bool = False
    """whether the choice depends on the group of each device (``selection.by``), which follows from what it holds:
    ``reads_activity`` must be declared as well"""
    repeats: bool = False
    """whether a device may be drawn several times for one round"""
    separation: int = 0
    """rounds between two participations of a device at least; 0: no promise"""
    reports_probabilities: bool = True
    """whether the inclusion probabilities are known in every round"""
    reaches_everybody: bool = True
    """whether every device that can be selected has a probability above zero"""

    def __post_init__(self) -> None:
        one_of("sampling", self.sampling, SAMPLINGS)
        count("separation", self.separation, low=0)
        if self.reads_groups and not self.reads_activity:
            raise InputError("'reads_groups' is declared without 'reads_activity': the group follows from what is held")


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
    """rounds between two participations of a device at least: so few of the rounds cost each device something"""
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
        """Say whether a round is charged: with a separation s, a device takes part at most once in any s rounds.

        Charging rounds 1, 1 + s, 1 + 2s … covers the device with the most participations at any time, since
        independent noise on the rounds without it costs it nothing.
        """
        return (round - 1) % self.separation == 0

    def participations(self, rounds: int) -> int:
        """Return how many of so many rounds are charged."""
        return ceil(rounds / self.separation)


def sampling_assumption(
    selection: str,
    traits: Traits | None,
    *,
    population: int,
    cohort: int,
    eligible: int | None = None,
    public_activity: bool = False,
    coupled_by: str | None = None,
) -> Sampling:
    """Return what the accountant may assume of a selection.

    Args:
        selection: ``selection.name``.
        traits: what the selector declares; None: nothing.
        population: registered devices, a number that is public.
        cohort: devices a round, on average for ``poisson``.
        eligible: for a cohort of fixed size that is drawn among the devices that hold enough: how many do in this
            round; None: unknown, perhaps no more than a cohort.
        public_activity: how much each device stores is public and not what is protected.
        coupled_by: the key by which a device's speed or absence changes who else is in a round; None: none does.

    Raises:
        InputError: the accountant can assume nothing of it; the line says why, and what to select by instead.
    """
    count("population", population)
    count("cohort", cohort)
    if traits is None:
        refuse(
            selection,
            "does not declare which sampling it is (attribute 'traits', docs/selection.md) and may be any",
        )
    if traits.reads_losses:
        refuse(selection, "chooses by the losses of devices, which depend on the speech that is to be protected")
    if traits.repeats:
        refuse(selection, "draws with replacement, so that a device may count several times over its clip norm")
    if traits.reads_groups and not public_activity:
        refuse(selection, "chooses by the groups that devices are in, which follow from what is to be protected")
    if traits.reads_activity and not public_activity:
        refuse(selection, "chooses by how much devices hold, which is part of what is to be protected")
    separation = max(1, traits.separation)
    if coupled_by is not None:
        if not public_activity:
            raise InputError(
                f"'{coupled_by}' makes who else is in a round depend on how much speech a device holds: no accountant"
                f" covers that; leave '{coupled_by}' out, or set privacy.public_activity=true, which is accounted for"
                " without amplification"
            )
        text = f"no sampling assumed: '{coupled_by}' changes who takes part; how much each device holds is public"
        text += f"; {PUBLIC_GROUPS}" if traits.reads_groups else ""
        return Sampling("none", "zero-out", 1.0, population, separation, text)
    if traits.sampling == "poisson" and not traits.reads_activity:
        q = min(1.0, cohort / population)
        text = f"Poisson: each of {population} takes part in a round independently with probability {q:g}"
        return Sampling("poisson", "add-remove", q, population, assumption=text)
    if traits.sampling == "fixed-size":
        among = population
        if traits.reads_activity:
            among = max(1, min(cohort, population) if eligible is None else eligible)
        size = min(cohort, among)
        text = f"fixed size: {size} of {among} in a round, uniformly without replacement"
        return Sampling("fixed-size", "replace-one", size / among, among, assumption=text)
    if traits.separation < 1 and not traits.reads_activity:
        raise InputError(
            f"'selection.name' is '{selection}' without a promised separation, which gives the accountant nothing;"
            " set 'selection.separation'"
        )
    text = "no sampling assumed: any device may be in every round"
    if separation > 1:
        text = f"no sampling assumed; a device has at most one participation in any {separation} rounds"
    if traits.reads_activity:
        text += "; how much each holds is taken to be public"
    if traits.reads_groups:
        text += f"; {PUBLIC_GROUPS}"
    return Sampling("none", "zero-out", 1.0, population, separation, text)


def refuse(selection: str, why: str) -> NoReturn:
    """Raise: no ε can be told for this selection.

    Raises:
        InputError: always.
    """
    raise InputError(
        f"'selection.name' is '{selection}', which {why}: no accountant covers it; for private training select by"
        " 'poisson' or 'uniform'"
    )
