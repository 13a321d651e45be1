"""A config that came over a wire: plain data, of which nothing is resolved, whatever its escapes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fedasr.errors import InputError

INTERPOLATION = "${"
WHERE = "message"


def plain_tree(text: str) -> dict[str, Any]:
    """Return the mapping that a text holds as JSON.

    It is looked at after it was decoded: ``"\\u0024{oc.env:HOME}"`` is an interpolation too, which would tell whoever
    sent it what is in this machine's environment and files.

    Raises:
        InputError: it is no JSON object, or a text in it is an interpolation.
    """
    try:
        found = json.loads(text)
        texts = list(texts_of(found))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputError("the server sent no config", where=WHERE)
    if any(INTERPOLATION in said for said in texts):
        raise InputError(
            f"the server's config has an interpolation ('{INTERPOLATION}'), which a box does not resolve", where=WHERE
        )
    return found


def texts_of(value: Any) -> Iterator[str]:
    """Yield every text in JSON values, the keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, below in value.items():
            yield key
            yield from texts_of(below)
    elif isinstance(value, list):
        for below in value:
            yield from texts_of(below)
