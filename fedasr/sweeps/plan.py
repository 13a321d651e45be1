"""Read a sweep file strictly: which runs it asks for, each with its checked config.

A sweep is a base config, what all runs change in it, named variants, a grid of values, and seeds. Its runs are the
product ``variants × grid × seeds``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fedasr.config import Config, load
from fedasr.config.loading import LARGEST, as_tree, check_tree, dotlist, find, finished, leaves, merge, read, shown
from fedasr.errors import InputError, nearest
from fedasr.paths import is_file
from fedasr.references import look_beside

KEYS = ("config", "overrides", "grid", "variants", "seeds")
OURS = {"seed": "list the seeds under 'seeds'", "name": "a sweep names its runs by what they vary"}
"""Keys that no run of a sweep may set, and what to do instead."""
LABEL = re.compile(r"[\w.,=+-]+")
MOST_RUNS = 10_000

Changes = dict[str, Any]


@dataclass(frozen=True)
class Planned:
    """A run that a sweep asks for. ``label`` names what it varies, ``changes`` are the dotted keys that it varies."""

    label: str
    seed: int
    changes: Changes
    config: Config

    @property
    def folder(self) -> str:
        """The name of the run folder."""
        return f"{self.label}-seed{self.seed}"


@dataclass(frozen=True)
class Plan:
    """The runs of a sweep file, all checked against the schema; variant by variant, seed by seed."""

    path: Path
    runs: tuple[Planned, ...]

    @property
    def labels(self) -> list[str]:
        """The labels, in the order of the file."""
        return list(dict.fromkeys(run.label for run in self.runs))

    def only(self, patterns: Sequence[str]) -> Plan:
        """Return the plan of the runs whose label or folder matches one of the patterns (``*`` and ``?``).

        Raises:
            InputError: a pattern matches nothing.
        """
        if not patterns:
            return self
        for pattern in patterns:
            if not any(matches(run, pattern) for run in self.runs):
                known = ", ".join(self.labels)
                guess = nearest(pattern, [name for run in self.runs for name in (run.label, run.folder)])
                raise InputError(f"matches no run of {self.path}{guess}; it has: {known}", where=f"--only {pattern}")
        return Plan(self.path, tuple(r for r in self.runs if any(matches(r, pattern) for pattern in patterns)))


def matches(run: Planned, pattern: str) -> bool:
    """Say whether a pattern names a run, by its label or its folder."""
    return fnmatchcase(run.label, pattern) or fnmatchcase(run.folder, pattern)


def read_plan(path: str | Path, overrides: Sequence[str] = ()) -> Plan:
    """Return the plan in a sweep file.

    Args:
        path: a YAML file with ``config``, and any of ``overrides``, ``variants``, ``grid`` and ``seeds``.
        overrides: an OmegaConf dot-list that every run gets, after the file's own ``overrides``.

    Raises:
        InputError: the file or a config that follows from it is wrong; the message names the file and the variant.
    """
    file = Path(path)
    if not is_file(file):
        raise InputError("no such file; expected a sweep, a YAML file with 'config' and 'variants' or 'grid'",
                         where=str(path) or "''")  # fmt: skip
    where = str(file)
    tree = read(file)
    for name in tree:
        if name not in KEYS:
            known = ", ".join(KEYS)
            raise InputError(f"unknown key '{name}'{nearest(str(name), KEYS)}; a sweep has: {known}", where=where)
    base = base_config(tree, file)
    fixed = changes_of(tree.get("overrides"), "overrides", where)
    variants = read_variants(tree.get("variants"), where)
    grid = read_grid(tree.get("grid"), where)
    base = changed(OmegaConf.structured(base), fixed, f"{where}, overrides", file.parent, checked=False)
    arguments, places = dotlist(overrides)
    check_overlap(fixed, dict(leaves(arguments, Config)), variants, grid, where, places)
    typed = OmegaConf.structured(base)
    merge(leaves(arguments, Config), where, typed, places)
    base = finished(typed, where, places, checked=False)
    seeds = read_seeds(tree.get("seeds"), base.seed, where)
    asked = len(variants) * prod(map(len, grid.values())) * len(seeds)
    if asked > MOST_RUNS:
        raise InputError(f"asks for {asked:,} runs; expected at most {MOST_RUNS:,}", where=where)
    varied = [(label(name, point, grid), {**changes, **point}) for name, changes in variants for point in points(grid)]
    check_labels([variant for variant, _ in varied], where)
    runs: list[Planned] = []
    start = OmegaConf.structured(base)
    for variant, changes in varied:
        config = changed(start, changes, f"{where}, variant '{variant}'", file.parent)
        runs += [Planned(variant, seed, changes, replace(config, name=variant, seed=seed)) for seed in seeds]
    check_distinct(runs[:: len(seeds)], where)
    return Plan(file, tuple(runs))


def base_config(tree: Mapping[str, Any], file: Path) -> Config:
    """Return the config that all runs start from, unchecked until what they change is in.

    Its path is relative to the sweep file, or to the working folder.
    """
    source = tree.get("config")
    if not isinstance(source, str) or not source:
        problem = "has no 'config'" if source is None else f"'config' is {shown(source)}"
        raise InputError(f"{problem}; expected a YAML config or a name from simulations/", where=str(file))
    beside = file.parent / source
    base = beside if is_file(beside) else source
    look_beside(file, base)
    try:
        return load(find(base), checked=False)
    except InputError as error:
        if str(error).startswith(f"{source}: "):
            raise InputError(f"'config': {error}", where=str(file)) from None
        raise


def changes_of(section: Any, name: str, where: str) -> Changes:
    """Return a mapping of keys, dotted or nested, as dotted keys and values.

    Raises:
        InputError: it is no mapping, a key is unknown, or the sweep sets it itself.
    """
    if section is None:
        return {}
    if not isinstance(section, Mapping):
        raise InputError(f"'{name}' is {shown(section)}; expected keys such as 'selection.name: activity'", where=where)
    flat: Changes = {}
    for key, value in section.items():
        for leaf, leaf_value in leaves(nested(str(key), value, f"{where}, {name}"), Config):
            if leaf in OURS:
                raise InputError(f"'{name}' sets '{leaf}'; {OURS[leaf]}", where=where)
            if leaf in flat:
                raise InputError(f"'{name}' sets '{leaf}' twice", where=where)
            flat[leaf] = leaf_value
    return flat


def nested(key: str, value: Any, where: str) -> Mapping[str, Any]:
    """Return the checked tree of one dotted key."""
    tree: Any = value
    for step in reversed(key.split(".")):
        tree = {step: tree}
    tree = as_tree(tree, where)
    check_tree(tree, Config, where)
    return tree  # type: ignore[no-any-return]


def read_variants(section: Any, where: str) -> list[tuple[str, Changes]]:
    """Return the named variants; a nameless one without changes where there are none."""
    if section is None:
        return [("", {})]
    if not isinstance(section, Mapping) or not section:
        raise InputError(
            f"'variants' is {shown(section)}; expected names with their keys, such as"
            " 'heavy: {selection.name: top-activity}'", where=where,
        )  # fmt: skip
    for name in section:
        if not isinstance(name, str) or not LABEL.fullmatch(name) or name.startswith("."):
            raise InputError(
                f"the variant {shown(name)} cannot be part of a folder's name; use letters, digits and ._,=+-",
                where=where,
            )
    return [(str(name), changes_of(changes, f"variants.{name}", where)) for name, changes in section.items()]


def read_grid(section: Any, where: str) -> dict[str, list[Any]]:
    """Return the values of each key of the grid."""
    if section is None:
        return {}
    if not isinstance(section, Mapping) or not section:
        raise InputError(
            f"'grid' is {shown(section)}; expected keys with lists, such as 'selection.name: [uniform, activity]'",
            where=where,
        )
    grid: dict[str, list[Any]] = {}
    for name, values in section.items():
        if not isinstance(values, Sequence) or isinstance(values, str) or not values:
            raise InputError(f"'grid.{name}' is {shown(values)}; expected a list of values", where=where)
        if any(values[i] == values[j] for i in range(len(values)) for j in range(i)):
            raise InputError(f"'grid.{name}' has a value twice", where=where)
        for value in values:
            tree = nested(str(name), value, f"{where}, grid")
            if name in OURS:
                raise InputError(f"'grid' sets '{name}'; {OURS[str(name)]}", where=where)
            if [key for key, _ in leaves(tree, Config)] != [str(name)]:
                raise InputError(f"'grid.{name}' is a section; expected a dotted key such as '{name}.name'"
                                 , where=where)  # fmt: skip
        grid[str(name)] = list(values)
    return grid


def read_seeds(seeds: Any, default: int, where: str) -> list[int]:
    """Return the seeds; the config's own where the sweep lists none."""
    if seeds is None:
        return [default]
    good = isinstance(seeds, Sequence) and not isinstance(seeds, str) and len(seeds) > 0
    if not good or any(
        isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= LARGEST for seed in seeds
    ):
        raise InputError(f"'seeds' is {shown(seeds)}; expected a list of integers, such as [0, 1, 2]", where=where)
    if len(set(seeds)) < len(seeds):
        raise InputError(f"'seeds' is {shown(seeds)}; a seed is there twice, which repeats a run", where=where)
    return list(seeds)


def check_overlap(
    fixed: Changes,
    arguments: Changes,
    variants: Sequence[tuple[str, Changes]],
    grid: Mapping[str, Any],
    where: str,
    places: Mapping[str, str],
) -> None:
    """Raise when a key is set in two places of which one would never be read.

    A variant may change what ``overrides`` fixes for all others; everything else that is set twice is a mistake.
    """
    for name in arguments:
        if name in OURS:
            raise InputError(f"'{name}' is not for a sweep; {OURS[name]}", where=places[name])
        if name in grid or any(name in changes for _, changes in variants):
            raise InputError(f"'{name}' is what {where} varies; change it there", where=places[name])
    for name in grid:
        if name in fixed:
            raise InputError(f"'{name}' is in 'overrides' and in 'grid'; keep one", where=where)
        for variant, changes in variants:
            if name in changes:
                raise InputError(f"'{name}' is in 'grid' and in the variant '{variant}'; keep one", where=where)


def points(grid: Mapping[str, Sequence[Any]]) -> list[Changes]:
    """Return every combination of the grid's values; one empty combination where there is no grid."""
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def label(variant: str, point: Changes, grid: Mapping[str, Sequence[Any]]) -> str:
    """Return the name of a combination: texts as they are, other values as ``key=value``, joined by commas."""
    parts = [variant] if variant else []
    texts = [value for values in grid.values() for value in values if isinstance(value, str)]
    for key, value in point.items():
        alone = isinstance(value, str) and texts.count(value) == 1
        parts.append(safe(value) if alone else f"{key.rpartition('.')[2]}={safe(value)}")
    return ",".join(parts) or "run"


def safe(value: Any) -> str:
    """Return a value as part of a folder's name."""
    text = value if isinstance(value, str) else json.dumps(value)
    return re.sub(r"[^\w.+-]+", "_", text).strip("._") or "_"


def check_labels(labels: Sequence[str], where: str) -> None:
    """Raise when two combinations would share a folder."""
    counts = Counter(labels)
    for label, count in counts.items():
        if count > 1:
            raise InputError(
                f"two combinations of the grid are called '{label}'; name them under 'variants'", where=where
            )
        if len(label) > 80:
            raise InputError(f"'{label}' is too long for a folder's name; name it under 'variants'", where=where)


def check_distinct(runs: Sequence[Planned], where: str) -> None:
    """Raise when two variants are the same config: the second would repeat the first bit by bit."""
    seen: dict[str, str] = {}
    for run in runs:
        content = repr({**asdict(run.config), "name": None})
        if content in seen:
            raise InputError(f"the variants '{seen[content]}' and '{run.label}' are the same config", where=where)
        seen[content] = run.label


def changed(config: DictConfig, changes: Changes, where: str, folder: Path, checked: bool = True) -> Config:
    """Return the config with dotted keys changed, and checked; relative paths among them are relative to ``folder``."""
    whole: dict[str, Any] = {}
    for name, value in changes.items():
        whole = join(whole, nested(name, value, where))
    typed = config.copy()
    merge(leaves(whole, Config), where, typed)
    return finished(typed, where, {}, whole, folder, checked)


def join(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the union of two trees that share no leaf."""
    both = dict(one)
    for name, value in other.items():
        before = both.get(name)
        both[name] = join(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return both
