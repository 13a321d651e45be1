"""What the commands that print the tables of sweeps have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path


def runs_of(folders: Sequence[Path]) -> list[Path]:
    """Return the run folders of sweeps, in the order of the sweeps and of their labels."""
    return [path for folder in folders for path in sorted(folder.glob("*-seed*"))]


def grid(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def print_table(description: str | None, markdown: Callable[[Sequence[Path], Path | None], str]) -> None:
    """Print the table of the sweeps named on the command line, and draw the figure where one is asked for.

    Args:
        description: of the command.
        markdown: the table of the runs in the folders of sweeps; draws the figure where a file is given.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", nargs="+", type=Path)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    print(markdown(given.sweeps, given.figure))
