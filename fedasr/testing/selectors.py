"""The laws of a selector."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fedasr import seeds
from fedasr.data.roster import Roster
from fedasr.privacy.sampling import Traits
from fedasr.references import load_reference
from fedasr.testing.law import law, same, shown
from fedasr.typing import Floats, Integers

FEEDBACK = "fedasr.strategies.selection.base:Feedback"
REPLIES = (np.nan, np.inf, 0.0, 1e-300, 0.3, 1.0, 7.0, 1e200)
"""Losses that clients report."""
COLUMNS = (
    "utterances",
    "seconds",
    "recent_utterances",
    "recent_seconds",
    "last_round",
    "last_loss",
    "tier",
    "group",
    "excluded",
)
DEVIATIONS = 6.0
"""Standard errors that a frequency may be from its probability: by chance one in five hundred million is further."""


def seconds(utterances: Integers) -> Floats:
    """Return two seconds an utterance."""
    return 2 * utterances.astype(np.float64)


def example_rosters() -> dict[str, Roster]:
    """Return small populations: equal clients, unequal ones of whom some are away or hold nothing, and one client."""
    unequal = np.array([1, 2, 3, 4, 40, 0, 3, 5, 9, 6], np.int64)
    recent = unequal // 2
    away = Roster.from_counts(unequal, seconds(unequal))
    away.store(unequal, seconds(unequal), recent, seconds(recent))
    away.attend(np.arange(len(unequal)) != 8)
    away.group[:] = [0, 1, 0, 0, 1, 1, 2, 0, 1, 2]
    away.last_loss[:] = [1, np.nan, 0.5, 2, 0.1, np.nan, 1, 3, 1, 0.2]
    equal = np.full(12, 4, np.int64)
    return {
        "equal": Roster.from_counts(equal, seconds(equal)),
        "unequal": away,
        "single": Roster.from_counts(equal[:1], seconds(equal[:1])),
    }


def check_selector(
    make: Callable[[], Any],
    *,
    rosters: Mapping[str, Roster] | None = None,
    cohort: int = 3,
    rounds: int = 3,
    seed: int = 0,
    draws: int = 400,
) -> None:
    """Check the laws of a selector.

    - The same seed, round and history give the same cohort, also after ``state_dict`` went through JSON.
    - Clients are distinct ``int64`` numbers of ``roster.selectable``, at most ``cohort`` of them unless the declared
      sampling is ``poisson``; the roster is only read.
    - A reported probability is in (0, 1] or NaN; over many seeds each client is drawn as often as it says, and the
      probabilities sum to the mean size of the cohort.
    - What ``traits`` declare is true: sampling, ``reads_losses``, ``reads_activity``, ``reads_groups``, ``repeats``,
      ``separation``, ``reports_probabilities``. A selector without traits has promised none of these.

    Args:
        make: returns a new selector.
        rosters: populations by name; None: three small ones.
        cohort: clients a round.
        rounds: how long the selector is followed.
        seed: of its generators.
        draws: cohorts of the first round from which frequencies are estimated; 0: they are not.

    Raises:
        AssertionError: naming the law and the example.
    """
    for name, roster in (example_rosters() if rosters is None else rosters).items():
        check_history(make, roster, f"roster '{name}', cohort {cohort}, seed {seed}", cohort, rounds, seed)
        check_blindness(make, roster, f"roster '{name}', cohort {cohort}, seed {seed}", cohort, rounds, seed)
        if draws and len(roster.selectable):
            check_frequencies(make, roster, f"roster '{name}', cohort {cohort}, {draws} seeds", cohort, draws)


def traits_of(selector: Any) -> Traits | None:
    """Return what a selector declares."""
    traits = getattr(selector, "traits", None)
    law(traits is None or isinstance(traits, Traits), "'traits' is a fedasr.privacy.sampling.Traits", repr(traits))
    return traits


def probed(selector: Any, shift: float = 0.0) -> Any:
    """Return a selector whose questions for losses, where it asks any, are answered; some clients do not answer."""
    if hasattr(selector, "probe"):
        selector.probe = lambda round, clients: np.where(
            clients % 7 == 0, np.nan, np.sin(clients * (1 + shift) + round)
        )
    return selector


def check_history(make: Callable[[], Any], roster: Roster, where: str, cohort: int, rounds: int, seed: int) -> None:
    """Follow two selectors alike, one of them resumed after each round."""
    one, resumed = probed(make()), probed(make())
    traits = traits_of(one)
    last: dict[int, int] = {}
    for round in range(1, rounds + 1):
        example = f"{where}, round {round}"
        before = {name: np.array(getattr(roster, name)) for name in COLUMNS}
        chosen = one.select(round, roster, cohort, generator(seed, round))
        again = resumed.select(round, roster, cohort, generator(seed, round))
        for name, column in before.items():
            law(same(column, getattr(roster, name)), "a selector only reads the roster", f"{example}: '{name}' changed")
        check_cohort(chosen, roster, cohort, example)
        if traits is not None:
            among = one.eligible(roster) if hasattr(one, "eligible") else roster.selectable
            check_declared(chosen, cohort, len(among), traits, example)
        law(
            len(chosen.clients) <= cohort or (traits is not None and traits.sampling == "poisson"),
            "at most k clients are chosen, unless the declared sampling is 'poisson'",
            f"{example}: {len(chosen.clients)}",
        )
        for name in ("clients", "probabilities", "draw_counts"):
            left, right = getattr(chosen, name), getattr(again, name)
            law(
                same(left, right),
                "the same seed, round and history give the same cohort, also after state_dict and load_state_dict",
                f"{example}: '{name}' is {shown(left)} and {shown(right)}",
            )
        for client in chosen.clients.tolist():
            apart = round - last.get(client, -1_000_000)
            law(
                traits is None or apart >= traits.separation,
                "two participations of a client are at least the declared separation apart",
                f"{example}: client {client} last took part {apart} rounds ago",
            )
            last[client] = round
        feedback = replies(round, chosen.clients, roster, seed)
        one.observe(feedback)
        resumed.observe(feedback)
        try:
            state = json.loads(json.dumps(resumed.state_dict(), allow_nan=False))
        except (TypeError, ValueError) as error:
            law(False, "state_dict holds JSON values", f"{example}: {error}")
        resumed = probed(make())
        resumed.load_state_dict(state)


def check_cohort(chosen: Any, roster: Roster, cohort: int, example: str) -> None:
    """Check the form of a selection."""
    ids, probabilities = np.asarray(chosen.clients), np.asarray(chosen.probabilities)
    there = roster.selectable
    law(ids.dtype == np.int64 and ids.ndim == 1, "clients are int64 of shape (chosen,)", f"{example}: {ids.dtype}")
    law(len(set(ids.tolist())) == len(ids), "the clients of a cohort are distinct", f"{example}: {shown(ids)}")
    law(
        set(ids.tolist()) <= set(there.tolist()),
        "only clients of roster.selectable are chosen",
        f"{example}: {shown(np.setdiff1d(ids, there))} are not",
    )
    law(
        probabilities.shape == ids.shape,
        "there is one probability for each chosen client",
        f"{example}: {probabilities.shape} for {ids.shape}",
    )
    good = np.isnan(probabilities) | ((probabilities > 0) & (probabilities <= 1))
    law(bool(good.all()), "a probability is above 0 and at most 1, or NaN", f"{example}: {shown(probabilities)}")


def check_declared(chosen: Any, cohort: int, eligible: int, traits: Traits, example: str) -> None:
    """Check a selection against what its selector declares; ``eligible`` clients are drawn among."""
    probabilities = np.asarray(chosen.probabilities)
    law(
        not traits.reports_probabilities or not np.isnan(probabilities).any(),
        "where 'reports_probabilities' is declared none is NaN",
        f"{example}: {shown(probabilities)}",
    )
    law(
        traits.repeats or bool((chosen.draw_counts == 1).all()),
        "no client is drawn twice unless 'repeats' is declared",
        f"{example}: {shown(chosen.draw_counts)}",
    )
    share = min(1.0, cohort / max(eligible, 1))
    law(
        traits.sampling == "none" or bool(np.allclose(probabilities, share, rtol=1e-12)),
        f"'{traits.sampling}' sampling draws everybody with probability k/N",
        f"{example}: {shown(probabilities)}; k/N is {share:.6g}",
    )
    law(
        traits.sampling != "fixed-size" or len(chosen.clients) == min(cohort, eligible),
        "'fixed-size' sampling draws min(k, N) clients",
        f"{example}: {len(chosen.clients)} of {eligible}",
    )


def check_blindness(make: Callable[[], Any], roster: Roster, where: str, cohort: int, rounds: int, seed: int) -> None:
    """Check that what is not declared to be read changes nothing."""
    traits = traits_of(make())
    if traits is None:
        return
    if not traits.reads_losses:
        other = copy.deepcopy(roster)
        other.last_loss[:] = np.linspace(0.1, 9.0, len(roster))
        first, second = (cohorts(make, table, cohort, rounds, seed, loss) for table, loss in ((roster, 0), (other, 1)))
        law(
            first == second,
            "losses change no cohort unless 'reads_losses' is declared",
            f"{where}: cohorts {first} and, with other losses, {second}",
        )
    if not traits.reads_groups:
        other = copy.deepcopy(roster)
        other.group[:] = np.arange(len(roster)) % 3
        first, second = (cohorts(make, table, cohort, rounds, seed, 0) for table in (roster, other))
        law(
            first == second,
            "the groups of clients change no cohort unless 'reads_groups' is declared",
            f"{where}: cohorts {first} and, with other groups, {second}",
        )
    if not traits.reads_activity:
        other = copy.deepcopy(roster)
        counts = np.where(roster.utterances > 0, roster.utterances[::-1] + np.arange(1, len(roster) + 1), 0)
        other.store(counts, seconds(counts), counts, seconds(counts))
        first, second = (cohorts(make, table, cohort, rounds, seed, 0) for table in (roster, other))
        law(
            first == second,
            "what clients store changes no cohort unless 'reads_activity' is declared",
            f"{where}: cohorts {first} and, with other counts, {second}",
        )


def cohorts(
    make: Callable[[], Any], roster: Roster, cohort: int, rounds: int, seed: int, shift: int
) -> list[list[int]]:
    """Return the cohorts of some rounds; ``shift`` makes the losses others."""
    selector = probed(make(), float(shift))
    drawn = []
    for round in range(1, rounds + 1):
        chosen = selector.select(round, roster, cohort, generator(seed, round))
        drawn.append(chosen.clients.tolist())
        selector.observe(replies(round, chosen.clients, roster, seed, shift, utterances=1))
    return drawn


def check_frequencies(make: Callable[[], Any], roster: Roster, where: str, cohort: int, draws: int) -> None:
    """Check that clients are drawn as often as they are reported to be."""
    reported, selections, sizes = np.full(len(roster), np.nan), np.zeros(len(roster)), np.zeros(draws)
    for seed in range(draws):
        chosen = probed(make()).select(1, roster, cohort, generator(seed, 1))
        ids, probabilities = chosen.clients, np.asarray(chosen.probabilities, np.float64)
        sizes[seed] = len(ids)
        if np.isnan(probabilities).any():
            return
        known = ~np.isnan(reported[ids])
        law(
            bool(np.allclose(reported[ids][known], probabilities[known], rtol=1e-9)),
            "a client's probability is the same whoever else was drawn",
            f"{where}: {shown(reported[ids][known])} and {shown(probabilities[known])}",
        )
        reported[ids] = probabilities
        selections[ids] += 1
    drawn = np.flatnonzero(~np.isnan(reported))
    expected, frequency = reported[drawn], selections[drawn] / draws
    error = DEVIATIONS * np.sqrt(expected * (1 - expected) / draws) + 1e-9
    worst = int(np.argmax(np.abs(frequency - expected) - error))
    law(
        bool((np.abs(frequency - expected) <= error).all()),
        "each client is drawn as often as its probability says",
        f"{where}: client {drawn[worst]} was in {frequency[worst]:.3f} of them, reports {expected[worst]:.3f}",
    )
    check_sum(expected, sizes, where)


def check_sum(expected: Floats, sizes: Floats, where: str) -> None:
    """Check that the probabilities sum to the size of the cohort; who was never drawn reports nothing."""
    room = DEVIATIONS * float(sizes.std()) / np.sqrt(len(sizes)) + 0.05 * float(sizes.mean()) + 1e-9
    law(
        abs(float(expected.sum()) - float(sizes.mean())) <= room,
        "the probabilities of all clients sum to the expected size of the cohort",
        f"{where}: they sum to {expected.sum():.3f}, the cohorts have {sizes.mean():.3f} clients on average",
    )


def generator(seed: int, round: int) -> np.random.Generator:
    """Return the generator that a selector gets in a round."""
    return seeds.generator(seed, "selection", round)


def replies(
    round: int, clients: Integers, roster: Roster, seed: int, shift: int = 0, utterances: int | None = None
) -> Any:
    """Return what a round brings: some clients answer, with any losses and durations, and the others do not."""
    rng = seeds.generator(seed, "replies", round)
    answered = int(rng.integers(0, len(clients) + 1))
    loss = np.array(REPLIES)[(rng.integers(0, len(REPLIES), answered) + shift) % len(REPLIES)]
    duration = np.array([np.nan, 0.0, 1.0, 9.0])[rng.integers(0, 4, answered)]
    stored = roster.utterances[clients[:answered]] if utterances is None else np.full(answered, utterances)
    with np.errstate(over="ignore"):
        square = loss**2
    return load_reference(FEEDBACK)(round, clients[:answered], loss, square, stored, duration, clients[answered:])
