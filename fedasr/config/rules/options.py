"""Options are read by parts of a user's own, and by those of ours that have no keys of their own."""

from __future__ import annotations

from fedasr.config.schema import Config, walk
from fedasr.config.schema.conditions import value_of
from fedasr.errors import InputError
from fedasr.registry import is_reference

OPTIONS = "options"
SHIPPED = ("attack.options", "compression.up_options", "compression.down_options")
"""Options that the parts of ours read too."""


def check_options(config: Config, where: str) -> None:
    """Raise on options that nothing reads, or that no parameter can be named like.

    Raises:
        InputError: naming the key and what to change.
    """
    keys = dict(walk())
    for options_key in keys:
        last = options_key.rpartition(".")[2]
        if last != OPTIONS and not last.endswith(f"_{OPTIONS}"):
            continue
        key = part_of(options_key)
        name, options = value_of(config, key), value_of(config, options_key)
        if options and not (name and is_reference(name)) and options_key not in SHIPPED:
            raise InputError(
                f"'{options_key}' is set but '{key}' is '{name}', which reads none; leave it out, or name a part of"
                " your own",
                where=where,
            )
        for option in options:
            if not str(option).isidentifier():
                raise InputError(
                    f"'{options_key}' has the key '{option}'; expected the name of a parameter", where=where
                )


def part_of(options_key: str) -> str:
    """Return the key of the part that options are for: ``model.name`` of ``model.options``."""
    section, dot, last = options_key.rpartition(".")
    return f"{section}{dot}{'name' if last == OPTIONS else last.removesuffix(f'_{OPTIONS}')}"
