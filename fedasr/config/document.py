"""``docs/configuration.md``, made from the schema: ``python -m fedasr.config.document > docs/configuration.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

from fedasr.config.schema import Config, section

INTRODUCTION = """\
# Configuration

A run is one YAML file, and every key has a default. `fedasr run my.yaml KEY=VALUE ...` changes keys by their dotted
names (an OmegaConf dot-list):

```
fedasr run quickstart rounds=20 client.optimizer=adamw client.learning_rate=0.002 'evaluate.by=[gender,accent]'
```

An unknown key, a wrong type, a value out of bounds or a combination that means nothing stops the run before it
writes anything, with one line that names the file and the key, and exit status 2. So does, or is warned of, a key that
is set though nothing reads it in this config: *read if* says when a key is read. The resolved config is written to
`config.yaml` in the run folder and is enough to repeat the run.

Relative paths in a file (`init_from`, `data.manifest`, `data.root`) are relative to the file, or to the working folder
if they exist only there. Where *own part* stands, the key also takes `package.module:attribute`: a part of your own.

This page is made from `fedasr/config/schema/` by `python -m fedasr.config.document`; do not edit it.
"""
TYPES = {
    "int": "integer",
    "float": "number",
    "str": "text",
    "bool": "true or false",
    "list[str]": "list of texts",
    "list[int]": "list of integers",
    "list[float]": "list of numbers",
    "list[typing.Any]": "list of texts or mappings",
    "dict[str, typing.Any]": "mapping",
}


def page() -> str:
    """Return the page: a table a section, a row a key."""
    return "\n".join([INTRODUCTION, *tables(Config, "", "A run")])


def tables(schema: type, prefix: str, meaning: str, conditions: str = "") -> Iterator[str]:
    """Yield the lines of a section's table, then of the sections in it."""
    title = f"`{prefix.removesuffix('.')}`: {meaning}" if prefix else meaning
    yield from (f"## {title}", "")
    if conditions:
        yield from (f"Read if {conditions}.", "")
    yield from ("| key | default | values | meaning |", "|---|---|---|---|")
    hints = get_type_hints(schema)
    for item in fields(schema):
        if section(item) is None:
            cells = (f"`{prefix}{item.name}`", default(item), values(item, hints[item.name]), meaning_of(item, prefix))
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""
    for item in fields(schema):
        inner = section(item)
        if inner is not None:
            name = f"{prefix}{item.name}."
            yield from tables(inner, name, item.metadata["help"], read_if(item, prefix))


def meaning_of(item: Any, prefix: str) -> str:
    """Return what a key means, and when it is read."""
    conditions = read_if(item, prefix)
    return f"{item.metadata['help']}. *Read if {conditions}.*" if conditions else str(item.metadata["help"])


def read_if(item: Any, prefix: str) -> str:
    """Return the conditions under which a key, or every key of a section, is read; empty: it always is."""
    return ", and ".join(str(condition.within(prefix)) for condition in item.metadata["when"])


def default(item: Any) -> str:
    """Return a key's default as YAML."""
    value = item.default if item.default is not MISSING else item.default_factory()
    if value is None:
        return "`null`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"


def values(item: Any, hint: Any) -> str:
    """Return the values that a key takes, in words."""
    meta = item.metadata
    if meta["choices"]:
        words = ", ".join(f"`{choice}`" for choice in meta["choices"])
    else:
        name = hint.__name__ if isinstance(hint, type) and not getattr(hint, "__args__", None) else str(hint)
        kind = name.removesuffix(" | None")
        bounds = [f"≥ {meta['low']}"] if meta["low"] is not None else []
        bounds += [f"> {meta['above']}"] if meta["above"] is not None else []
        bounds += [f"≤ {meta['high']}"] if meta["high"] is not None else []
        words = " ".join([TYPES[kind], ", ".join(bounds)]).strip()
        if name != kind:
            words += ", or `null`"
    return f"{words}, *own part*" if meta["reference"] else words


if __name__ == "__main__":
    sys.stdout.write(page())
