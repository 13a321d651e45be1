"""What key ``log`` holds: the callbacks of a run, each a name, or a name with options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CALLBACKS = ("tensorboard", "mlflow", "wandb", "early-stopping")
WATCHING = ("tensorboard", "mlflow", "wandb")
"""Those that change nothing of what comes out of a run."""


@dataclass(frozen=True)
class Logged:
    """An item of ``log``."""

    number: int
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


def logged(items: Sequence[Any]) -> list[Logged]:
    """Return the items of a checked ``log``."""
    entries = []
    for number, item in enumerate(items):
        if isinstance(item, str):
            entries.append(Logged(number, item))
        else:
            entries.append(Logged(number, item["name"], item.get("options") or {}))
    return entries
