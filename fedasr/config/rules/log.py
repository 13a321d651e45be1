"""What may stand in ``log``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedasr.config.schema import Config
from fedasr.config.schema.log import CALLBACKS
from fedasr.errors import InputError, nearest
from fedasr.registry import is_reference

KEYS = ("name", "options")


def check_log(config: Config, where: str) -> None:
    """Raise on an item that names no callback, or has options that no parameter can be named like.

    Raises:
        InputError: naming the item.
    """

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    for number, item in enumerate(config.log):
        key = f"log[{number}]"
        name: Any = item
        options: Any = {}
        if isinstance(item, Mapping):
            for given in item:
                if given not in KEYS:
                    refuse(f"unknown key '{key}.{given}'{nearest(str(given), KEYS)}; known here: {', '.join(KEYS)}")
            name, options = item.get("name"), item.get("options") or {}
        if not isinstance(name, str):
            refuse(f"'log' has {item!r}; expected a name, or a mapping such as {{name: early-stopping, options: …}}")
        elif name not in CALLBACKS and not is_reference(name):
            known = ", ".join(CALLBACKS)
            refuse(
                f"'{key}' is '{name}'{nearest(name, CALLBACKS)}; expected one of: {known}, or"
                " 'package.module:attribute'"
            )
        if not isinstance(options, Mapping):
            refuse(f"'{key}.options' is {options!r}; expected a mapping of names to values")
            continue
        for option in options:
            if not str(option).isidentifier():
                refuse(f"'{key}.options' has the key '{option}'; expected the name of a parameter")
