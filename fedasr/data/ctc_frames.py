"""How many output frames CTC needs for a label."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def frames_needed(label: Sequence[object]) -> int:
    """Return the output frames that CTC needs: one a token, and one, for the blank, between equal neighbours.

    Args:
        label: tokens, or characters where each is a token.
    """
    return len(label) + sum(a == b for a, b in pairwise(label))
