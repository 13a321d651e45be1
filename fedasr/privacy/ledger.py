"""The ledger: what a run released, and what that cost so far.

Costs are never added over different units (an utterance, a user, a teacher), nor over different onlookers: noise that
devices add protects against the server, noise that the server adds does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fedasr.errors import InputError
from fedasr.privacy.accountants import ACCOUNTANTS, MOST_STEPS, best_accountant, settled, steps_within
from fedasr.privacy.checks import count, one_of, positive, strict_fraction
from fedasr.privacy.events import UNITS, Event, PateVotes, event_from_json

VERSION = 1
MOST_LIMITS = 64
ONLOOKERS = ("everyone", "server")
"""Against whom a guarantee holds: whoever sees the released model or labels, or also the server that sees messages."""
PUBLIC_SEED, SECRET = "public seed", "secret"
RANDOMNESS = (PUBLIC_SEED, SECRET)
"""Where noise and samples come from: a seed that the config names, or the operating system, which tells nobody."""


ALIKE = ("released", "population", "seen_by", "randomness")
"""In what entries of equal events must agree to be one."""


@dataclass(frozen=True)
class Entry:
    """One kind of release, as often as it happened."""

    released: str
    """what: ``global model``, ``labels of the student``, …"""
    event: Event
    population: int
    """how many units there are, as the run simulated them"""
    seen_by: str = "everyone"
    first_round: int = 0
    last_round: int = 0
    randomness: str = PUBLIC_SEED

    @property
    def group(self) -> tuple[str, str]:
        """Whose presence is hidden from whom; only within a group do costs add."""
        return self.event.unit, self.seen_by

    def merged(self, other: Entry) -> Entry | None:
        """Return both as one entry; None where they differ in more than the round."""
        same = all(getattr(self, name) == getattr(other, name) for name in ALIKE)
        event = self.event.merged(other.event) if same else None
        if event is None:
            return None
        first, last = min(self.first_round, other.first_round), max(self.last_round, other.last_round)
        return replace(self, event=event, first_round=first, last_round=last)

    def as_json(self) -> dict[str, Any]:
        """Return JSON values, those that follow from the event included, for whoever reads ``privacy.json``."""
        return {
            "released": self.released,
            "seen_by": self.seen_by,
            "unit": self.event.unit,
            "adjacency": self.event.adjacency,
            "sampling": self.event.sampling,
            "population": self.population,
            "randomness": self.randomness,
            "first_round": self.first_round,
            "last_round": self.last_round,
            "mechanism": self.event.describe(),
            "event": self.event.as_json(),
        }


@dataclass(frozen=True)
class Budget:
    """How much may be spent.

    Raises:
        InputError: a number is out of range.
    """

    epsilon: float
    delta: float
    unit: str | None = None
    """whose; None: of every unit, each on its own"""

    def __post_init__(self) -> None:
        positive("epsilon", self.epsilon)
        strict_fraction("delta", self.delta)
        if self.unit is not None:
            one_of("unit", self.unit, UNITS)


@dataclass(frozen=True)
class Spending:
    """What one group of releases cost, with everything without which an ε means nothing."""

    unit: str
    seen_by: str
    adjacency: str
    sampling: tuple[str, ...]
    populations: tuple[int, ...]
    epsilon: float
    delta: float
    accountant: str
    epsilon_data_independent: float | None = None
    """for votes: the ε that holds whatever the votes were; None where nothing depends on data"""
    randomness: str = PUBLIC_SEED
    """``secret`` only where that of every release was"""

    @property
    def data_dependent(self) -> bool:
        """Whether ε itself says something about the data, and must not be published as it is."""
        return self.epsilon_data_independent is not None


@dataclass
class Ledger:
    """Entries of a run, composed on demand; its state is small however long the run.

    Args:
        accountant: who computes ε where it can, else rdp: ``pld``, ``rdp`` or ``prv``.
        secret: whether the randomness of what is charged comes from the operating system, and no seed leads to it.
    """

    accountant: str = "pld"
    secret: bool = field(default=False, kw_only=True, compare=False)
    entries: list[Entry] = field(default_factory=list)
    limits: dict[Any, tuple[int, int]] = field(default_factory=dict, repr=False, compare=False)
    """how many steps of an event are known to fit beside the rest, and how many not; no part of the state"""

    def __post_init__(self) -> None:
        one_of("accountant", self.accountant, ACCOUNTANTS)

    def charge(
        self, event: Event, *, released: str, population: int, round: int = 0, seen_by: str = "everyone"
    ) -> None:
        """Enter a release. Call it before the release leaves the mechanism, whether or not anybody replied.

        Args:
            event: the mechanism.
            released: what, for people.
            population: how many units there are.
            round: when; 0: outside the rounds.
            seen_by: ``everyone`` or ``server``.

        Raises:
            InputError: the same unit has been charged under another adjacency before.
        """
        entry = self.entry(event, released, population, round, seen_by)
        self.check_adjacency(entry)
        for index, known in enumerate(self.entries):
            if (merged := known.merged(entry)) is not None:
                self.entries[index] = merged
                return
        self.entries.append(entry)

    def would_exceed(self, budget: Budget, event: Event, *, seen_by: str = "everyone") -> bool:
        """Say whether the budget would be exceeded if the event were charged now.

        A budget of another unit is never exceeded by it. What is known from earlier questions of the same kind is
        used again, so that asking before each of many rounds costs a few computations altogether.

        Raises:
            InputError: the same unit has been charged under another adjacency before.
        """
        entry = self.entry(event, "", 1, 0, seen_by)
        self.check_adjacency(entry)
        if budget.unit not in (None, event.unit):
            return False
        events = self.events(entry.group)
        if isinstance(event, PateVotes):  # its queries are not alike
            return settled([*events, event], budget.delta, self.accountant).epsilon > budget.epsilon
        alike, others = 0, []
        for known in events:
            if known.merged(event) is None:
                others.append(known)
            else:
                alike += known.steps
        wanted = alike + event.steps
        key = (budget, entry.group, event.times(0), tuple(others))
        fits, exceeds = self.limits.get(key, (0, 0))
        if wanted <= fits:
            return False
        if exceeds and wanted >= exceeds:
            return True
        # Farther than asked: the next rounds are then known to fit as well.
        ahead = (wanted + exceeds) // 2 if exceeds else 2 * wanted
        for steps in sorted({ahead, wanted}, reverse=True):
            if self.cost(others, event, steps, budget.delta) <= budget.epsilon:
                fits = steps
                break
            exceeds = steps
        if len(self.limits) >= MOST_LIMITS:
            self.limits.clear()
        self.limits[key] = fits, exceeds
        return wanted > fits

    def room(self, budget: Budget, event: Event, *, seen_by: str = "everyone") -> int:
        """Return how many times more the event could be charged within the budget.

        Raises:
            InputError: as ``would_exceed``.
        """
        entry = self.entry(event, "", 1, 0, seen_by)
        self.check_adjacency(entry)
        if budget.unit not in (None, event.unit):
            return MOST_STEPS
        spent = self.events(entry.group)
        accountant = best_accountant([*spent, event], self.accountant)
        return steps_within(event, budget.epsilon, budget.delta, accountant, spent)

    def spent(self, delta: float) -> list[Spending]:
        """Return what each group cost, at δ.

        Raises:
            InputError: δ is not between 0 and 1.
        """
        return [self.spending(group, delta) for group in self.groups()]

    def epsilon(self, delta: float, unit: str, seen_by: str = "everyone") -> float:
        """Return ε of one group at δ; 0 where nothing was charged to it."""
        strict_fraction("delta", delta)
        one_of("unit", unit, UNITS)
        return self.spending((unit, seen_by), delta).epsilon if (unit, seen_by) in self.groups() else 0.0

    def spending(self, group: tuple[str, str], delta: float) -> Spending:
        """Return what one group cost, at δ."""
        entries = [entry for entry in self.entries if entry.group == group]
        events = self.events(group)
        answer = settled(events, delta, self.accountant)
        whatever = None
        if any(isinstance(event, PateVotes) and event.data_dependent for event in events):
            plain = [event.data_independent() if isinstance(event, PateVotes) else event for event in events]
            whatever = settled(plain, delta, self.accountant).epsilon
        return Spending(
            unit=group[0],
            seen_by=group[1],
            adjacency=entries[0].event.adjacency,
            sampling=tuple(sorted({event.sampling for event in events})),
            populations=tuple(sorted({entry.population for entry in entries})),
            epsilon=answer.epsilon,
            delta=delta,
            accountant=answer.accountant,
            epsilon_data_independent=whatever,
            randomness=SECRET if all(entry.randomness == SECRET for entry in entries) else PUBLIC_SEED,
        )

    def groups(self) -> list[tuple[str, str]]:
        """Return the groups that were charged, in the order of their first entries."""
        return list(dict.fromkeys(entry.group for entry in self.entries))

    def events(self, group: tuple[str, str]) -> list[Event]:
        """Return the events of a group, merged where they differ only in what was released."""
        charged: list[Event] = []
        for entry in self.entries:
            if entry.group != group:
                continue
            for index, known in enumerate(charged):
                if (merged := known.merged(entry.event)) is not None:
                    charged[index] = merged
                    break
            else:
                charged.append(entry.event)
        return charged

    def state_dict(self) -> dict[str, Any]:
        """Return JSON values from which ``load_state_dict`` makes the same ledger."""
        return {
            "version": VERSION,
            "accountant": self.accountant,
            "entries": [entry.as_json() for entry in self.entries],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put the ledger in the state that was saved, here or in another process.

        Raises:
            InputError: it is not the state of a ledger.
        """
        if state.get("version") != VERSION:
            raise InputError(f"is not a privacy ledger of version {VERSION}", where="privacy ledger")
        try:
            entries = [
                self.entry(event_from_json(e["event"]), e["released"], e["population"], e["first_round"], e["seen_by"])
                for e in state["entries"]
            ]
            last = [count("last_round", e["last_round"], low=0) for e in state["entries"]]
            # What an older version wrote does not say, and then nothing may be claimed of it.
            drawn = [one_of("randomness", e.get("randomness", PUBLIC_SEED), RANDOMNESS) for e in state["entries"]]
        except (KeyError, TypeError) as error:
            raise InputError(f"is damaged: {error!r}", where="privacy ledger") from None
        self.accountant = one_of("accountant", str(state.get("accountant")), ACCOUNTANTS)
        self.entries = [
            replace(entry, last_round=at, randomness=randomness)
            for entry, at, randomness in zip(entries, last, drawn, strict=True)
        ]
        self.limits.clear()

    def entry(self, event: Event, released: str, population: int, round: int, seen_by: str) -> Entry:
        """Return a checked entry."""
        count("population", population)
        count("round", round, low=0)
        one_of("seen_by", seen_by, ONLOOKERS)
        return Entry(released, event, population, seen_by, round, round, SECRET if self.secret else PUBLIC_SEED)

    def check_adjacency(self, entry: Entry) -> None:
        """Raise where an ε would mix two adjacencies.

        Raises:
            InputError: it would.
        """
        for known in self.entries:
            if known.group == entry.group and known.event.adjacency != entry.event.adjacency:
                raise InputError(
                    f"'{entry.released or entry.event.describe()}' is accounted for under {entry.event.adjacency}, but"
                    f" '{known.released}' of the same unit under {known.event.adjacency}: their ε do not add; use"
                    " mechanisms of one adjacency in a run"
                )

    def cost(self, others: list[Event], event: Event, steps: int, delta: float) -> float:
        """Return ε of so many steps of the event beside the others."""
        return settled([*others, replace(event, steps=steps)], delta, self.accountant).epsilon
