"""What the canary users of a run show: ``canaries.parquet`` held against the ledger in ``privacy.json``.

A run does this at its end, and ``fedasr audit run`` again from its files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.audits.finding import EVERYBODY, SERVER, Finding, Scores, finding_from, not_attacked, number, of_bound, told
from fedasr.audits.mechanism.world import scaled
from fedasr.config import Config, load
from fedasr.errors import InputError
from fedasr.privacy.accountants import settled
from fedasr.privacy.audit import bounds, one_run, scores
from fedasr.privacy.audit.ceiling import Ceiling
from fedasr.privacy.audit.curves import curve_of
from fedasr.privacy.audit.linking import area_under_curve
from fedasr.privacy.audit.result import Bound
from fedasr.privacy.events import Event
from fedasr.privacy.ledger import Ledger
from fedasr.references import load_reference
from fedasr.results.load import Run, load_run
from fedasr.typing import Floats

COMMAND = "run"
"""Of ``fedasr audit``; a run's own audit at its end counts as the same."""
ALPHA = 0.001
"""Probability of a false alarm of all findings together, at most."""
GUESSED = 0.3
"""Share of the canaries that is guessed for the bounds of one run, fixed beforehand."""
SUSPECTED = 0.7
"""Share of the claimed noise that scores under sampling are the best ones for: an audit looks for less noise than is
claimed, and a score that was fixed beforehand may be any."""
FIGURE = "audit_canary_users.png"
LARGEST = 1e4
"""ε beyond which a claim says nothing that could be contradicted."""
NOISE_OF = "fedasr.strategies.privacy.user_level:noise_of"
NO_TURN = "no canary user had a turn"
ALL, LAST = "the global model after every round", "each noisy update"


@dataclass(frozen=True)
class Watched:
    """What the rounds of a run showed; the inserted canaries come first."""

    products: Floats
    """shape ``(rounds, canaries)``"""
    turns: npt.NDArray[np.bool_]
    """alike"""
    signs: Floats
    """of the inserted ones, shape ``(inserted,)``"""
    probability: Floats
    """of a user to be in a round, shape ``(rounds, 1)``"""
    noise: Floats
    """its multiplier, alike"""

    @property
    def inserted(self) -> int:
        """How many took part, or could have."""
        return len(self.signs)


def audit_canaries(path: str | Path, alpha: float = ALPHA) -> list[Finding]:
    """Return what the canary users of a run show, and draw it into the run folder.

    Args:
        path: of the run folder.
        alpha: probability of a false alarm, at most, of all findings together.

    Raises:
        InputError: it is no run folder, the run has no canary users, or a file is damaged.
    """
    run = load_run(path)
    config = load(run.path / "config.yaml", checked=False)
    if not config.audit.canaries:
        raise InputError(
            "has no canary users ('audit.canaries' is 0); run it with some, or use 'fedasr audit mechanism'",
            where=str(run.path),
        )
    watched = watched_in(run, config)
    observer = SERVER if config.privacy.noise_at == "device" else EVERYBODY
    if watched is None:
        reason = "there is no canaries.parquet: the run has released nothing, or has not ended"
        return [not_attacked(name_of(0), reason, observer=observer, access=ALL, unit="user")]
    ledger = ledger_of(run)
    figure = run.path / FIGURE
    if ledger is None:
        return without_ledger(config, watched, alpha, figure)
    return beside_ledger(config, watched, ledger, alpha, figure)


def name_of(rounds: int) -> str:
    """Return the name of the attack."""
    return f"canary users of the run over {rounds} rounds"


def watched_in(run: Run, config: Config) -> Watched | None:
    """Return what ``canaries.parquet`` says; None: there is none, since no round released anything.

    Raises:
        InputError: it is damaged.
    """
    table = run.canaries
    if not len(table):
        return None
    rounds = int(table["round"].nunique())
    count = len(table) // rounds
    numbers = table["canary"].to_numpy()
    if len(table) % rounds or not np.array_equal(numbers, np.tile(np.arange(count), rounds)):
        raise InputError(
            "is damaged: not every round has every canary, in their order", where=str(run.path / "canaries.parquet")
        )

    def block(name: str) -> npt.NDArray[Any]:
        return table[name].to_numpy().reshape(rounds, count)

    inserted = int(block("inserted")[0].sum())
    if not inserted == config.audit.canaries < count:
        raise InputError(
            f"has {inserted} inserted canaries of {count}, but 'audit.canaries' is {config.audit.canaries}",
            where=str(run.path / "canaries.parquet"),
        )
    return Watched(
        block("product").astype(np.float64),
        block("turn").astype(np.bool_),
        block("sign")[0, :inserted].astype(np.float64),
        block("probability")[:, :1].astype(np.float64),
        block("noise_multiplier")[:, :1].astype(np.float64),
    )


def ledger_of(run: Run) -> Ledger | None:
    """Return the ledger of a run; None: nothing private ran.

    Raises:
        InputError: ``privacy.json`` is damaged.
    """
    state = (run.privacy or {}).get("ledger")
    if state is None:
        return None
    ledger = Ledger()
    ledger.load_state_dict(state)
    return ledger if ledger.entries else None


def beside_ledger(
    config: Config, watched: Watched, ledger: Ledger, alpha: float, figure: Path | None = None
) -> list[Finding]:
    """Return every bound that applies, and the estimate where it does, each beside the ledger's claim."""
    entry = ledger.entries[0]
    events = ledger.events(entry.group)
    delta = config.privacy.delta
    observer = SERVER if entry.seen_by == "server" else EVERYBODY
    access = LAST if entry.seen_by == "server" else ALL
    name = name_of(len(watched.products))
    claim = settled(events, delta, ledger.accountant).epsilon
    if not claim < LARGEST:
        reason = f"the ledger's ε, {claim:.3g}, promises nothing that could be contradicted"
        return [not_attacked(name, reason, observer=observer, access=access, unit=entry.event.unit)]
    inside, outside, knowledge = scored(config, watched, entry.event)
    if not len(inside) or not len(outside):
        reason = NO_TURN if entry.event.sampling == "none" else "all send the same, by their coins; insert more"
        return [not_attacked(name, reason, observer=observer, access=access, unit=entry.event.unit)]
    seen = Scores(name, inside, outside, partial(scaled, events), ledger.accountant, observer, access, knowledge)
    if figure is not None:
        told_claim = f"ceiling of ε = {number(claim, up=True)} at δ = {delta:g}"
        shown(figure, name, inside, outside, told_claim, Ceiling(curve_of(events, ledger.accountant)))
    methods = applicable(seen, entry.event, delta)
    each = alpha / (1 + len(methods))
    population, randomness = entry.population, entry.randomness
    findings = [finding_from(seen, delta, each, population, randomness, claim)]
    findings += [of_bound(seen, method(each), population, randomness, claim) for method in methods]
    if entry.event.sampling == "none":  # else scores are no Gaussians
        findings.append(of_bound(seen, bounds.one_shot(inside, outside, delta), population, randomness, claim))
    return findings


def scored(config: Config, watched: Watched, event: Event) -> tuple[Floats, Floats, str]:
    """Return the scores inside and outside, and what the attacker knows: by what the ledger assumes of the cohorts.

    Worlds follow the ledger's adjacency: in or out, +c or −c, with its update or with none.
    """
    count, noise = watched.inserted, SUSPECTED * watched.noise
    if event.adjacency == "replace-one":
        result = scores.exchanged(watched.products[:, :count], noise, watched.probability)
        knows = "the two updates of each canary, all others' updates, but not in which rounds the canary is"
        return result[watched.signs > 0], result[watched.signs < 0], knows
    if event.sampling == "poisson":
        result = scores.poisson(watched.products, noise, watched.probability)
        knows = "the canary, the cohorts and updates of all others, but not in which rounds the canary is"
        return result[:count], result[count:], knows
    rounds = len(watched.products)
    correlated = config.privacy.noise_at == "server"
    matrix = load_reference(NOISE_OF)(config).matrix(rounds) if correlated else np.eye(rounds)
    inside, outside = known_turns(watched, matrix, float(watched.noise[0, 0]))
    return inside, outside, "the canary, its participations and all others' updates"


def known_turns(watched: Watched, matrix: Floats, noise: float) -> tuple[Floats, Floats]:
    """Return the scores inside and outside of canaries whose turns are known, of those that had any.

    Args:
        watched: what the rounds showed.
        matrix: of correlated noise, as ``scores.matched`` takes it.
        noise: its multiplier.
    """
    result = scores.matched(watched.products, watched.turns.astype(np.float64), matrix, noise)
    some = np.asarray(np.any(watched.turns, axis=0), np.bool_)
    inside = np.arange(len(result)) < watched.inserted
    return result[some & inside], result[some & ~inside]


def applicable(seen: Scores, event: Event, delta: float) -> Sequence[Callable[[float], Bound]]:
    """Return the bounds beside the ledger test whose assumptions the run meets, each of an error probability.

    Without sampling a score is Gaussian. By fair coins of their own canaries were put in where each sends +c or −c.
    """
    inside, outside = seen.inside, seen.outside
    methods: list[Callable[[float], Bound]] = [lambda alpha: bounds.pointwise(inside, outside, delta, alpha)]
    if event.adjacency == "replace-one":
        canaries = len(inside) + len(outside)
        guessed, right = one_run.guesses(inside, outside, GUESSED)
        methods.append(lambda alpha: one_run.one_run(canaries, guessed, right, delta, alpha))
        if event.sampling == "none":
            methods.append(lambda alpha: one_run.f_dp_one_run(canaries, guessed, right, delta, alpha))
    if event.sampling == "none":
        methods.append(lambda alpha: bounds.gaussian_dp(inside, outside, delta, alpha))
        methods.append(lambda alpha: bounds.gaussian_t(inside, outside, delta, alpha))
    return methods


def shown(path: Path, name: str, inside: Floats, outside: Floats, claim: str, ceiling: Ceiling | None = None) -> None:
    """Draw the true against the false positives of an attack, under the ledger's ceiling where there is one."""
    from fedasr.audits.membership.figure import Line, draw  # Matplotlib is slow to import

    member = np.arange(len(inside) + len(outside)) < len(inside)
    caption = f"{name}: {len(inside):,} scores inside and {len(outside):,} outside; {claim}"
    draw(path, [Line("canary users", np.concatenate([inside, outside]), member)], ceiling, caption)


def without_ledger(config: Config, watched: Watched, alpha: float, figure: Path | None = None) -> list[Finding]:
    """Return what canary users show where nothing was promised: who took part can be told from the models."""
    rounds = len(watched.products)
    inside, outside = known_turns(watched, np.eye(rounds), 1.0)
    if not len(inside) or not len(outside):
        return [not_attacked(name_of(rounds), NO_TURN, observer=EVERYBODY, access=ALL, unit="user")]
    if figure is not None:
        shown(figure, name_of(rounds), inside, outside, "nothing was promised")
    area, low, high = area_with_interval(inside, outside)
    delta = config.privacy.delta
    proven, fitted = bounds.pointwise(inside, outside, delta, alpha), bounds.one_shot(inside, outside, delta)
    shared: dict[str, Any] = {
        "attack": name_of(rounds),
        "observer": EVERYBODY,
        "access": ALL,
        "knowledge": "the canary and its participations, and nothing of the others",
        "unit": "user",
        "n": len(inside) + len(outside),
        "inside": len(inside),
        "outside": len(outside),
    }
    return [
        told(
            Finding(
                **shared,
                kind="estimate",
                quantity="AUC",
                value=area,
                low=low,
                high=high,
                method="Mann–Whitney, interval of Hanley and McNeil",
                confidence=0.95,
                floors={"random": 0.5},
            )
        ),
        *(
            told(
                Finding(
                    **shared,
                    kind="estimate" if bound.estimate else "bound",
                    value=bound.epsilon,
                    low=None if bound.estimate else bound.epsilon,
                    delta=delta,
                    method=bound.method,
                    confidence=None if bound.estimate else bound.confidence,
                    assumes=bound.assumes,
                )
            )
            for bound in (proven, fitted)
        ),
    ]


def area_with_interval(inside: Floats, outside: Floats) -> tuple[float, float, float]:
    """Return the area under the ROC curve and its 95 % interval (Hanley and McNeil 1982)."""
    area = area_under_curve(inside, outside)
    n1, n0 = len(inside), len(outside)
    first, second = area / (2 - area), 2 * area * area / (1 + area)
    variance = (area * (1 - area) + (n1 - 1) * (first - area**2) + (n0 - 1) * (second - area**2)) / (n1 * n0)
    half = 1.96 * math.sqrt(max(variance, 0.0))
    return area, max(0.0, area - half), min(1.0, area + half)
