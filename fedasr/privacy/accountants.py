"""Questions to the accountants: ε from δ, δ from ε, noise from both, and how many more steps fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fedasr.errors import InputError
from fedasr.privacy.checks import one_of, positive, strict_fraction
from fedasr.privacy.events import Event
from fedasr.privacy.pld import has_pld, pld_delta, pld_epsilon
from fedasr.privacy.prv import has_prv, prv_epsilon
from fedasr.privacy.rdp import rdp_delta, rdp_epsilon

ACCOUNTANTS = ("pld", "rdp", "prv")
MOST_STEPS = 10_000_000
SMALLEST_NOISE, LARGEST_NOISE = 1e-3, 1e6


@dataclass(frozen=True)
class Answer:
    """An ε, and who computed it."""

    epsilon: float
    delta: float
    accountant: str
    order: float | None = None
    """the Rényi order, where the accountant is rdp"""


def epsilon_of(events: Sequence[Event], delta: float, accountant: str = "pld") -> Answer:
    """Return ε at δ of all events together.

    Where δ is too small for the privacy loss distribution, the answer comes from rdp, and says so.

    Raises:
        InputError: δ is not between 0 and 1, the accountant is unknown or cannot account for one of the events, or
            units or adjacencies are mixed, whose ε do not add.
    """
    strict_fraction("delta", delta)
    one_of("accountant", accountant, ACCOUNTANTS)
    check_alike(events)
    refuse(events, accountant)
    if accountant == "pld":
        found = pld_epsilon(events, delta)
        if math.isfinite(found):
            return Answer(found, delta, "pld")
    if accountant == "prv":
        return Answer(prv_epsilon(events, delta), delta, "prv")
    found, order = rdp_epsilon(events, delta)
    return Answer(found, delta, "rdp", order)


def delta_of(events: Sequence[Event], epsilon: float, accountant: str = "pld") -> float:
    """Return δ at ε of all events together.

    Raises:
        InputError: as ``epsilon_of``; prv answers only the other question.
    """
    if not epsilon >= 0:
        raise InputError(f"is {epsilon:g}; expected a number of at least 0", where="'epsilon'")
    one_of("accountant", accountant, ("pld", "rdp"))
    check_alike(events)
    refuse(events, accountant)
    return pld_delta(events, epsilon) if accountant == "pld" else rdp_delta(events, epsilon)


def best_accountant(events: Sequence[Event], wanted: str = "pld") -> str:
    """Return the wanted accountant where it can account for all events, else rdp, which always can."""
    knows = {"pld": has_pld, "prv": has_prv}.get(wanted)
    return wanted if knows and all(map(knows, events)) else "rdp"


def refuse(events: Sequence[Event], accountant: str) -> None:
    """Raise where the accountant does not know one of the events.

    Raises:
        InputError: it does not.
    """
    if best_accountant(events, accountant) != accountant:
        knows = {"pld": has_pld, "prv": has_prv}[accountant]
        stranger = next(event for event in events if not knows(event))
        raise InputError(f"the accountant {accountant} cannot account for this event; use rdp: {stranger.describe()}")


def check_alike(events: Sequence[Event]) -> None:
    """Raise where units or adjacencies are mixed.

    Raises:
        InputError: they are.
    """
    for name in ("unit", "adjacency"):
        found = sorted({getattr(event, name) for event in events})
        if len(found) > 1:
            raise InputError(f"{' and '.join(found)} cannot be composed: an ε has one {name}")


def calibrate(
    make: Callable[[float], Sequence[Event]],
    epsilon: float,
    delta: float,
    accountant: str = "pld",
    tolerance: float = 1e-4,
) -> float:
    """Return the smallest noise whose events cost at most ε at δ, rounded up, so that ε is never exceeded.

    Args:
        make: the events for a noise multiplier; more noise must not cost more.
        epsilon: above zero.
        delta: between zero and one.
        accountant: who must confirm it.
        tolerance: how much more noise than needed may be returned, relatively.

    Raises:
        InputError: a number is out of range, or no noise up to ``LARGEST_NOISE`` suffices.
    """
    positive("epsilon", epsilon)
    strict_fraction("delta", delta)

    def fits(noise: float, asked: str = accountant) -> bool:
        return epsilon_of(make(noise), delta, asked).epsilon <= epsilon

    # rdp is quick and overstates: what it calls enough is enough for the others too.
    start = enough(lambda noise: fits(noise, "rdp"), 1.0)
    high = start if accountant == "rdp" or fits(start) else enough(fits, start)
    low = high / 2
    while low > SMALLEST_NOISE and fits(low):
        high, low = low, low / 2
    while high > low * (1 + tolerance):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if fits(middle) else (middle, high)
    rounded = round_up(high, 6)
    # Rounding inside an accountant may wobble by more than the last digit.
    while not fits(rounded):
        rounded = round_up(rounded * (1 + tolerance), 6)
    return rounded


def enough(fits: Callable[[float], bool], noise: float) -> float:
    """Return a noise that fits, at or above the given one, doubling.

    Raises:
        InputError: none does.
    """
    while not fits(noise):
        noise *= 2
        if noise > LARGEST_NOISE:
            raise InputError(f"no noise multiplier up to {LARGEST_NOISE:g} gives so small an ε; raise ε or δ")
    return noise


def round_up(value: float, digits: int) -> float:
    """Return the value with so many significant digits, not below it."""
    place = digits - 1 - math.floor(math.log10(value))
    found = round(value, place)
    return found if found >= value else round(found + 10.0**-place, place)


def steps_within(
    event: Event,
    epsilon: float,
    delta: float,
    accountant: str = "pld",
    spent: Sequence[Event] = (),
    most: int = MOST_STEPS,
) -> int:
    """Return how many times the event still fits after what was spent: at most ``most``, and 0 where none does.

    Raises:
        InputError: as ``epsilon_of``.
    """
    positive("epsilon", epsilon)

    def fits(count: int) -> bool:
        return epsilon_of([*spent, event.times(count)], delta, accountant).epsilon <= epsilon

    return largest(fits, most)


def largest(fits: Callable[[int], bool], most: int) -> int:
    """Return the largest count up to ``most`` that fits, where fewer always fit if more do; 0 where one does not."""
    if not fits(1):
        return 0
    low, high = 1, 2
    while high <= most and fits(high):
        low, high = high, high * 2
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
