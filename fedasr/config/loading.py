"""Read a config strictly: an unknown key or a wrong type is one line that names the file and the key."""

from __future__ import annotations

import io
import pickle
import unicodedata
from collections.abc import Container, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, cast, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fedasr.config.rules import check_combinations
from fedasr.config.scalars import argument_as_written, as_written
from fedasr.config.schema import Config, section, walk
from fedasr.errors import InputError, nearest
from fedasr.paths import exists, is_file, is_folder

BOOLEAN = "true or false"
MAPPING = "a mapping of names to values"
LARGEST = 2**63 - 1
MISSING = "???"
TABLES = (".csv", ".tsv", ".parquet", ".jsonl")
"""What a base config has where a run must fill in a value."""
PATE_PATHS = ("pate.public.manifest", "pate.public.root", "pate.store", "pate.votes_from")
TEACHER_PATHS = ("distillation.teacher", "distillation.store")
PATHS = ("init_from", "data.manifest", "data.root", "devices.trace", *PATE_PATHS, *TEACHER_PATHS)
"""Keys whose values name files, which are kept as they are."""


def load(
    source: str | Path | Mapping[str, Any] | DictConfig | Config,
    overrides: Sequence[str] | Mapping[str, Any] = (),
    *,
    checked: bool = True,
) -> Config:
    """Return the checked config of a YAML file, a name in ``simulations/``, a mapping or a config object.

    What it says is checked once the overrides are in: a config may need them, and have ``???`` where they belong.

    Args:
        source: a path, the name of a file in ``simulations/`` without its suffix, a mapping, or a ``Config``.
        overrides: an OmegaConf dot-list, such as ``["rounds=3", "client.epochs=1"]``, or a mapping of dotted keys.
        checked: whether values and combinations are; not of what others will change.

    Raises:
        InputError: the file cannot be read, or a key or value does not fit the schema.
    """
    if isinstance(source, (str, Path)):
        path = find(source)
        where = str(path)
        tree = read(path, missing=True)
        base = path.parent
    else:
        where = "config"
        tree = as_tree(source, missing=True)
        base = None
    check_tree(tree, Config, where)
    steps, places = mapped(overrides) if isinstance(overrides, Mapping) else listed(overrides)
    given = {name for step, _ in steps for name, _ in leaves(step, Config)}
    for name, value in leaves(tree, Config):
        if value == MISSING and name not in given:
            raise InputError(f"'{name}' is {MISSING}; expected {expected(name)}: add {name}=VALUE", where=where)
    merged = typed_defaults()
    merge(changed(tree), where, merged, skipped=given)
    for step, place in steps:
        merge(leaves(step, Config), place, merged, places)
    return finished(merged, where, places, tree, base, checked)


def typed_defaults() -> DictConfig:
    """Return a typed tree of all defaults; it is the caller's."""
    return cast(DictConfig, pickle.loads(pickled_defaults()))


@cache
def pickled_defaults() -> bytes:
    """Return the typed tree of all defaults; to make or to copy it takes several times as long as to read it."""
    return pickle.dumps(OmegaConf.structured(Config))


@cache
def plain_defaults() -> Mapping[str, Any]:
    """Return the default of every dotted key."""
    return dict(leaves(to_dict(Config()), Config))


def changed(tree: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the leaves of a tree that are not what they are by default."""
    known = plain_defaults()
    return [
        (name, value)
        for name, value in leaves(tree, Config)
        if type(value) is not type(known[name]) or value != known[name] or isinstance(value, (list, Mapping))
    ]


def override(config: Config, changes: Mapping[str, Any]) -> Config:
    """Return a checked copy of ``config`` with dotted keys changed.

    Raises:
        InputError: a key or value does not fit the schema.
    """
    return load(config, changes)


Steps = list[tuple[Mapping[str, Any], str]]
"""Trees to merge one after the other, and what messages call each."""


def listed(overrides: Sequence[str]) -> tuple[Steps, dict[str, str]]:
    """Return the steps of a dot-list, and what messages call the argument of each key."""
    changes, places = dotlist(overrides)
    return [(changes, "arguments")], places


def mapped(changes: Mapping[str, Any]) -> tuple[Steps, dict[str, str]]:
    """Return the steps of a mapping of dotted keys, and what messages call the override of each key."""
    steps: Steps = []
    places: dict[str, str] = {}
    for name, value in changes.items():
        where = f"override '{name}'"
        tree: dict[str, Any] = {}
        node = tree
        *path, last = str(name).split(".")
        for step in path:
            node[step] = {}
            node = node[step]
        node[last] = value
        change = as_tree(tree, where)
        check_tree(change, Config, where)
        steps.append((change, where))
        places.update({key: where for key, _ in leaves(change, Config)})
    return steps, places


def finished(
    merged: DictConfig,
    where: str,
    places: Mapping[str, str],
    tree: Mapping[str, Any] | None = None,
    base: Path | None = None,
    checked: bool = True,
) -> Config:
    """Return the config of a typed tree, its paths absolute, its values checked unless others will change them."""
    try:
        config = cast(Config, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        raise InputError(f"cannot be resolved: {reason(error)}", where=where) from None
    except RecursionError:
        raise InputError("is nested too deeply", where=where) from None
    anchor_paths(config, tree or {}, base, where, places)
    if checked:
        resolve(config, where, places)
    return config


def resolve(config: Config, where: str = "config", places: Mapping[str, str] | None = None) -> None:
    """Check bounds, choices and combinations.

    Args:
        config: to be checked.
        where: what messages call it.
        places: dotted key → what messages call the argument that set it.

    Raises:
        InputError: naming the key, the value and what was expected.
    """
    for name, item in walk():
        value = get(config, name)
        if value is None:
            continue
        check_value(name, value, item.metadata, (places or {}).get(name, where))
    check_combinations(config, where)


def to_dict(config: Config) -> dict[str, Any]:
    """Return the config as plain nested dictionaries; an integer where a number is expected is a number."""
    tree = asdict(config)
    for name in numbers():
        *path, last = name.split(".")
        node = tree
        for step in path:
            node = node[step]
        if type(node[last]) is int:
            node[last] = float(node[last])
    return tree


@cache
def numbers() -> tuple[str, ...]:
    """Return the dotted keys that take a number."""
    return tuple(name for name, _ in walk() if type_of(name) in ("<class 'float'>", "float | None"))


def to_yaml(config: Config) -> str:
    """Return the config as YAML, enough to repeat the run."""
    return OmegaConf.to_yaml(OmegaConf.create(to_dict(config)), resolve=True)


def get(config: Any, name: str) -> Any:
    """Return the value of a dotted key."""
    for step in name.split("."):
        config = getattr(config, step)
    return config


def find(source: str | Path) -> Path:
    """Return the config file that ``source`` means: a path, or a name in ``simulations/``."""
    path = Path(source)
    if is_file(path):
        return path
    shown = str(source) or "''"
    if is_folder(path) and str(source):
        raise InputError("is a folder; expected a YAML config or a name from simulations/", where=shown)
    shipped = Path(str(files("fedasr.simulations")))
    names = sorted(p.stem for p in shipped.glob("*.yaml"))
    if len(path.parts) == 1 and path.suffix == "":
        candidate = shipped / f"{source}.yaml"
        if is_file(candidate):
            return candidate
    raise InputError(
        f"no such config{nearest(path.stem, names)}; expected a YAML file or one of: {', '.join(names)}",
        where=shown,
    )


def read(path: Path, missing: bool = False) -> Mapping[str, Any]:
    """Return the mapping in a YAML file, interpolations resolved.

    Args:
        path: of the file.
        missing: let ``???`` stand where somebody else may fill it in.

    Raises:
        InputError: it cannot be read, is not UTF-8 or YAML, or holds no mapping; the line is named where there is one.
    """
    import yaml

    if path.suffix.lower() in TABLES:
        raise InputError(
            f"is a table, not a config; give a YAML config and set data.corpus=manifest data.manifest={path}",
            where=str(path),
        )
    text = read_text(path)
    try:
        node = OmegaConf.load(io.StringIO(as_written(text)))
        tree = OmegaConf.to_container(node, resolve=True, throw_on_missing=not missing)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        # Newer parsers count the depth, older ones run out of stack.
        problem = "it is nested too deeply" if "nesting depth" in str(error.problem) else error.problem
        raise InputError(f"is not valid YAML: {problem}", where=f"{path}{line}") from None
    except yaml.reader.ReaderError as error:
        line = str(text.count("\n", 0, error.position) + 1)
        raise InputError(
            f"is not valid YAML: {error.reason} (U+{error.character:04X})", where=f"{path}:{line}"
        ) from None
    except OmegaConfBaseException as error:
        raise InputError(f"cannot be resolved: {reason(error)}", where=str(path)) from None
    except OSError:  # what OmegaConf raises for a number
        tree = None
    except RecursionError:
        raise InputError("is not valid YAML: it is nested too deeply", where=str(path)) from None
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError) as error:
        # PyYAML checks no value whose type the file itself names: `!!int x`, `!!timestamp x`, …
        raise InputError(f"is not valid YAML: {error}", where=str(path)) from None
    # OmegaConf makes a key of a text that is no mapping, such as a table.
    if not isinstance(tree, dict) or (list(tree.values()) == [None] and ":" not in text):
        raise InputError("holds no mapping; expected keys such as 'rounds: 10'", where=str(path))
    if not tree:
        raise InputError("is empty; expected keys such as 'rounds: 10'", where=str(path))
    return cast(Mapping[str, Any], tree)


def read_text(path: Path) -> str:
    """Return the text of a config file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=str(path)) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(f"is not UTF-8 text (byte {error.start}); save it as UTF-8", where=f"{path}:{line}") from None


def reason(error: OmegaConfBaseException) -> str:
    """Return what OmegaConf says, in a line that names the key."""
    lines = str(error).splitlines() or [type(error).__name__]
    return f"'{error.full_key}': {lines[0]}" if error.full_key else lines[0]


def as_tree(
    source: Mapping[str, Any] | DictConfig | Config, where: str = "config", missing: bool = False
) -> Mapping[str, Any]:
    """Return plain nested dictionaries of a mapping or config object; ``missing`` as in ``read``."""
    try:
        if isinstance(source, Config):
            return to_dict(source)
        if is_plain(source):
            return cast(Mapping[str, Any], deepcopy(source))
        node = source if OmegaConf.is_config(source) else OmegaConf.create(dict(source))
        tree = OmegaConf.to_container(cast(DictConfig, node), resolve=True, throw_on_missing=not missing)
    except OmegaConfBaseException as error:
        raise InputError(f"cannot be resolved: {reason(error)}", where=where) from None
    except RecursionError:
        raise InputError("is nested too deeply", where=where) from None
    return cast(Mapping[str, Any], tree)


def is_plain(value: Any) -> bool:
    """Say whether OmegaConf would leave a tree as it is: nothing in it is of a special type, or to be resolved."""
    if type(value) is str:
        return "${" not in value and value != MISSING
    if type(value) is dict:
        return all(type(name) is str and is_plain(item) for name, item in value.items())
    if type(value) is list:
        return all(map(is_plain, value))
    return value is None or type(value) in (bool, int, float)


def dotlist(overrides: Sequence[str]) -> tuple[Mapping[str, Any], dict[str, str]]:
    """Return the nested dictionaries of ``KEY=VALUE`` arguments, and what messages call the argument of each key."""
    places: dict[str, str] = {}
    for item in overrides:
        where = f"argument '{item}'"
        name, sign, _ = item.partition("=")
        if not sign or not name.strip():
            raise InputError("expected KEY=VALUE, such as rounds=3", where=where)
        tree = parse([item], where, resolve=False)
        check_tree(tree, Config, where)
        places.update({key: where for key, _ in leaves(tree, Config)})
    return parse(overrides, f"argument '{' '.join(overrides)}'", resolve=True), places


def parse(overrides: Sequence[str], where: str, resolve: bool) -> Mapping[str, Any]:
    """Return the nested dictionaries of a dot-list."""
    import yaml

    try:
        node = OmegaConf.from_dotlist([argument_as_written(item) for item in overrides])
        return cast(Mapping[str, Any], OmegaConf.to_container(node, resolve=resolve, throw_on_missing=True))
    except OmegaConfBaseException as error:
        raise InputError(f"cannot be resolved: {reason(error)}", where=where) from None
    except RecursionError:
        raise InputError("is nested too deeply", where=where) from None
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError) as error:
        problem = error.problem if isinstance(error, yaml.MarkedYAMLError) else error
        raise InputError(f"the value is not valid YAML: {problem}; quote it", where=where) from None


def check_tree(tree: Mapping[Any, Any], schema: type, where: str, prefix: str = "") -> None:
    """Raise on the first key that the schema does not have."""
    known = {item.name: item for item in fields(schema)}
    for name, value in tree.items():
        full = f"{prefix}{name}"
        if name not in known:
            every = [dotted for dotted, _ in walk()]
            guess = nearest(str(name), known) or nearest(full, every)
            raise InputError(f"unknown key '{full}'{guess}; known here: {', '.join(known)}", where=where)
        sub = section(known[name])
        if sub is None:
            continue
        if not isinstance(value, Mapping):
            keys = ", ".join(item.name for item in fields(sub))
            raise InputError(f"'{full}' is a section, not a value; expected keys: {keys}", where=where)
        check_tree(value, sub, where, f"{full}.")


def merge(
    values: Sequence[tuple[str, Any]],
    where: str,
    onto: DictConfig,
    places: Mapping[str, str] | None = None,
    skipped: Container[str] = (),
) -> None:
    """Set values in a typed config, their types checked; a mapping such as ``data.where`` gains entries.

    Of ``skipped`` keys a value that is still missing stays away.
    """
    for name, value in values:
        if value == MISSING and name in skipped:
            continue
        wanted, place = expected(name), (places or {}).get(name, where)
        try:
            value = value if name in PATHS else composed(value)
        except RecursionError:
            raise InputError(f"'{name}' is nested too deeply", where=place) from None
        if value is None and not optional(name):
            raise InputError(f"'{name}' is empty; expected {wanted}", where=place)
        # OmegaConf takes true for 1 and 2 for true.
        if isinstance(value, bool) != wanted.startswith(BOOLEAN) and isinstance(value, int):
            raise InputError(f"'{name}' is {value}; expected {wanted}", where=place)
        try:
            OmegaConf.update(onto, name, value, merge=wanted == MAPPING)
        except RecursionError:
            raise InputError(f"'{name}' is nested too deeply", where=place) from None
        except (OmegaConfBaseException, OverflowError):
            raise InputError(f"'{name}' is {shown(value)}; expected {wanted}", where=place) from None


def composed(value: Any) -> Any:
    """Return a value with its texts in Unicode form NFC, the form of all names and transcripts."""
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, Mapping):
        return {composed(name): composed(item) for name, item in value.items()}
    if isinstance(value, list):
        return [composed(item) for item in value]
    return value


def shown(value: Any) -> str:
    """Return a value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def leaves(tree: Mapping[str, Any], schema: type, prefix: str = "") -> list[tuple[str, Any]]:
    """Return ``(dotted key, value)`` of every leaf that the tree sets."""
    known = {item.name: section(item) for item in fields(schema)}
    rows: list[tuple[str, Any]] = []
    for name, value in tree.items():
        sub = known[name]
        rows += leaves(value, sub, f"{prefix}{name}.") if sub else [(f"{prefix}{name}", value)]
    return rows


def owner(name: str) -> tuple[type, str]:
    """Return the schema class that holds a dotted key, and the key's own name."""
    schema: type = Config
    *path, last = name.split(".")
    for step in path:
        nested = section(next(item for item in fields(schema) if item.name == step))
        assert nested is not None
        schema = nested
    return schema, last


@cache
def type_of(name: str) -> str:
    """Return the type of a dotted key as Python writes it."""
    schema, last = owner(name)
    return str(get_type_hints(schema)[last])


def expected(name: str) -> str:
    """Say in words which type a key takes."""
    hint = type_of(name)
    words = {
        "<class 'int'>": "an integer",
        "<class 'float'>": "a number",
        "<class 'str'>": "text",
        "<class 'bool'>": BOOLEAN,
        "list[str]": "a list of texts",
        "list[int]": "a list of integers",
        "list[float]": "a list of numbers",
        "list[typing.Any]": "a list of names, or of mappings with a name and options",
        "dict[str, typing.Any]": MAPPING,
        "bool | None": f"{BOOLEAN}, or null",
        "int | None": "an integer, or null",
        "float | None": "a number, or null",
        "str | None": "text, or null",
    }
    return words.get(hint, hint)


def optional(name: str) -> bool:
    """Say whether a key may be null."""
    return "None" in type_of(name)


def check_value(name: str, value: Any, meta: Mapping[str, Any], where: str) -> None:
    """Raise when a value is outside its key's choices or bounds."""
    choices = meta.get("choices")
    if meta["reference"] and not choices and ":" not in str(value):
        raise InputError(f"'{name}' is '{value}'; expected 'package.module:attribute'", where=where)
    if choices and value not in choices and not (meta["reference"] and ":" in str(value)):
        also = ", or 'package.module:attribute'" if meta["reference"] else ""
        raise InputError(
            f"'{name}' is '{value}'{nearest(str(value), choices)}; expected one of: {', '.join(choices)}{also}",
            where=where,
        )
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value != value or value in (float("inf"), float("-inf")):
            raise InputError(f"'{name}' is {value}; expected a finite number", where=where)
        if meta["low"] is not None and value < meta["low"]:
            raise InputError(f"'{name}' is {value}; expected at least {meta['low']}", where=where)
        if meta["above"] is not None and value <= meta["above"]:
            raise InputError(f"'{name}' is {value}; expected more than {meta['above']}", where=where)
        if meta["high"] is not None and value > meta["high"]:
            raise InputError(f"'{name}' is {value}; expected at most {meta['high']}", where=where)
        if isinstance(value, int) and value > LARGEST:
            raise InputError(f"'{name}' is {value}; expected at most {LARGEST}", where=where)


def anchor_paths(
    config: Config, tree: Mapping[str, Any], base: Path | None, where: str, places: Mapping[str, str]
) -> None:
    """Make relative paths of a config file absolute: relative to the file, or to the working folder if only there."""
    in_tree = dict(leaves(tree, Config))
    for name in PATHS:
        value = get(config, name)
        if value is None:
            continue
        if "\0" in value:
            raise InputError(f"'{name}' is {shown(value)}; expected a path", where=places.get(name, where))
        if Path(value).is_absolute():
            continue
        from_file = base is not None and name not in places and in_tree.get(name) == value
        candidates = ([base / value] if base is not None and from_file else []) + [Path.cwd() / value]
        chosen = next((c for c in candidates if exists(c)), candidates[-1])
        parent: Any = config
        *path, last = name.split(".")
        for step in path:
            parent = getattr(parent, step)
        setattr(parent, last, str(chosen.resolve()))
