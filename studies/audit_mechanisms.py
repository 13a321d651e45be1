"""Audit every shipped private config without speech, and write the table of ``docs/results/audit_mechanism.md``.

python -m studies.audit_mechanisms --out docs/results/audit_mechanism.md
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from fedasr.audits.finding import number
from fedasr.audits.mechanism import Report, audit_mechanism
from fedasr.config import load
from fedasr.privacy.events import UNITS

SIMULATIONS = Path(__file__).resolve().parent.parent / "simulations"


def private_configs() -> list[str]:
    """Return the names of the shipped configs whose ledger can be audited; the configs are not checked."""
    return [path.stem for path in sorted(SIMULATIONS.glob("*.yaml")) if is_private(yaml.safe_load(path.read_text()))]


def is_private(tree: Mapping[str, Any]) -> bool:
    """Say whether a config, as it is written, has a ledger."""
    unit, strategy = tree.get("privacy", {}).get("unit"), tree.get("strategy", {}).get("name")
    return unit in UNITS or strategy == "pate"


def rows(name: str, report: Report, seconds: float) -> Iterator[str]:
    """Yield a row of the table a finding."""
    for finding in report.findings:
        verdict = "**contradicts**" if finding.contradiction else "no contradiction"
        cells = [
            f"`{name}`",
            finding.attack,
            f"{finding.unit}, {finding.adjacency}, {finding.sampling}",
            number(finding.claim, up=True),
            f"≥ {number(finding.value)}",
            f"{finding.inside:,} + {finding.outside:,}",
            verdict,
            f"{seconds:.0f}",
        ]
        yield f"| {' | '.join(cells)} |"


def main() -> None:
    """Audit and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    lines = [
        "| config | attack | unit, adjacency, sampling | ε claimed | ε shown | scores inside + outside | | CPU s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in private_configs():
        started = time.process_time()
        report = audit_mechanism(load(SIMULATIONS / f"{name}.yaml"), seed=given.seed)
        lines += rows(name, report, time.process_time() - started)
        print(lines[-1], flush=True)
        if given.out:
            given.out.write_text(page(lines, given.seed))


def page(lines: list[str], seed: int) -> str:
    """Return the page of results."""
    return f"""# The ledger of every shipped private config, audited

`fedasr audit mechanism CONFIG` for each, at a false-alarm probability of 0.001, seed {seed}. What the columns mean and
what each number assumes: [audits](../audits.md).

```
python -m studies.audit_mechanisms --seed {seed} --out docs/results/audit_mechanism.md
```

{chr(10).join(lines)}

Each number is a lower bound on ε, with confidence 99.9 % for all attacks of a config together, at the δ of its config
(1e-5), within the family of the claimed mechanism. "No contradiction" does not say that the ledger is true: it says
that this attack, with so many scores, did not show that it is false. Where an attack looks at one step or one release,
the claim is what the ledger says of that step without amplification. CPU seconds are of all attacks of the config, the
search for its noise included.
"""


if __name__ == "__main__":
    main()
