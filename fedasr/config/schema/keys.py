"""How a key and a section of the config are declared."""

from __future__ import annotations

from dataclasses import field, is_dataclass
from typing import Any


def key(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] | None = None,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    reference: bool = False,
) -> Any:
    """Declare a config key: its default, what it means, and the values it may take.

    ``low`` and ``high`` are inclusive bounds, ``above`` an exclusive lower one. With ``reference`` the key also takes
    ``"package.module:attribute"``, the extension point for a user's own part.
    """
    meta = {"help": help, "choices": choices, "low": low, "high": high, "above": above, "reference": reference}
    if callable(default):
        return field(default_factory=default, metadata=meta)
    return field(default=default, metadata=meta)


def part(factory: Any, help: str) -> Any:
    """Declare a section of the config."""
    return field(default_factory=factory, metadata={"help": help})


def section(item: Any) -> type | None:
    """Return the dataclass of a section field, or None for a leaf."""
    factory = item.default_factory
    return factory if isinstance(factory, type) and is_dataclass(factory) else None
