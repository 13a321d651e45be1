"""The privacy card of a release: what holds, for whom, and what does not.

It reports what Ponomareva et al., "How to DP-fy ML" (arXiv 2303.00654, section 5.3), ask for: setting, unit, adjacency,
accesses covered, the accounting with its assumptions, and how far anybody can check it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedasr.privacy.document import CHANGE, ONE_UNIT, SAMPLED, epsilon_text, large_delta, sentence
from fedasr.privacy.events import Event, PateVotes, PoissonGaussian, Skellam
from fedasr.privacy.ledger import SECRET, Ledger, Spending
from fedasr.privacy.pld import is_gaussian, total_mu

NO_GUARANTEE = (
    "No guarantee holds for anybody: the noise of this run follows from a public seed, and whoever has the seed takes"
    " it off. This is the release of a simulation."
)
SETTING = {
    ("user", "everyone"): "central: a trusted server sees each update and adds the noise",
    ("user", "server"): "local: each device adds the noise to its own update; the server is not trusted",
    ("example", "everyone"): "central: whoever trains holds all speech, is trusted, and trains with DP-SGD",
    ("example", "server"): "local: each device trains with DP-SGD; the server is not trusted",
    ("teacher", "everyone"): "PATE: noisy votes of teachers on public speech; who aggregates them is trusted",
    (
        "teacher",
        "server",
    ): "PATE, distributed: each teacher adds a share of the noise to its votes on public speech, and"
    " secure aggregation shows the server the sum alone",
}
SUMS = "the noisy sum of clipped updates of every round, and the model, which follows from those alone"
ACCESSES = {
    ("user", "everyone"): SUMS,
    ("user", "server"): "each noisy clipped update of each device, and the model, which follows from those alone",
    ("example", "everyone"): "each noisy step of training, and the model, which follows from those alone",
    ("example", "server"): "each noisy step of local training on each device, and all that follows from them",
    ("teacher", "everyone"): "the noisy labels, and the student, which follows from them and public speech alone",
    (
        "teacher",
        "server",
    ): "the noisy sum of the votes on every question, the labels, and the student, which follow from"
    " those and public speech alone",
}
SHARES = (
    "distributed: each device adds a share of the noise to its own update, and secure aggregation shows the server the"
    " sum alone"
)
CONDITION = {
    "poisson": "each unit took part in each step independently, and nobody knows in which: clients.parquet, the"
    " checkpoint, logs and network traffic, which tell, stay secret",
    "fixed-size": "the samples were drawn uniformly, and nobody knows who was in them: clients.parquet, the checkpoint,"
    " logs and network traffic, which tell, stay secret",
    "none": "none: who took part may be known",
}
NOT_COVERED = (
    "the choice of settings by results on private speech (tuning): each run looked at costs as much as this one",
    "error rates, losses and other measurements on private or held-out speech; none is in this folder",
    "the start of the model and its tokenizer, unless they are from public speech",
    "every other file of the run folder, and other runs on the same speech, whose ε add to this one",
    "several units together, such as all that a household said, beyond the unit named above",
    "what can be learnt of somebody from what others said",
)


def card_of(ledger: Ledger, delta: float, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the card as JSON values.

    Args:
        ledger: of what is released, without anything that depends on the data.
        delta: at which ε is given.
        facts: what else to say of the release, such as its files.
    """
    guarantees = [
        guarantee(spending, ledger.events((spending.unit, spending.seen_by))) for spending in ledger.spent(delta)
    ]
    secret = all(each["randomness"] == SECRET for each in guarantees)
    return {
        "guarantee_holds": secret,
        "first": None if secret else NO_GUARANTEE,
        "guarantees": guarantees,
        "not_covered": list(NOT_COVERED),
        **facts,
    }


def guarantee(spending: Spending, events: Sequence[Event]) -> dict[str, Any]:
    """Return one guarantee with all that it depends on, as JSON values."""
    group = spending.unit, spending.seen_by
    most = max(spending.populations)
    shared = any(isinstance(event, Skellam) for event in events)
    mu, rho = gaussian_dp(events), concentrated_dp(events)
    return {
        "sentence": sentence(spending),
        "setting": SHARES if shared else SETTING.get(group, "other"),
        "epsilon": spending.epsilon,
        "delta": spending.delta,
        "rho_zcdp": rho,
        "mu_gdp": mu,
        "unit": spending.unit,
        "adjacency": spending.adjacency,
        "accesses_covered": SUMS if shared else ACCESSES.get(group, "what the ledger lists"),
        "sampling": ", ".join(spending.sampling),
        "sampling_condition": "; ".join(CONDITION[name] for name in spending.sampling),
        "population": list(spending.populations),
        "delta_times_population": spending.delta * most,
        "delta_warning": large_delta(spending.delta, spending.populations),
        "accountant": spending.accountant,
        "mechanisms": [event.describe() for event in events],
        "randomness": spending.randomness,
        "seen_by": spending.seen_by,
    }


def gaussian_dp(events: Sequence[Event]) -> float | None:
    """Return μ of Gaussian DP of events that are plain Gaussian noise altogether; None: there is none."""
    plain = [event for event in events if is_gaussian(event)]
    whole = [event for event in events if isinstance(event, PoissonGaussian) and event.sampling_probability == 1]
    if len(plain) + len(whole) < len(events):
        return None
    square = total_mu(plain) ** 2 + sum(event.steps * event.effective_noise**-2 for event in whole)
    return float(np.sqrt(square))


def concentrated_dp(events: Sequence[Event]) -> float | None:
    """Return ρ of zero-concentrated DP of all events together; None: none is known, as under sampling."""
    mu = gaussian_dp(events)
    if mu is not None:
        return mu**2 / 2
    if not all(isinstance(event, PateVotes) for event in events):
        return None
    rho = 0.0
    for event in events:
        assert isinstance(event, PateVotes)
        slopes = np.asarray(event.rdp_data_independent) / np.asarray(event.orders)
        if np.ptp(slopes) > 1e-9 * slopes.max():
            return None  # Laplace noise: RDP is no line through the origin
        rho += float(slopes.max())
    return rho


def as_text(card: Mapping[str, Any]) -> str:
    """Return the card as Markdown."""
    lines = ["# Privacy card", ""] if card["first"] is None else [f"**{card['first']}**", "", "# Privacy card", ""]
    for guarantee in card["guarantees"]:
        lines += [f"{guarantee['sentence'][:1].upper()}{guarantee['sentence'][1:]}.", "", "| | |", "|---|---|"]
        lines += [f"| {name} | {value} |" for name, value in rows_of(guarantee)] + [""]
        if guarantee["delta_warning"] is not None:
            lines += [f"**{guarantee['delta_warning'][:1].upper()}{guarantee['delta_warning'][1:]}.**", ""]
    lines += ["## Not covered", "", *(f"- {text}" for text in card["not_covered"]), "", "## Files", ""]
    lines += [f"- `{name}`: {text}" for name, text in card["files"].items()]
    lines += ["", f"Model sha256 `{card['model_sha256']}`, {card['parameters']:,} parameters; FedASR {card['fedasr']}."]
    return "\n".join(lines) + "\n"


def rows_of(guarantee: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the rows of a guarantee for people."""
    many = " or ".join(f"{population:,}" for population in guarantee["population"])
    none = "none: subsampled noise has no exact one"
    return [
        ("setting", guarantee["setting"]),
        ("ε at δ", f"{epsilon_text(guarantee['epsilon'])} at δ = {guarantee['delta']:g}"),
        ("ρ of zCDP", none if guarantee["rho_zcdp"] is None else f"{guarantee['rho_zcdp']:.6g}"),
        ("μ of Gaussian DP", none if guarantee["mu_gdp"] is None else f"{guarantee['mu_gdp']:.6g}"),
        ("unit", ONE_UNIT[guarantee["unit"]]),
        ("adjacency", f"{guarantee['adjacency']}: {CHANGE[guarantee['adjacency']]}"),
        ("accesses covered", guarantee["accesses_covered"]),
        ("sampling", " and ".join(SAMPLED[name] for name in guarantee["sampling"].split(", "))),
        ("its condition", guarantee["sampling_condition"]),
        ("population", many),
        ("δ · population", f"{guarantee['delta_times_population']:.3g}; to be well below 1"),
        ("accountant", guarantee["accountant"]),
        ("mechanisms", "; ".join(guarantee["mechanisms"])),
        ("randomness", guarantee["randomness"]),
        ("tuning", "not covered"),
        (
            "verifiability",
            "privacy.json repeats the accounting; that the noise was drawn, nobody can check",
        ),
    ]
