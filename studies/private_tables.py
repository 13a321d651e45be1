"""The Markdown table of sweeps over ε, and their figure.

    fedasr sweep simulations/sweeps/private_home_users.yaml --out runs/private_home_users
    fedasr sweep simulations/sweeps/private_home_utterances.yaml --out runs/private_home_utterances
    python -m studies.private_tables runs/private_home_users runs/private_home_utterances --figure private_home.png

Each number is a mean over the seeds with its 95 % t interval, beside everything that its ε depends on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fedasr.results.pages.tradeoff import text_rows, write_tradeoff
from fedasr.results.tables.tradeoff import tradeoff
from studies.tables import grid, print_table, runs_of


def markdown(folders: Sequence[Path], figure: Path | None = None) -> str:
    """Return the table of the runs in the folders of sweeps, and draw the figure where one is asked for."""
    table = tradeoff(runs_of(folders))
    if figure is not None:
        write_tradeoff(table, figure)
    return grid(*text_rows(table, "wer"))


if __name__ == "__main__":
    print_table(__doc__, markdown)
