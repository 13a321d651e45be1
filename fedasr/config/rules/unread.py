"""Keys that are set though nothing reads them in this config, by the conditions that the schema declares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from fedasr.config.schema import Config, section
from fedasr.config.schema.conditions import Condition, Either, When, shown, value_of
from fedasr.errors import InputError


@dataclass(frozen=True)
class Leaf:
    """A key with what decides whether it is read.

    Attributes:
        key: its dotted name.
        default: its default.
        conditions: all of them must hold.
    """

    key: str
    default: Any
    conditions: tuple[When, ...]


@cache
def leaves() -> tuple[Leaf, ...]:
    """Return every key of the schema that is read under a condition, in its order."""
    return tuple(leaf for leaf in within(Config, Config(), "", ()) if leaf.conditions)


def within(schema: type, default: object, prefix: str, outer: tuple[When, ...]) -> Iterator[Leaf]:
    """Yield the keys of a section and of the sections in it."""
    for item in fields(schema):
        name, value = f"{prefix}{item.name}", getattr(default, item.name)
        own = tuple(condition.within(prefix) for condition in item.metadata.get("when", ()))
        inner = section(item)
        if inner is not None:
            yield from within(inner, value, f"{name}.", (*outer, *own))
        else:
            about_others = tuple(other for other in (*outer, *own) if getattr(other, "key", None) != name)
            yield Leaf(name, value, about_others)


def unread_keys(config: Config) -> frozenset[str]:
    """Return the keys that nothing reads in this config, whatever their values."""
    return frozenset(leaf.key for leaf in leaves() if not all(each.holds(config) for each in leaf.conditions))


def unread(config: Config) -> Iterator[tuple[str, When]]:
    """Yield each key that does not have its default though nothing reads it, and the condition that does not hold."""
    for leaf in leaves():
        if value_of(config, leaf.key) != leaf.default:
            broken = next((condition for condition in leaf.conditions if not condition.holds(config)), None)
            if broken is not None:
                yield leaf.key, broken


def reason(config: Config, key: str, broken: When) -> str:
    """Return why nothing reads a key, and what to do, in a line."""
    conditions = broken.conditions if isinstance(broken, Either) else (broken,)
    now = " and ".join(f"'{condition.key}' {is_now(config, condition)}" for condition in conditions)
    wanted = " or ".join(dict.fromkeys(change(condition) for condition in conditions))
    return f"'{key}' is set but {now}, which does not read it; leave it out, or {wanted}"


def is_now(config: Config, condition: Condition) -> str:
    """Return what the other key is, in words."""
    value = value_of(config, condition.key)
    return "is not set" if value is None else f"is {shown(value)}" if not isinstance(value, str) else f"is '{value}'"


def change(condition: Condition) -> str:
    """Return what to do for a condition to hold."""
    if condition.negated:
        return f"set {condition.key}" if condition.values == (None,) else f"change {condition.key}"
    if condition.values == (None,):
        return f"leave {condition.key} out"
    return f"set {condition.key}={' or '.join(shown(value) for value in condition.values)}"


def check_unread(config: Config, where: str) -> None:
    """Raise on a key that nothing reads, where the schema says that this is refused.

    Raises:
        InputError: naming the key, why nothing reads it, and what to do.
    """
    for key, broken in unread(config):
        if broken.refused:
            raise InputError(reason(config, key, broken), where=where)


def warnings(config: Config) -> list[str]:
    """Return a line for each key that is set, not read, and not refused."""
    return [reason(config, key, broken) for key, broken in unread(config) if not broken.refused]
