"""Which keys of a section were set."""

from __future__ import annotations

from dataclasses import fields


def changed(section: object, default: object) -> list[str]:
    """Return the keys of a section that do not have their defaults, in the order of the schema."""
    return [
        item.name
        for item in fields(section)  # type: ignore[arg-type]
        if item.name != "clock" and getattr(section, item.name) != getattr(default, item.name)
    ]
