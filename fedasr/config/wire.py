"""A config that came over a wire: plain data, of which nothing is resolved, whatever its escapes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from fedasr.errors import InputError
from fedasr.protocol import Longest

INTERPOLATION = "${"
WHERE = "message"
MOST_VALUES = 20_000
"""More would keep whoever reads the config busy for minutes."""


def plain_tree(text: str) -> dict[str, Any]:
    """Return the mapping that a text holds as JSON.

    It is looked at after it was decoded: ``"\\u0024{oc.env:HOME}"`` is an interpolation too, which would tell whoever
    sent it what is in this machine's environment and files.

    Raises:
        InputError: it is no JSON object, or a text in it is an interpolation.
    """
    if len(text) > Longest.CONFIG:
        raise InputError(f"the server's config has more than {Longest.CONFIG:,} characters", where=WHERE)
    try:
        tree = json.loads(text)
        texts = list(islice(texts_of(tree), MOST_VALUES + 1))
    except (ValueError, RecursionError):
        tree, texts = None, []
    if len(texts) > MOST_VALUES:
        raise InputError(f"the server's config has more than {MOST_VALUES:,} values", where=WHERE)
    if not isinstance(tree, dict):
        raise InputError("the server sent no config", where=WHERE)
    if any(INTERPOLATION in text for text in texts):
        raise InputError(
            f"the server's config has an interpolation ('{INTERPOLATION}'), which an edge device does not resolve",
            where=WHERE,
        )
    return tree


def texts_of(value: Any) -> Iterator[str]:
    """Yield JSON values as texts, keys and numbers included."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield key
            yield from texts_of(below)
    elif isinstance(value, list):
        for below in value:
            yield from texts_of(below)
    else:
        yield str(value)
