"""Rebuild speech from updates, or link updates, and write the page of results.

FEDASR_DATA=FOLDER python -m studies.audit_inversion updates --out docs/results/audit_inversion.md
python -m studies.audit_inversion links --out docs/results/audit_linkability.md
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fedasr.audits.finding import Finding, number
from fedasr.audits.linkability import link_updates
from fedasr.audits.matching import Effort
from fedasr.audits.target import Target
from fedasr.audits.updates import Inversion, invert_updates
from fedasr.config import load
from studies.tables import grid

DIGITS: dict[str, Any] = {
    "name": "spoken_digits",
    "rounds": 10,
    "data": {
        "corpus": "manifest",
        "manifest": "${oc.env:FEDASR_DATA,../shared/data}/fsdd_mini/manifest.csv",
        "max_seconds": 0.5,
        "test_split": "valid",
        "on_bad_audio": "skip",
    },
    "client": {"optimizer": "sgd", "learning_rate": 0.1, "steps": 1, "batch_size": 1},
    "strategy": {"weighting": "uniform"},
    "selection": {"clients_per_round": 4},
}
"""One SGD step on one recording of a digit, of half a second at most; the default model, untrained."""
LINKED: dict[str, Any] = {
    "name": "synthetic_digits",
    "rounds": 10,
    "data": {
        "corpus": "synthetic",
        "synthetic": {"grammar": "digits", "speakers": 60, "utterances_per_speaker": 8, "activity": "constant"},
    },
    "model": {"channels": [32, 32], "hidden": 48},
    "client": {"optimizer": "adamw", "learning_rate": 0.003, "batch_size": 4},
    "strategy": {"weighting": "uniform"},
}
"""Sixty synthetic speakers, a client each, with about eight digit strings."""


def private(**changes: Any) -> dict[str, Any]:
    """Return changes for noise on the devices."""
    return {
        "privacy.unit": "user",
        "privacy.noise_at": "device",
        "privacy.clip_norm": 0.1,
        **{f"privacy.{name}": value for name, value in changes.items()},
    }


UPDATES: dict[str, tuple[dict[str, Any], int]] = {
    "plain": ({}, 1),
    "clipped to 0.1": (private(noise_multiplier=1e-9), 1),
    "noise on the device, ε = 8": (private(epsilon=8, participations=1), 1),
    "noise on the device, ε = 1": (private(epsilon=1, participations=1), 1),
    "int8": ({"compression.up": "int8"}, 1),
    "EDEN": ({"compression.up": "eden"}, 1),
    "sum of 2 clients": ({}, 2),
    "0.85 s and longer": ({"data.min_seconds": 0.85, "data.max_seconds": 2.0}, 1),
    "sum of 8 clients": ({}, 8),
}
LINKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "noise on the device, ε = 8": private(epsilon=8, participations=2),
    "noise on the device, ε = 1": private(epsilon=1, participations=2),
    "int8": {"compression.up": "int8"},
    "EDEN": {"compression.up": "eden"},
}


def target(base: dict[str, Any], changes: dict[str, Any], seed: int) -> Target:
    """Return a config with changes, to be attacked at its initial model."""
    return Target(load(copy.deepcopy(base), {"seed": seed, **changes}), None, None)


def rebuilt_row(name: str, inversion: Inversion, seconds: float) -> list[str]:
    """Return the row of one case of update inversion."""
    speech, characters = inversion.findings
    if not inversion.utterances:
        return [name, speech.sentence, *[""] * 6]
    detail = np.array([one.detail for one in inversion.utterances]).mean(axis=0)
    good = sum(one.own_correlation >= 0.9 for one in inversion.utterances)
    areas = f"{number(characters.value)} / {number(list(characters.floors.values())[-1])}" if characters.value else "–"
    return [
        name,
        f"{speech.n}",
        estimate(speech),
        f"{speech.floors[next(iter(speech.floors))]:.2f}",
        f"{good} of {speech.n}",
        f"{detail[0]:.2f} / {detail[1]:.2f}",
        areas,
        f"{seconds:.0f}",
    ]


def estimate(finding: Finding) -> str:
    """Return a value with its interval."""
    if finding.value is None:
        return "not attacked"
    interval = "" if finding.low is None or finding.high is None else f" ({finding.low:.2f} to {finding.high:.2f})"
    return f"{finding.value:.2f}{interval}"


def main() -> None:
    """Attack and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("updates", "links"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--utterances", type=int, default=8)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    rows: list[list[str]] = []
    made = link_rows(given) if given.part == "links" else update_rows(given)
    page = link_page if given.part == "links" else update_page
    for row in made:
        rows.append(row)
        print(row, flush=True)
        if given.out:
            given.out.write_text(page(rows, given))


def link_rows(given: argparse.Namespace) -> Iterator[list[str]]:
    """Yield a row of the table a case."""
    for name, changes in LINKS.items():
        per_seed = [link_updates(target(LINKED, changes, seed), given.clients, seed) for seed in given.seeds]
        yield [name, *(spread([row[place].finding for row in per_seed]) for place in (0, 1))]


def update_rows(given: argparse.Namespace) -> Iterator[list[str]]:
    """Yield a row of the table a case; the first seed alone."""
    seed, effort = given.seeds[0], Effort(steps=given.steps)
    for name, (changes, cohort) in UPDATES.items():
        started = time.process_time()
        result = invert_updates(target(DIGITS, changes, seed), given.utterances, cohort, effort, seed)
        yield rebuilt_row(name, result, time.process_time() - started)


def spread(findings: list[Finding]) -> str:
    """Return the mean of equal error rates over seeds, with the lowest and the highest of several."""
    values = [finding.value for finding in findings if finding.value is not None]
    if len(values) < 2:
        return f"{values[0]:.3f}" if values else "not attacked"
    return f"{np.mean(values):.3f} ({min(values):.3f} – {max(values):.3f})"


def update_page(rows: list[list[str]], given: argparse.Namespace) -> str:
    """Return the page of rebuilt speech."""
    measured = ["mel correlation", "another's", "≥ 0.9", "detail / another's", "characters / public"]
    return f"""# Speech rebuilt from updates

What the attack does and what its numbers mean: [audits](../audits.md#can-speech-be-rebuilt-from-a-model-or-an-update).

```
FEDASR_DATA=FOLDER python -m studies.audit_inversion updates --utterances {given.utterances} --steps {given.steps} \\
  --seeds {given.seeds[0]} --out docs/results/audit_inversion.md
```

One SGD step on one recording of a spoken digit (`fsdd_mini`, real speech, at most 0.5 s unless the row says otherwise),
default model of 266,000 parameters, untrained, seed {given.seeds[0]}; clip norm 0.1 where devices clip. *Mel
correlation*: of the rebuilt features with those that the client trained on, with the 95 % interval over utterances;
*another's*: with those rebuilt from another update; *detail*: both without loudness, which rises and falls alike in all
recordings; *characters*: AUC of the head's bias gradient, beside public character frequencies.
Every ε: δ = 1e-5, one user's update left out, no sampling, one participation of each device; randomness from a public
seed, which the attacker does not use.

{grid(["update", "n", *measured, "CPU s"], rows)}"""


def link_page(rows: list[list[str]], given: argparse.Namespace) -> str:
    """Return the page of linked updates."""
    seeds = " ".join(map(str, given.seeds))
    which = f"Mean over seeds {seeds}, lowest and highest." if len(given.seeds) > 1 else f"Seed {seeds}."
    return f"""# Updates linked over two rounds

What the attack does and what its numbers mean: [audits](../audits.md#can-two-updates-be-linked).

```
python -m studies.audit_inversion links --clients {given.clients} --seeds {seeds} \\
  --out docs/results/audit_linkability.md
```

Equal error rate of telling whether two updates are of one client; 0.5 is chance. {given.clients} synthetic speakers, a
client each, with about eight digit strings; AdamW, one pass, 42,000 parameters, from the initial model; noise for two
participations at clip norm 0.1. The ε are of δ = 1e-5, one
user's updates left out, no sampling; their randomness is a public seed, which the attacker does not use. {which}

{grid(["update", "the same speech in both rounds", "other speech in each round"], rows)}"""


if __name__ == "__main__":
    main()
