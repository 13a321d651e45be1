"""The Markdown table of sweeps over ε, and their figure.

    fedasr sweep simulations/sweeps/private_home_users.yaml --out runs/private_home_users
    fedasr sweep simulations/sweeps/private_home_utterances.yaml --out runs/private_home_utterances
    python -m benchmarks.private_tables runs/private_home_users runs/private_home_utterances --figure private_home.png

Each number is a mean over the seeds with its 95 % t interval, beside everything that its ε depends on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from fedasr.results.tradeoff import text_rows, tradeoff, write_tradeoff


def markdown(folders: Sequence[Path], figure: Path | None = None) -> str:
    """Return the table of the runs in the folders of sweeps, and draw the figure where one is asked for."""
    table = tradeoff(sorted(path for folder in folders for path in folder.glob("*-seed*")))
    if figure is not None:
        write_tradeoff(table, figure)
    head, body = text_rows(table, "wer")
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", nargs="+", type=Path)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    print(markdown(given.sweeps, given.figure))


if __name__ == "__main__":
    main()
