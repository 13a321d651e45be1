"""Whether the initial model of a private run is public: no ledger covers what it was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fedasr.config import Config, to_dict
from fedasr.config.loading import read
from fedasr.paths import is_file, is_folder, of_seed

ConfigTree = Mapping[str, Any]

PLACES = ("manifest", "root")
"""Of section ``data``: where the recordings of a corpus are."""
SAME_PEOPLE = ("subset", "where", "train_split")
"""Of section ``data``: who of a corpus of recordings the clients are, but for those set aside as public."""


def caveat(config: Config) -> str | None:
    """Return in words why the ε of a run does not cover all that its model knows of its people; None: it may.

    What is known are the run folders that ``init_from`` leads to. An initial model that was trained on people of this
    run without privacy is not public; one with a ledger of its own has spent some of their privacy. Nothing is known
    here of weights without a run folder, or of what edge devices hold.

    Args:
        config: of a private run, or of one of PATE.

    Raises:
        InputError: the initial model's ``config.yaml`` cannot be read.
    """
    if config.runtime.name == "deployment":
        return None
    run = to_dict(config)
    for folder, trained in origins(config.init_from):
        shared = shared_people(trained, run)
        if shared is None:
            continue
        private = trained.get("privacy", {}).get("unit", "none") != "none"
        if private and is_file(folder / "privacy.json"):
            return f"the initial model, {folder}, has an ε of its own for {shared}, to be added to this one"
        if not private:
            return f"the initial model, {folder}, was trained without privacy on {shared}, which no ε covers"
    return None


def origins(source: str | None) -> Iterator[tuple[Path, ConfigTree]]:
    """Yield the run folders, with their configs, that an initial model comes from, teachers too, the latest first."""
    seen: set[Path] = set()
    waiting = [source]
    while waiting:
        source = waiting.pop(0)
        if source is None:
            continue
        folder = Path(source) if is_folder(Path(source)) else Path(source).parent
        file = folder / "config.yaml"
        if folder.resolve() in seen or not is_file(file):
            continue
        seen.add(folder.resolve())
        tree = read(file)
        yield folder, tree
        teacher = tree.get("distillation", {}).get("teacher")
        waiting += [tree.get("init_from"), None if teacher is None else str(of_seed(teacher, tree.get("seed", 0)))]


def shared_people(trained: ConfigTree, run: ConfigTree) -> str | None:
    """Return in words which people of a run an initial model was trained on; None: on none.

    The voices of synthetic people follow from the seed alone. Of recordings in one place, other rows may be the same
    people's, which a config does not tell: then so much is said.
    """
    first, second = trained.get("data", {}), run["data"]
    if first.get("corpus") != second["corpus"]:
        return None
    if first["corpus"] == "synthetic":
        return "people of this run" if speech_seed(trained) == speech_seed(run) else None
    if any(place(first.get(name)) != place(second[name]) for name in PLACES):
        return None
    same = all(first.get(name) == second[name] for name in SAME_PEOPLE)
    return "people of this run" if same else "speech of the same corpus, which may be of people of this run"


def speech_seed(config: ConfigTree) -> Any:
    """Return the seed of synthetic people: their own, else the run's."""
    own = config["data"].get("synthetic", {}).get("seed")
    return config.get("seed") if own is None else own


def place(path: str | None) -> str | None:
    """Return a file or folder as it can be compared: links followed, the working directory before it."""
    return None if path is None else str(Path(path).resolve())
