"""When a key is read: a condition on another key, which the pages print and every config is held against."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Condition:
    """A key is read only while another one has, or has not, one of some values.

    Attributes:
        key: the other key, dotted; after a leading dot it is in the section of the key itself.
        values: that it has, or has not.
        negated: whether it must have none of them.
        refused: whether a config that sets an unread key is refused; else it is warned of.
    """

    key: str
    values: tuple[Any, ...]
    negated: bool = False
    refused: bool = False

    def within(self, prefix: str) -> Condition:
        """Return the condition with the whole name of its key, for a key of section ``prefix`` (``"data."``)."""
        return replace(self, key=prefix + self.key[1:]) if self.key.startswith(".") else self

    def holds(self, config: object) -> bool:
        """Say whether the key is read; of a user's own part nobody knows what it reads, so there it is."""
        value = value_of(config, self.key)
        if isinstance(value, str) and ":" in value and all(isinstance(known, str) for known in self.values):
            return True
        return (value in self.values) is not self.negated

    def __str__(self) -> str:
        if self.negated and self.values in ((None,), ([],), (0,), ({},)):
            return f"`{self.key}` is set"
        if not self.negated and self.values == (None,):
            return f"`{self.key}` is not set"
        words = " or ".join(f"`{shown(value)}`" for value in self.values)
        return f"`{self.key}` is {'not ' if self.negated else ''}{words}"


@dataclass(frozen=True)
class Either:
    """A key is read while one of several conditions holds."""

    conditions: tuple[Condition, ...]

    @property
    def refused(self) -> bool:
        """Whether a config that sets an unread key is refused."""
        return any(condition.refused for condition in self.conditions)

    def within(self, prefix: str) -> Either:
        """Return the same with whole names, as ``Condition.within``."""
        return Either(tuple(condition.within(prefix) for condition in self.conditions))

    def holds(self, config: object) -> bool:
        """Say whether the key is read."""
        return any(condition.holds(config) for condition in self.conditions)

    def __str__(self) -> str:
        return ", or ".join(map(str, self.conditions))


When = Condition | Either


def when(key: str, *values: Any, refused: bool = False) -> Condition:
    """Return the condition that a key has one of the values; None: that it is not set."""
    return Condition(key, values, refused=refused)


def unless(key: str, *values: Any, refused: bool = False) -> Condition:
    """Return the condition that a key has none of the values; None, 0, ``[]`` or ``{}``: that it is set."""
    return Condition(key, values, negated=True, refused=refused)


def either(*conditions: Condition) -> Either:
    """Return the condition that one of several holds."""
    return Either(conditions)


def value_of(config: object, key: str) -> Any:
    """Return the value of a dotted key."""
    value: Any = config
    for step in key.split("."):
        value = getattr(value, step)
    return value


def shown(value: Any) -> str:
    """Return a value as in YAML."""
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)
