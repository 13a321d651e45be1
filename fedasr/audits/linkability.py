"""Can two updates be linked? The cosine of a client's updates of two rounds, and the equal error rate of telling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedasr.audits.finding import SERVER, Finding, told
from fedasr.audits.finding import not_attacked as nothing
from fedasr.audits.received import Senders, altered
from fedasr.audits.target import Target
from fedasr.errors import InputError
from fedasr.models.weights import Arrays
from fedasr.privacy.audit.linking import cosines, rate_interval, rate_of
from fedasr.typing import Floats, Integers

LINKED = "linkability of updates"
SAME, OTHER = "the same speech in both rounds", "other speech in each round"
FEWEST = 3
"""Clients with which an equal error rate is told."""


@dataclass(frozen=True)
class Links:
    """What two rounds of updates look like beside each other."""

    speech: str
    scores: Floats
    """cosines of first with second updates, ``(clients, clients)``; the diagonal holds those of one client"""
    finding: Finding


def link_updates(target: Target, clients: int = 50, seed: int = 0) -> list[Links]:
    """Link the updates of clients over two rounds, where they train on the same speech, and where on other speech.

    The second round starts from the model that the first one makes: the weights plus the mean of its updates.

    Args:
        target: a config, or a run.
        clients: that take part in both rounds, at most.
        seed: of the choice of clients and of the interval.

    Raises:
        InputError: there are too few clients, or the config sends no updates.
    """
    if clients < FEWEST:
        raise InputError(f"'--clients' is {clients}; expected a whole number of at least {FEWEST}")
    if seed < 0:
        raise InputError(f"'--seed' is {seed}; expected a whole number of at least 0")
    why = unlinkable(target)
    if why is not None:
        return [refused(target, speech, why) for speech in (SAME, OTHER)]
    senders = Senders(target.config, target.weights)
    order = np.random.default_rng([seed, 1]).permutation(len(senders))
    rounds = sorted(target.rounds(2))
    holds = {int(client): senders.holds(int(client), rounds[0]) for client in order}
    result = []
    for speech, least in ((SAME, 1), (OTHER, 2)):
        chosen = [client for client, rows in holds.items() if len(rows) >= least][:clients]
        if len(chosen) < FEWEST:
            few = f"{len(chosen)} clients hold {least} utterances or more; {FEWEST} are needed"
            result.append(refused(target, speech, few))
            continue
        halves = [halved(holds[client], speech) for client in chosen]
        first = updates(senders, chosen, rounds[0], [half[0] for half in halves])
        later = Senders(target.config, moved(senders, first))
        second = updates(later, chosen, rounds[-1], [half[1] for half in halves])
        result.append(linked(target, speech, cosines(first, second), seed))
    return result


def unlinkable(target: Target) -> str | None:
    """Return why there are no updates to link; None: there are."""
    config = target.config
    if config.strategy.name in ("pate", "central"):
        return f"strategy.name is {config.strategy.name}: no client sends an update"
    if config.privacy.unit == "example":
        return "privacy.unit is example: DP-SGD keeps a ledger on each device, and its rounds are not played here yet"
    if config.secure_aggregation.mode != "none":
        return "secure_aggregation shows the server no single update"
    return None


def halved(rows: Integers, speech: str) -> tuple[Integers, Integers]:
    """Return what a client trains on in either round."""
    return (rows, rows) if speech == SAME else (rows[::2], rows[1::2])


def updates(senders: Senders, clients: list[int], round: int, rows: list[Integers]) -> Floats:
    """Return the updates of clients as the server decodes them, ``(clients, parameters)``."""
    pairs = zip(clients, rows, strict=True)
    return np.array([senders.update(client, round, own, speech=False).vector for client, own in pairs])


def moved(senders: Senders, first: Floats) -> Arrays:
    """Return the weights after a round: the first ones plus the mean update."""
    return senders.layout.views((senders.start + first.mean(axis=0)).astype(np.float32))


def refused(target: Target, speech: str, why: str) -> Links:
    """Return what stands for an attack that was not possible."""
    finding = nothing(f"{LINKED}, {speech}", why, observer=SERVER, access=access(target), unit="user")
    return Links(speech, np.zeros((0, 0)), finding)


def access(target: Target) -> str:
    """Return what is looked at, in words."""
    return f"each client's updates of two rounds from {target.model}{altered(target.config)}"


def linked(target: Target, speech: str, scores: Floats, seed: int) -> Links:
    """Return the equal error rate of scores as a finding."""
    low, high = rate_interval(scores, np.random.default_rng([seed, 2]))
    privacy = target.config.privacy
    private = privacy.unit == "user"
    finding = Finding(
        attack=f"{LINKED}, {speech}",
        observer=SERVER,
        access=access(target),
        knowledge="nothing else",
        kind="estimate",
        quantity="equal error rate",
        value=rate_of(scores),
        low=float(low),
        high=float(high),
        delta=privacy.delta if private else None,
        claim_epsilon=privacy.epsilon if private else None,
        unit="user",
        clients=len(scores),
        n=len(scores),
        method="cosine of updates less the round's mean, interval by drawing the clients anew",
        confidence=0.95,
        floors={"random": 0.5},
    )
    return Links(speech, scores, told(finding))
