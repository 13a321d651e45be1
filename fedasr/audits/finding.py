"""What an audit says: one finding an attack, each with everything that its number depends on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from fedasr.privacy.accountants import round_up, settled
from fedasr.privacy.audit.contradiction import contradicts, ledger_bound
from fedasr.privacy.audit.curves import curve_of
from fedasr.privacy.events import Event
from fedasr.typing import Floats

EVERYBODY = "whoever sees all that is released"
SERVER = "the server, which sees every message"


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


@dataclass(frozen=True)
class Finding:
    """One attack's result, as it stands in ``audit.json``."""

    attack: str
    observer: str
    access: str
    knowledge: str
    kind: str
    """``bound`` or ``estimate``"""
    value: float
    """ε, at least"""
    low: float
    high: float | None
    """of the interval; a lower bound has no upper end"""
    claim: float
    """ε that the ledger says of what was attacked"""
    delta: float
    unit: str
    adjacency: str
    sampling: str
    clients: int
    """registered, of whom one is looked at"""
    randomness: str
    """``secret``, or ``public seed``: whoever has the config can take the noise off"""
    n: int
    inside: int
    outside: int
    method: str
    confidence: float
    assumes: tuple[str, ...]
    contradiction: bool
    of_ledger: bool
    """whether the claim is of the whole run"""
    sentence: str = field(default="")

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


CHANGE = {"add-remove": "one more or less", "replace-one": "one exchanged for another", "zero-out": "one silenced"}


def alarmed(scores: Scores, alpha: float) -> bool:
    """Say whether scores contradict the ledger, or the noise that it names, with confidence 1 − α of both together."""
    claims = [scores.claim] if scores.named is None else [scores.claim, scores.named]
    curves = [curve_of(list(claim(1.0)), scores.accountant) for claim in claims]
    return any(contradicts(scores.inside, scores.outside, curve, alpha) for curve in curves)


def found(scores: Scores, delta: float, alpha: float, clients: int, randomness: str) -> Finding:
    """Hold scores against their claim.

    Args:
        scores: of an attack.
        delta: at which ε is told; the contradiction is to the whole curve.
        alpha: probability of a false alarm, at most.
        clients: registered in the run.
        randomness: of the noise, ``secret`` or ``public seed``.
    """
    events = list(scores.claim(1.0))
    alarm = alarmed(scores, alpha)
    bound = ledger_bound(scores.inside, scores.outside, scores.named or scores.claim, delta, alpha)
    finding = Finding(
        attack=scores.attack,
        observer=scores.observer,
        access=scores.access,
        knowledge=scores.knowledge,
        kind="estimate" if bound.estimate else "bound",
        value=bound.epsilon,
        low=bound.epsilon,
        high=None,
        claim=settled(events, delta, scores.accountant).epsilon,
        delta=delta,
        unit=events[0].unit,
        adjacency=events[0].adjacency,
        sampling=", ".join(sorted({event.sampling for event in events})),
        clients=clients,
        randomness=randomness,
        n=bound.n,
        inside=len(scores.inside),
        outside=len(scores.outside),
        method=bound.method,
        confidence=bound.confidence,
        assumes=bound.assumes,
        contradiction=alarm,
        of_ledger=scores.of_ledger,
    )
    return replace(finding, sentence=sentence(finding))


def sentence(finding: Finding) -> str:
    """Return a finding with all that it depends on, in one sentence."""
    whose = "the ledger's" if finding.of_ledger else "what the ledger says of this part:"
    verdict = "CONTRADICTS" if finding.contradiction else "does not contradict"
    sampled = {"none": "no sampling counted on"}.get(finding.sampling, f"sampling {finding.sampling}")
    change = CHANGE[finding.adjacency]
    return (
        f"{finding.attack}: {finding.kind} ε ≥ {number(finding.value)} {verdict} {whose} ε ="
        f" {number(finding.claim, up=True)} at δ = {finding.delta:g} for one {finding.unit} ({change}; {sampled};"
        f" {finding.clients:,} clients; randomness: {finding.randomness});"
        f" observer: {finding.observer}, who looks at {finding.access} and knows {finding.knowledge};"
        f" {finding.inside:,} scores inside and {finding.outside:,} outside, {finding.method},"
        f" confidence {100 * finding.confidence:g} %"
    )


def number(epsilon: float, up: bool = False) -> str:
    """Return ε with four digits, rounded up where it is a claim."""
    if not np.isfinite(epsilon):
        return "∞"
    return f"{round_up(epsilon, 4):g}" if up and epsilon > 0 else f"{epsilon:.4g}"
