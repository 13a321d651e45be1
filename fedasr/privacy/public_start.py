"""Whether what a private run starts from is public: nobody's account covers what the start was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fedasr.config import Config, to_dict
from fedasr.config.loading import read
from fedasr.paths import is_file, is_folder

Tree = Mapping[str, Any]

SAME_PEOPLE = ("manifest", "root", "subset", "where", "train_split", "public_share")
"""Of section ``data``: who the people of a corpus of recordings are."""


def caveat(config: Config) -> str | None:
    """Return in words why the ε of a run does not cover all that its model knows of its people; None: it may.

    What is known are the run folders that ``init_from`` leads to. A start that heard people of this run without privacy
    is no public one; one with an account of its own has spent some of theirs. Of weights without a run folder, and of
    what boxes hold, nothing is known here.

    Args:
        config: of a private run, or of one of PATE.

    Raises:
        InputError: the start's ``config.yaml`` cannot be read.
    """
    if config.runtime.name == "deployment":
        return None
    run = to_dict(config)
    for folder, start in starts(config.init_from):
        if not same_people(start, run):
            continue
        private = start.get("privacy", {}).get("unit", "none") != "none"
        if private and is_file(folder / "privacy.json"):
            return f"the start, {folder}, has an ε of its own for the same people, to be added to this one"
        if not private:
            return f"the start, {folder}, was trained without privacy on people of this run, which no ε covers"
    return None


def starts(source: str | None) -> Iterator[tuple[Path, Tree]]:
    """Yield the run folders, and their configs, that a start comes from: its own, that of its start, and so on."""
    seen: set[Path] = set()
    while source is not None:
        folder = Path(source) if is_folder(Path(source)) else Path(source).parent
        file = folder / "config.yaml"
        if folder.resolve() in seen or not is_file(file):
            return
        seen.add(folder.resolve())
        tree = read(file)
        yield folder, tree
        source = tree.get("init_from")


def same_people(start: Tree, run: Tree) -> bool:
    """Say whether a run was trained on people of another; the voices of synthetic ones follow from the seed alone."""
    first, second = start.get("data", {}), run["data"]
    if first.get("corpus") != second["corpus"]:
        return False
    if first["corpus"] == "synthetic":
        return bool(start.get("seed") == run["seed"])
    return all(first.get(name) == second[name] for name in SAME_PEOPLE)
