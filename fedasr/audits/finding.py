"""What an audit says: one finding an attack, each with everything that its number depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from fedasr.privacy.accountants import round_up, settled
from fedasr.privacy.audit.contradiction import contradicts, ledger_bound
from fedasr.privacy.audit.curves import curve_of
from fedasr.privacy.audit.result import Bound
from fedasr.privacy.events import Event
from fedasr.typing import Floats

EVERYBODY = "whoever sees all that is released"
SERVER = "the server, which sees every message"
NOT_ATTACKED = "not attacked"
SYMBOLS = {"epsilon": "ε"}
"""Of quantities, in sentences."""


@dataclass(frozen=True)
class Scores:
    """What an attack saw, and what the ledger says of it."""

    attack: str
    inside: Floats
    """scores of units that took part, shape ``(n₁,)``"""
    outside: Floats
    """scores of units that did not, or sent something else, shape ``(n₀,)``"""
    claim: Callable[[float], Sequence[Event]]
    """the ledger's events with all noise multiplied by a factor"""
    accountant: str
    observer: str
    access: str
    """what of the release the attacker looks at"""
    knowledge: str
    """what else the attacker knows"""
    of_ledger: bool = True
    """whether the claim is that of the whole ledger, and not of a part of it"""
    named: Callable[[float], Sequence[Event]] | None = None
    """the noise that the ledger's entry names, where it is known more exactly than the ledger's ε; it must hold too"""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One attack's result, as it stands in ``audit.json``: an ε, or any other figure of what leaks.

    Nothing is known of a field that is None: of a run without privacy there is no claim, and what was not attacked has
    no value.
    """

    attack: str
    observer: str
    access: str
    """what of the run the attacker looks at"""
    knowledge: str
    """what else the attacker knows"""
    kind: str
    """``bound``, ``estimate`` or ``not attacked``"""
    quantity: str = "epsilon"
    """what ``value`` is: ``epsilon``, ``AUC``, ``TPR at 1 % FPR``, ``exposure``, ``equal error rate``, …"""
    quantity_unit: str = ""
    """of ``value``, such as ``bits``; empty: a plain number"""
    value: float | None
    """of the quantity; of a bound on ε, at least"""
    low: float | None = None
    high: float | None = None
    """of the interval; a lower bound has no upper end"""
    claim: float | None = None
    """the most that the ledger allows, in the same quantity; None: no ledger applies"""
    claim_epsilon: float | None = None
    """the ledger's ε from which the claim follows; of ``epsilon`` it is the claim"""
    delta: float | None = None
    unit: str
    """whom the attack is on, such as ``user`` or ``utterance``; where there is a claim, the ledger's"""
    adjacency: str | None = None
    sampling: str | None = None
    clients: int | None = None
    """registered, of whom one is looked at"""
    randomness: str | None = None
    """``secret``, or ``public seed``: whoever has the config can take the noise off"""
    n: int = 0
    """scores, codes, pairs or speakers that the value rests on"""
    inside: int | None = None
    outside: int | None = None
    method: str = ""
    confidence: float | None = None
    """of the bound or the interval; None: neither"""
    assumes: tuple[str, ...] = ()
    floors: Mapping[str, float] = field(default_factory=dict)
    """what the same attack finds where nothing can leak, such as ``{"random": 0.5, "initial model": 0.51}``"""
    contradiction: bool = False
    of_ledger: bool = False
    """whether the claim is of the whole run"""
    command: str = ""
    """of ``fedasr audit``, which replaces its former findings"""
    sentence: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**asdict(self), "floors": dict(self.floors), "assumes": list(self.assumes)}


def told(finding: Finding) -> Finding:
    """Return a finding with its sentence."""
    return replace(finding, sentence=sentence(finding))


def not_attacked(attack: str, reason: str, *, observer: str, access: str, unit: str) -> Finding:
    """Return what stands for an attack that was not possible: never that it is safe.

    Args:
        attack: its name.
        reason: why it was not possible, as a clause.
        observer: who would have attacked.
        access: what of the run it would have looked at.
        unit: whom it would have attacked, such as ``user``.
    """
    return Finding(
        attack=attack,
        observer=observer,
        access=access,
        knowledge="",
        kind=NOT_ATTACKED,
        value=None,
        unit=unit,
        method=reason,
        sentence=f"{attack}: not attacked: {reason}; that is no statement of safety",
    )


CHANGE = {"add-remove": "one more or less", "replace-one": "one exchanged for another", "zero-out": "one silenced"}


def alarmed(scores: Scores, alpha: float, noise: float = 1.0) -> bool:
    """Say whether scores contradict the ledger, or the noise that it names, with confidence 1 − α of both together.

    Args:
        scores: of an attack.
        alpha: probability of a false alarm, at most.
        noise: factor of the noise that is claimed; 1 is the ledger itself.
    """
    claims = [scores.claim] if scores.named is None else [scores.claim, scores.named]
    curves = [curve_of(list(claim(noise)), scores.accountant) for claim in claims]
    return any(contradicts(scores.inside, scores.outside, curve, alpha) for curve in curves)


def finding_from(
    scores: Scores, delta: float, alpha: float, clients: int, randomness: str, claim: float | None = None
) -> Finding:
    """Hold scores against their claim.

    Args:
        scores: of an attack.
        delta: at which ε is told; the contradiction is to the whole curve.
        alpha: probability of a false alarm, at most.
        clients: registered in the run.
        randomness: of the noise, ``secret`` or ``public seed``.
        claim: the ledger's ε, where it is known; it takes seconds to compute.
    """
    bound = ledger_bound(scores.inside, scores.outside, scores.named or scores.claim, delta, alpha)
    return of_bound(scores, bound, clients, randomness, claim, alarmed(scores, alpha))


def of_bound(
    scores: Scores,
    bound: Bound,
    clients: int,
    randomness: str,
    claim: float | None = None,
    contradiction: bool | None = None,
) -> Finding:
    """Return what a bound on ε says beside the claim.

    Args:
        scores: of an attack.
        bound: that they give, at the δ of the claim.
        clients: registered in the run.
        randomness: of the noise, ``secret`` or ``public seed``.
        claim: the ledger's ε, where it is known.
        contradiction: to the claim; None: where the bound, which is no estimate, is above it.
    """
    events = list(scores.claim(1.0))
    if claim is None:
        claim = settled(events, bound.delta, scores.accountant).epsilon
    if contradiction is None:
        contradiction = not bound.estimate and bound.epsilon > claim
    finding = Finding(
        attack=scores.attack,
        observer=scores.observer,
        access=scores.access,
        knowledge=scores.knowledge,
        kind="estimate" if bound.estimate else "bound",
        value=bound.epsilon,
        low=None if bound.estimate else bound.epsilon,
        claim=claim,
        claim_epsilon=claim,
        delta=bound.delta,
        unit=events[0].unit,
        adjacency=events[0].adjacency,
        sampling=", ".join(sorted({event.sampling for event in events})),
        clients=clients,
        randomness=randomness,
        n=bound.n,
        inside=len(scores.inside),
        outside=len(scores.outside),
        method=bound.method,
        confidence=None if bound.estimate else bound.confidence,
        assumes=bound.assumes,
        contradiction=contradiction,
        of_ledger=scores.of_ledger,
    )
    return told(finding)


def sentence(finding: Finding) -> str:
    """Return a finding with all that it depends on, in one sentence."""
    knows = f" and knows {finding.knowledge}" if finding.knowledge else ""
    parts = [
        f"{finding.attack}: {finding.kind} {found_value(finding)} {claimed(finding)} for one {finding.unit}"
        f"{circumstances(finding)}",
        *([floors(finding)] if finding.floors else []),
        f"observer: {finding.observer}, who looks at {finding.access}{knows}",
        f"{rests_on(finding)}, {finding.method}{certainty(finding)}",
    ]
    return "; ".join(parts)


def found_value(finding: Finding) -> str:
    """Return the quantity with its value and interval: ``ε ≥ 3.5``, ``AUC = 0.62 (0.55 to 0.7)``."""
    assert finding.value is not None
    symbol = SYMBOLS.get(finding.quantity, finding.quantity)
    unit = f" {finding.quantity_unit}" if finding.quantity_unit else ""
    sign = "≥" if finding.kind == "bound" else "="
    interval = ""
    if finding.kind != "bound" and finding.low is not None and finding.high is not None:
        interval = f" ({number(finding.low)} to {number(finding.high)})"
    return f"{symbol} {sign} {number(finding.value)}{unit}{interval}"


def claimed(finding: Finding) -> str:
    """Return what the ledger says of the same."""
    if finding.claim is None and finding.claim_epsilon is not None:
        at = "" if finding.delta is None else f" at δ = {finding.delta:g}"
        return f"(the ledger's ε = {number(finding.claim_epsilon, up=True)}{at} has no ceiling for it)"
    if finding.claim is None:
        return "(no ledger covers it)"
    verdict = "CONTRADICTS" if finding.contradiction else "does not contradict"
    if finding.kind == "estimate" and not finding.contradiction:
        verdict = "beside"
    whose = "the ledger's" if finding.of_ledger else "what the ledger says of this part:"
    at = "" if finding.delta is None else f" at δ = {finding.delta:g}"
    if finding.quantity == "epsilon":
        return f"{verdict} {whose} ε = {number(finding.claim, up=True)}{at}"
    epsilon = "" if finding.claim_epsilon is None else f", from ε = {number(finding.claim_epsilon, up=True)}{at},"
    return f"{verdict} {whose} ceiling of {number(finding.claim, up=True)}{epsilon}"


def circumstances(finding: Finding) -> str:
    """Return what the claim depends on, as far as it is known."""
    known = []
    if finding.adjacency is not None:
        known.append(CHANGE[finding.adjacency])
    if finding.sampling is not None:
        known.append({"none": "no sampling counted on"}.get(finding.sampling, f"sampling {finding.sampling}"))
    if finding.clients is not None:
        known.append(f"{finding.clients:,} clients")
    if finding.randomness is not None:
        known.append(f"randomness: {finding.randomness}")
    return f" ({'; '.join(known)})" if known else ""


def floors(finding: Finding) -> str:
    """Return what the attack finds where nothing can leak."""
    return "where nothing leaks: " + ", ".join(f"{name} {number(value)}" for name, value in finding.floors.items())


def rests_on(finding: Finding) -> str:
    """Return on how many scores the value rests."""
    if finding.inside is None or finding.outside is None:
        return f"n = {finding.n:,}"
    return f"{finding.inside:,} scores inside and {finding.outside:,} outside"


def certainty(finding: Finding) -> str:
    """Return the confidence, where there is one."""
    return "" if finding.confidence is None else f", confidence {100 * finding.confidence:g} %"


def number(epsilon: float, up: bool = False) -> str:
    """Return ε with four digits, rounded up where it is a claim."""
    if not np.isfinite(epsilon):
        return "∞"
    return f"{round_up(epsilon, 4):g}" if up and epsilon > 0 else f"{epsilon:.4g}"
