"""Words of YAML 1.1 that people write as text: ``no`` is Norwegian, ``012`` a name, ``12:30`` a time.

PyYAML reads them as false, 10 and 750. They are quoted before it sees them; a key that takes true or false still takes
``yes`` and ``no``, and one that takes an integer ``012``.
"""

from __future__ import annotations

import re

import yaml

TEXT = re.compile(
    r"(?:y|yes|n|no|on|off)|[-+]?0[0-9_]+|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?", re.IGNORECASE
)
"""Plain scalars that are meant as they are written."""

CHARACTERS = "chars:"
"""How an alphabet begins whose characters are listed; a space at the end of the line is one of them."""


def as_written(text: str) -> str:
    """Return YAML text in which such words are quoted; text that is no YAML comes back as it is."""
    try:
        tokens = list(yaml.scan(text))
    except (yaml.YAMLError, RecursionError):
        return text  # whoever loads it says why
    parts: list[str] = []
    end = 0
    for token in tokens:
        if not isinstance(token, yaml.ScalarToken) or not token.plain:
            continue
        start, stop, value = token.start_mark.index, token.end_mark.index, str(token.value)
        if value.startswith(CHARACTERS):
            spaces = re.match(r" +(?=[\r\n]|\Z)", text[stop:])
            if spaces is None:
                continue
            value, stop = value + (" " if " " not in value else ""), stop + spaces.end()
        elif not TEXT.fullmatch(value):
            continue
        parts += [text[end:start], quoted(value)]
        end = stop
    return "".join([*parts, text[end:]])


def argument_as_written(item: str) -> str:
    """Return a ``KEY=VALUE`` argument whose value YAML reads as it is written."""
    name, sign, value = item.partition("=")
    if value.startswith(CHARACTERS):
        return f"{name}{sign}{quoted(value)}"
    return f"{name}{sign}{as_written(value)}"


def quoted(value: str) -> str:
    """Return a text in single quotes."""
    return "'" + value.replace("'", "''") + "'"
