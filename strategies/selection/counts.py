"""How active a device is: what it stores, by one of four counts the server knows without asking."""

from __future__ import annotations

import numpy as np

from fedasr.data.roster import Roster
from fedasr.errors import InputError, nearest
from fedasr.typing import Floats

COUNTS = ("utterances", "seconds", "recent-utterances", "recent-seconds")


def known_count(count: str) -> str:
    """Return the name of a count, or raise.

    Raises:
        InputError: there is no such count.
    """
    if count not in COUNTS:
        raise InputError(
            f"'selection.activity' is '{count}'{nearest(count, COUNTS)}; expected one of: {', '.join(COUNTS)}"
        )
    return count


def activity(roster: Roster, count: str) -> Floats:
    """Return a count of the selectable clients, shape ``(selectable,)``: utterances, or audio in seconds."""
    column = getattr(roster, count.replace("-", "_"))
    return np.asarray(column[roster.selectable], np.float64)
