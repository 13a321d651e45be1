"""``privacy.json``: the ledger for people and programs, at the simulated population and, apart, extrapolated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fedasr.errors import InputError
from fedasr.files import write_json
from fedasr.privacy.accountants import round_up, settled
from fedasr.privacy.checks import count, positive
from fedasr.privacy.events import Event, FixedSizeGaussian, PoissonGaussian
from fedasr.privacy.ledger import SECRET, Budget, Ledger, Spending

PRIVACY_JSON = "privacy.json"
ONE_UNIT = {"example": "one utterance", "user": "one user", "teacher": "one teacher's data"}
CHANGE = {"add-remove": "added or removed", "replace-one": "exchanged for another", "zero-out": "left out of all sums"}
SAMPLED = {"poisson": "Poisson sampling", "fixed-size": "samples of fixed size", "none": "no sampling assumed"}
SIMULATED = (
    "randomness from a public seed: a simulation's ε, which holds against nobody who has the seed of the config and can"
    " take the noise off"
)
ONE_DIRECTION = (
    "computed from the votes, as a bound of these votes against any neighbour of theirs and not the other way round; it"
    " is itself sensitive, not to be published as it is"
)
QUANTILES = {"least": 0.0, "median": 0.5, "mean": None, "p90": 0.9, "most": 1.0}


@dataclass(frozen=True)
class Target:
    """The population that a deployment would have.

    Raises:
        InputError: a number is not positive.
    """

    population: int
    cohort_factor: float = 1.0
    """how much larger its cohorts would be. Noise on the mean stays what it was, so the noise on the sum, and with it
    the noise multiplier, grows by the same factor"""

    def __post_init__(self) -> None:
        count("population", self.population)
        positive("cohort_factor", self.cohort_factor)


def extrapolated(event: Event, population: int, target: Target) -> Event:
    """Return the event as it would be at the target population.

    Raises:
        InputError: the event's cost does not follow from a sampling probability and a noise multiplier.
    """
    if not isinstance(event, (PoissonGaussian, FixedSizeGaussian)):
        raise InputError(f"cannot be extrapolated to another population: {event.describe()}")
    q = event.sampling_probability * population / target.population * target.cohort_factor
    return replace(
        event, sampling_probability=min(1.0, q), noise_multiplier=event.noise_multiplier * target.cohort_factor
    )


def privacy_document(
    ledger: Ledger,
    delta: float,
    *,
    budget: Budget | None = None,
    target: Target | None = None,
    clients: Iterable[float] | None = None,
) -> dict[str, Any]:
    """Return what ``privacy.json`` holds.

    With one group of releases, ``epsilon, delta, unit, adjacency, sampling, population, accountant, randomness`` stand
    on top (randomness from a ``public seed``, against whose holders no ε holds, or ``secret``); with several, each has
    its own under ``spent`` and there is no ε on top, for none covers them all.

    Args:
        ledger: of the run.
        delta: at which ε is given.
        budget: what the run was to keep to.
        target: also say ε as it would be there.
        clients: ε of each client that keeps its own ledger (unit: example), at the same δ.

    Raises:
        InputError: δ is not between 0 and 1.
    """
    spent = ledger.spent(delta)
    document: dict[str, Any] = {}
    for spending in spent:
        name = "guarantee" if len(spent) == 1 else f"guarantee, {spending.unit}, seen by {spending.seen_by}"
        document[name] = sentence(spending)
    if len(spent) == 1:
        document |= {k: v for k, v in as_json(spent[0]).items() if k != "population"}
        document["population"] = spent[0].populations[0] if len(spent[0].populations) == 1 else None
    if budget is not None:
        document |= {"budget_epsilon": budget.epsilon, "budget_delta": budget.delta, "budget_unit": budget.unit}
    if clients is not None and len(values := np.fromiter(clients, float)):
        document["clients"] = distribution(values, delta)
    if target is not None:
        document["extrapolated"] = extrapolation(ledger, spent, delta, target)
    document["spent"] = [as_json(spending) for spending in spent]
    document["ledger"] = ledger.state_dict()
    return document


def with_caveat(document: Mapping[str, Any], caveat: str | None) -> dict[str, Any]:
    """Return a document each of whose guarantees says as well what it does not cover; None: nothing.

    ``caveats`` lists all of them, for programs.
    """
    if caveat is None:
        return dict(document)
    sentences = {
        name: f"{sentence}; but {caveat}" if name.startswith("guarantee") else sentence
        for name, sentence in document.items()
    }
    return {**sentences, "caveats": [*document.get("caveats", ()), caveat]}


def write_privacy(path: str | Path, document: Mapping[str, Any]) -> None:
    """Write ``privacy.json`` whole or not at all; an infinite ε becomes null. ``path`` is the file or its folder."""
    place = Path(path)
    if place.is_dir():
        place = place / PRIVACY_JSON
    write_json(place, document)


def sentence(spending: Spending) -> str:
    """Return a guarantee with all that it depends on, in one sentence."""
    at = f"at δ = {spending.delta:g}, {ONE_UNIT[spending.unit]} {CHANGE[spending.adjacency]}"
    sampled = " and ".join(SAMPLED[name] for name in spending.sampling)
    whom = "" if spending.seen_by == "everyone" else f", against the {spending.seen_by}"
    many = " or ".join(f"{population:,}" for population in spending.populations)
    text = f"{epsilon_text(spending.epsilon)} {at}{whom}; {sampled}; population {many}; {spending.accountant}"
    if spending.epsilon_data_independent is not None:
        text += f"; {ONE_DIRECTION} ({epsilon_text(spending.epsilon_data_independent)} whatever the votes were)"
    text += "; secret randomness" if spending.randomness == SECRET else f"; {SIMULATED}"
    if (warned := large_delta(spending.delta, spending.populations)) is not None:
        text += f"; {warned}"
    return text


def large_delta(delta: float, populations: Iterable[int]) -> str | None:
    """Return in words that δ is too large for the population; None: it is not.

    A mechanism that publishes one unit at random, whole, has ε = 0 at δ = 1 / population.
    """
    if (most := max(populations, default=None)) is None or delta * most < 1:
        return None
    return (
        f"δ = {delta:g} is not below 1 / population ({1 / most:.2g}): so large a δ allows that somebody's data are"
        " given away whole"
    )


def epsilon_text(epsilon: float) -> str:
    """Return ε rounded up to four digits."""
    if not math.isfinite(epsilon):
        return "no finite ε"
    return f"ε = {round_up(epsilon, 4):g}" if epsilon else "ε = 0"


def as_json(spending: Spending) -> dict[str, Any]:
    """Return the spending as JSON values."""
    values: dict[str, Any] = {
        "epsilon": spending.epsilon,
        "delta": spending.delta,
        "unit": spending.unit,
        "adjacency": spending.adjacency,
        "sampling": ", ".join(spending.sampling),
        "population": list(spending.populations),
        "seen_by": spending.seen_by,
        "accountant": spending.accountant,
        "randomness": spending.randomness,
        "delta_below_one_over_population": large_delta(spending.delta, spending.populations) is None,
    }
    if spending.epsilon_data_independent is not None:
        values["epsilon_data_independent"] = spending.epsilon_data_independent
        values |= {"data_dependent": True, "direction": "these votes against any neighbour"}
    return values


def distribution(values: np.ndarray[Any, np.dtype[np.float64]], delta: float) -> dict[str, Any]:
    """Return how ε is spread over clients that keep their own ledger; examples of different clients do not add."""
    spread = {name: float(values.mean() if q is None else np.quantile(values, q)) for name, q in QUANTILES.items()}
    return {"unit": "example", "delta": delta, "clients": len(values), "epsilon": spread}


def extrapolation(ledger: Ledger, spent: list[Spending], delta: float, target: Target) -> dict[str, Any]:
    """Return ε as it would be at the target population, were everything else the same."""
    spendings = []
    for spending in spent:
        group = spending.unit, spending.seen_by
        facts: dict[str, Any] = {"unit": spending.unit, "seen_by": spending.seen_by, "delta": delta}
        try:
            events = [extrapolated(e.event, e.population, target) for e in ledger.entries if e.group == group]
        except InputError as error:
            facts |= {"epsilon": None, "why": str(error)}
        else:
            facts |= {
                "epsilon": settled(events, delta, ledger.accountant).epsilon,
                "adjacency": spending.adjacency,
                "sampling": ", ".join(spending.sampling),
                "population": target.population,
                "randomness": spending.randomness,
            }
        spendings.append(facts)
    return {
        "note": "not what was simulated: ε of a larger deployment, if its error rate were the same",
        "population": target.population,
        "cohort_factor": target.cohort_factor,
        "spent": spendings,
    }
