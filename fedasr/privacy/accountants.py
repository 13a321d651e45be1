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
SMALLEST_NOISE, LARGEST_NOISE = 1e-6, 1e6


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

    Both pld and rdp are upper bounds. Where rdp is the lower, as for a δ too small or steps too many for the
    discretised distribution, the answer to pld comes from rdp, and says so.

    Raises:
        InputError: δ is not between 0 and 1, the accountant is unknown or cannot account for one of the events, or
            units or adjacencies are mixed, whose ε do not add.
    """
    strict_fraction("delta", delta)
    one_of("accountant", accountant, ACCOUNTANTS)
    check_alike(events)
    refuse(events, accountant)
    if accountant == "prv":
        return Answer(prv_epsilon(events, delta), delta, "prv")
    bound, order = rdp_epsilon(events, delta)
    if bound == 0:  # nothing is less
        return Answer(0.0, delta, "rdp", order)
    if accountant == "pld" and (epsilon := pld_epsilon(events, delta)) <= bound:
        return Answer(epsilon, delta, "pld")
    return Answer(bound, delta, "rdp", order)


def delta_of(events: Sequence[Event], epsilon: float, accountant: str = "pld") -> float:
    """Return δ at ε of all events together.

    Raises:
        InputError: as ``epsilon_of``; prv answers only the other question.
    """
    if not epsilon >= 0:
        raise InputError(f"'epsilon' is {epsilon:g}; expected a number of at least 0")
    one_of("accountant", accountant, ("pld", "rdp"))
    check_alike(events)
    refuse(events, accountant)
    bound = rdp_delta(events, epsilon)
    return min(bound, pld_delta(events, epsilon)) if accountant == "pld" else bound


def best_accountant(events: Sequence[Event], wanted: str = "pld") -> str:
    """Return the wanted accountant where it can account for all events, else rdp, which always can."""
    knows = {"pld": has_pld, "prv": has_prv}.get(wanted)
    return wanted if knows and all(map(knows, events)) else "rdp"


def settled(events: Sequence[Event], delta: float, wanted: str = "pld") -> Answer:
    """Return ε by the wanted accountant where it can account for all events, else by one that can; the answer says who.

    Raises:
        InputError: δ is not between 0 and 1, or units or adjacencies are mixed.
    """
    if best_accountant(events, wanted) == "prv":
        try:
            return epsilon_of(events, delta, "prv")
        except InputError:  # beyond its numerics, which is no reason to end a run
            wanted = "pld"
    return epsilon_of(events, delta, best_accountant(events, wanted))


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
        kinds = sorted({getattr(event, name) for event in events})
        if len(kinds) > 1:
            raise InputError(f"{' and '.join(kinds)} cannot be composed: an ε has one {name}")


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
        InputError: a number is out of range, or no noise between ``SMALLEST_NOISE`` and ``LARGEST_NOISE`` is right.
    """
    positive("epsilon", epsilon)
    strict_fraction("delta", delta)

    def cost(noise: float, asked: str = accountant) -> float:
        return epsilon_of(make(noise), delta, asked).epsilon

    # rdp is quick and overstates a little, so its answer is a good place to start for the others.
    rough = noise_for(lambda noise: cost(noise, "rdp"), epsilon, 1.0, 2.0, 1e-2)
    rounded = round_up(noise_for(cost, epsilon, rough, 1.05, tolerance), 6)
    # Rounding inside an accountant may wobble by more than the last digit.
    while cost(rounded) > epsilon:
        rounded = round_up(rounded * (1 + tolerance), 6)
    return rounded


def noise_for(cost: Callable[[float], float], target: float, start: float, factor: float, tolerance: float) -> float:
    """Return a noise that costs at most the target, and hardly more noise than needed.

    Raises:
        InputError: there is none in the range.
    """
    fits, cost_of_fit = start, cost(start)
    if cost_of_fit <= target:
        while (cheaper := cost(costly := max(fits / factor, SMALLEST_NOISE))) <= target:
            if costly == SMALLEST_NOISE:
                raise InputError(f"so large an ε needs no noise multiplier above {SMALLEST_NOISE:g}; lower ε")
            fits, cost_of_fit, factor = costly, cheaper, factor**2
        return search_between(
            cost, (fits, cost_of_fit), (costly, cheaper), target, lambda a, b: a <= b * (1 + tolerance)
        )
    costly, excess = start, cost_of_fit
    while (cost_of_fit := cost(fits := costly * factor)) > target:
        costly, excess, factor = fits, cost_of_fit, factor**2
        if costly > LARGEST_NOISE:
            raise InputError(f"no noise multiplier up to {LARGEST_NOISE:g} gives so small an ε; raise ε or δ")
    return search_between(cost, (fits, cost_of_fit), (costly, excess), target, lambda a, b: a <= b * (1 + tolerance))


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

    def cost(count: float) -> float:
        return epsilon_of([*spent, event.times(int(count))], delta, accountant).epsilon

    fits, cost_of_fit = 1, cost(1)
    if cost_of_fit > epsilon:
        return 0
    while fits < most:
        costly = min(4 * fits, most)
        if (excess := cost(costly)) > epsilon:
            ends = (float(fits), cost_of_fit), (float(costly), excess)
            return int(search_between(cost, *ends, epsilon, lambda a, b: b - a <= 1, round))
        fits, cost_of_fit = costly, excess
    return most


Point = tuple[float, float]
"""where, and what it costs there"""


def search_between(
    cost: Callable[[float], float],
    fits: Point,
    costly: Point,
    target: float,
    close: Callable[[float, float], bool],
    grid: Callable[[float], float] = float,
) -> float:
    """Return a place that fits, close to one that is too costly; both ends are above zero.

    Cost is nearly a power of the place, so the next guess lies on the line between the ends on logarithmic axes, a
    third of the way to the farther end where the guess leaves it far behind; every third guess halves the interval.
    """
    guesses = 0
    while not close(fits[0], costly[0]):
        guesses += 1
        low, high = sorted((math.log(fits[0]), math.log(costly[0])))
        guess = (low + high) / 2
        if guesses % 3 and 0 < fits[1] < costly[1] < math.inf:
            share = math.log(target / fits[1]) / math.log(costly[1] / fits[1])
            guess = math.log(fits[0]) + share * math.log(costly[0] / fits[0])
            # Past the guess towards the farther end, so that this end comes near as well.
            guess += 0.02 * ((high - guess) if high - guess > guess - low else (low - guess))
        place = grid(math.exp(guess))
        if not min(fits[0], costly[0]) < place < max(fits[0], costly[0]):
            place = grid(math.sqrt(fits[0] * costly[0]))
        if not min(fits[0], costly[0]) < place < max(fits[0], costly[0]):
            place = min(fits[0], costly[0]) + 1  # whole numbers: the middle of two small ones was rounded to an end
        value = cost(place)
        fits, costly = ((place, value), costly) if value <= target else (fits, (place, value))
    return fits[0]


def round_up(value: float, digits: int) -> float:
    """Return the value with so many significant digits, not below it."""
    place = digits - 1 - math.floor(math.log10(value))
    rounded = round(value, place)
    return rounded if rounded >= value else round(rounded + 10.0**-place, place)
