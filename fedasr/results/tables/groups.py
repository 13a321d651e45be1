"""Group the runs that differ only in their seed, and name each group by what sets it apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedasr.config.schema.log import WATCHING, logged
from fedasr.errors import InputError
from fedasr.results.load import Run, as_run

# What names a run, and what only changes how fast it is: the same config gives the same bits with any of these.
IGNORED = (
    "seed",
    "name",
    "runtime.workers",
    "runtime.executor",
    "runtime.longest_first",
    "runtime.ray_address",
    "runtime.gpus_per_client",
    "evaluate.transcripts",
)
IGNORED_SECTIONS = ("data.cache.",)
ABSENT = "absent"
MOST_KEYS, LONGEST_VALUE = 3, 40
"""Beyond these, differing keys and characters of a value, runs are named by their own names where those differ."""

Runs = Run | str | Path | Iterable[Run | str | Path]
"""A run or its folder, or several."""


@dataclass
class Group:
    """Runs of one config under different seeds, in the order of their seeds.

    ``label`` names the group by the config keys that set it apart, ``short`` by their values alone. ``repeats`` are
    further runs of a seed that is already here. They are no independent repetition, so counting them would make the
    interval too narrow; they are left out.
    """

    label: str
    short: str
    runs: list[Run]
    settings: dict[str, Any] = field(default_factory=dict)
    repeats: list[Run] = field(default_factory=list)

    @property
    def seeds(self) -> list[int]:
        """The seeds, ascending."""
        return [run.seed for run in self.runs]


def group_runs(runs: Runs) -> list[Group]:
    """Return the groups in order of first appearance, each labelled by the config keys that differ between groups.

    Raises:
        InputError: there is no run, or a folder is not a run folder.
    """
    members: dict[str, list[Run]] = {}
    settings: dict[str, dict[str, Any]] = {}
    for run in unique(runs):
        flat = flatten(run.config)
        identity = repr(sorted((key, repr(value)) for key, value in flat.items()))
        settings.setdefault(identity, flat)
        members.setdefault(identity, []).append(run)
    groups = []
    for identity, runs_of in members.items():
        kept: dict[int, Run] = {}
        for run in sorted(runs_of, key=lambda run: -len(run.rounds)):
            kept.setdefault(run.seed, run)
        chosen = [kept[seed] for seed in sorted(kept)]
        groups.append(Group("", "", chosen, settings[identity], [run for run in runs_of if run not in chosen]))
    name_groups(groups)
    return groups


def unique(runs: Runs) -> list[Run]:
    """Return the runs, each folder once."""
    if isinstance(runs, (str, Path, Run)):
        runs = [runs]
    by_path: dict[Path, Run] = {}
    for item in runs:
        run = as_run(item)
        by_path.setdefault(run.path.resolve(), run)
    if not by_path:
        raise InputError("no runs to compare; give at least one run folder")
    return list(by_path.values())


def flatten(tree: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Return dotted keys and values of a config, less what does not change a result."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if name in IGNORED or f"{name}.".startswith(IGNORED_SECTIONS):
            continue
        if name == "log":
            acting = [given for given, item in zip(value, logged(value), strict=True) if item.name not in WATCHING]
            flat |= {name: acting} if acting else {}
        elif isinstance(value, Mapping):
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def name_groups(groups: Sequence[Group]) -> None:
    """Label each group by the keys that differ.

    A sweep's folders carry better names; and so do the runs' own names where many keys differ, or by long values.
    """
    names = [{run.name for run in group.runs} for group in groups]
    named = [next(iter(labels)) if len(labels) == 1 else "" for labels in names]
    keys = differing(groups)
    variants = [{swept(run.path.name) for run in group.runs} for group in groups]
    if len(groups) > 1 and all(len(labels) == 1 and "" not in labels for labels in variants):
        folders = [next(iter(labels)) for labels in variants]
        if len(set(folders)) == len(groups):
            for group, folder in zip(groups, folders, strict=True):
                group.label = group.short = folder
            return
    if len(groups) == 1:
        groups[0].label = groups[0].short = named[0] or "all runs"
    elif (len(keys) > MOST_KEYS or long_values(groups, keys)) and all(named) and len(set(named)) == len(groups):
        for group, name in zip(groups, named, strict=True):
            group.label = group.short = name
    else:
        values = [[shorten(group.settings.get(key, ABSENT)) for key in keys] for group in groups]
        if len({tuple(row) for row in values}) < len(groups):
            values = [[str(group.settings.get(key, ABSENT)) for key in keys] for group in groups]
        for group, row in zip(groups, values, strict=True):
            group.label = ", ".join(f"{key}={value}" for key, value in zip(keys, row, strict=True))
            group.short = ", ".join(row)


def long_values(groups: Sequence[Group], keys: Sequence[str]) -> bool:
    """Say whether a value by which groups differ, such as a list of speakers, would fill a label alone."""
    return any(len(shorten(group.settings.get(key, ABSENT))) > LONGEST_VALUE for group in groups for key in keys)


def swept(folder: str) -> str:
    """Return the label that a sweep gave to a run folder, empty where the name is none of a sweep's."""
    match = re.fullmatch(r"(.+)-seed\d+", folder)
    return match[1] if match else ""


def differing(groups: Sequence[Group]) -> list[str]:
    """Return the config keys whose values differ between the groups, in the config's order."""
    ordered = dict.fromkeys(key for group in groups for key in group.settings)
    return [key for key in ordered if len({repr(group.settings.get(key, ABSENT)) for group in groups}) > 1]


def title(groups: Sequence[Group]) -> str:
    """Return what the short labels of the groups are values of: config keys; ``Group`` where they are names."""
    by_keys = any(group.short != group.label for group in groups)
    return ", ".join(differing(groups)) if by_keys else "Group"


def shorten(value: Any) -> str:
    """Return a config value as text, a path as its last part."""
    text = str(value)
    return Path(text).name if isinstance(value, str) and text.startswith("/") else text
