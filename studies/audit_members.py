"""What leaks of small runs, without privacy and with it: membership and spoken codes, as the rows of a table.

python -m studies.audit_members --out runs/members

A run takes about a minute of one core; finished ones are kept.
"""

from __future__ import annotations

import argparse
from copy import deepcopy
from pathlib import Path
from typing import Any

import fedasr
from fedasr.audits.finding import Finding, number
from fedasr.audits.membership import audit_membership
from fedasr.audits.secrets import audit_secrets

Tree = dict[str, Any]

UTTERANCES: Tree = {
    "seed": 1,
    "rounds": 40,
    "data": {
        "corpus": "synthetic",
        "synthetic": {
            "grammar": "home",
            "speakers": 20,
            "utterances_per_speaker": 12,
            "activity": "constant",
            "test_speakers": 1,
            "test_utterances_per_speaker": 2,
            "seed": 0,
            "device": False,
        },
    },
    "model": {"encoder": "blstm", "channels": [16, 16], "hidden": 64, "dropout": 0.0},
    "client": {"optimizer": "adamw", "learning_rate": 0.006, "batch_size": 10, "epochs": 5},
    "strategy": {"name": "central"},
    "selection": {"clients_per_round": 20},
    "runtime": {"executor": "serial"},
    "evaluate": {"held_out": 0.5, "every": 0, "transcripts": 0},
}
CODES: Tree = {
    **UTTERANCES,
    "rounds": 8,
    "data": {
        "corpus": "synthetic",
        "synthetic": {
            "grammar": "digits",
            "speakers": 10,
            "utterances_per_speaker": 2,
            "activity": "constant",
            "test_speakers": 2,
            "test_utterances_per_speaker": 1,
            "seed": 0,
            "device": False,
        },
    },
    "audit": {"secrets": {"codes": 10, "digits": 3, "repeats": 16}},
    "model": {
        "name": "las",
        "channels": [8, 8],
        "hidden": 24,
        "dropout": 0.0,
        "speller": {"hidden": 64, "label_smoothing": 0.0},
    },
    "client": {"optimizer": "adamw", "learning_rate": 0.006, "batch_size": 8, "epochs": 4},
    "selection": {"clients_per_round": 10},
    "evaluate": {"every": 0, "transcripts": 0},
}


def private(tree: Tree, epsilon: float, cohort: int, batch: int, epochs: int) -> Tree:
    """Return a config trained with DP-FedAvg: user-level, on the server, for few rounds."""
    changed = deepcopy(tree)
    changed |= {
        "rounds": 6,
        "strategy": {"name": "fedavg", "weighting": "uniform"},
        "selection": {"name": "poisson", "clients_per_round": cohort},
        "client": {"optimizer": "sgd", "learning_rate": 0.1, "batch_size": batch, "epochs": epochs},
        "privacy": {"unit": "user", "epsilon": epsilon, "clip_norm": 0.5, "delta": 1e-3},
    }
    changed["model"]["alphabet"] = "latin"
    return changed


MEMBERSHIP: dict[str, Tree] = {
    "overfitted": UTTERANCES,
    "user-level-1": private(UTTERANCES, 1.0, 10, 6, 2),
    "user-level-8": private(UTTERANCES, 8.0, 10, 6, 2),
}
SECRETS: dict[str, Tree] = {"codes": CODES, "codes-user-level-1": private(CODES, 1.0, 5, 8, 1)}


def row(name: str, finding: Finding) -> str:
    """Return a finding as a row."""
    if finding.value is None:
        return f"| `{name}` | {finding.attack} | not attacked | | | |"
    interval = "" if finding.low is None or finding.high is None else f"{finding.low:.3g} to {finding.high:.3g}"
    beside = ", ".join(f"{what} {number(value)}" for what, value in finding.floors.items())
    claim = "" if finding.claim is None else number(finding.claim, up=True)
    return f"| `{name}` | {finding.attack} | {finding.quantity} {finding.value:.3g} | {interval} | {beside} | {claim} |"


def main() -> None:
    """Run, audit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/members"))
    out = parser.parse_args().out
    print("| run | attack | | 95 % interval | where nothing leaks | ceiling |\n|---|---|---|---|---|---|")
    for configs, audit in ((MEMBERSHIP, audit_membership), (SECRETS, audit_secrets)):
        for name, tree in configs.items():
            run = fedasr.run({**tree, "name": name}, out=out / name, resume=True)
            for finding in audit(run.path):  # type: ignore[operator]
                print(row(name, finding), flush=True)


if __name__ == "__main__":
    main()
