"""How a key and a section of the config are declared."""

from __future__ import annotations

from dataclasses import field, is_dataclass
from typing import Any

from fedasr.config.schema.conditions import When


def key(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] | None = None,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    reference: bool = False,
    when: When | tuple[When, ...] = (),
) -> Any:
    """Declare a config key: its default, what it means, and the values it may take.

    ``low`` and ``high`` are inclusive bounds, ``above`` an exclusive lower one. With ``reference`` the key also takes
    ``"package.module:attribute"``, the extension point for a user's own part. ``when`` holds the conditions under which
    it is read, all of them.
    """
    meta: dict[str, Any] = {
        "help": help,
        "choices": choices,
        "low": low,
        "high": high,
        "above": above,
        "reference": reference,
    }
    meta["when"] = when if isinstance(when, tuple) else (when,)
    if callable(default):
        return field(default_factory=default, metadata=meta)
    return field(default=default, metadata=meta)


def part(factory: Any, help: str, *, when: When | tuple[When, ...] = ()) -> Any:
    """Declare a section of the config; ``when`` is a condition of each key in it, but of the one that it names."""
    conditions = when if isinstance(when, tuple) else (when,)
    return field(default_factory=factory, metadata={"help": help, "when": conditions})


def section(item: Any) -> type | None:
    """Return the dataclass of a section field, or None for a leaf."""
    factory = item.default_factory
    return factory if isinstance(factory, type) and is_dataclass(factory) else None
