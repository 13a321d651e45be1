"""One form of a name: what looks the same is the same speaker, split or column."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

import numpy as np

from fedasr.data.corpus import Column

FORMAT = "Cf"
"""Unicode category of what shows nothing by itself: zero-width spaces and joiners, direction marks, soft hyphens."""


def identity(name: str) -> str:
    """Return a name in Unicode form NFC, invisible characters dropped, white space collapsed and none at the ends."""
    if name.isascii() and name.isprintable():
        return " ".join(name.split()) if " " in name else name
    composed = unicodedata.normalize("NFC", name)
    return " ".join("".join(c for c in composed if unicodedata.category(c) != FORMAT).split())


def identities(names: Iterable[object]) -> Column:
    """Return the ``identity`` of each name, object array; equal names are one object."""
    known: dict[object, str] = {}
    renamed = [known[name] if name in known else known.setdefault(name, identity(str(name))) for name in names]
    column = np.empty(len(renamed), object)
    column[:] = renamed
    return column
