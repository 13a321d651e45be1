"""Which hypotheses are learnt: those that a model is sure of, and that do not look like those of one that collapses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import numpy as np

from fedasr.training.self_labels.hearing import Hypotheses

LEAST_TOKENS = 6
"""Of shorter hypotheses more than half may be the same token: `hello` has two of five."""
LEAST_UTTERANCES = 4
"""Of fewer utterances more than half may be the same."""


def chosen(heard: Hypotheses, guard: Collection[str], threshold: float = 0.0, share: float = 1.0) -> list[int]:
    """Return which hypotheses are learnt, as places in ``heard``, in ascending order.

    An empty hypothesis is what CTC is likeliest to collapse to: blanks alone are sure of themselves.

    Args:
        heard: of one device, or of one pass of a student.
        guard: what is never learnt, of ``empty``, ``repeated`` and ``same``; see ``self_labels.guard``.
        threshold: the least confidence.
        share: of the hypotheses that no guard stops, the surest first, rounded up.
    """
    often = {text for text, count in Counter(heard.texts).items() if 2 * count > len(heard.texts) >= LEAST_UTTERANCES}
    there = [
        place
        for place, text in enumerate(heard.texts)
        if heard.fits[place]
        and np.isfinite(heard.confidence[place])
        and not ("empty" in guard and not text)
        and not ("repeated" in guard and repeated(text))
        and not ("same" in guard and text and text in often)
    ]
    sure = heard.confidence[there]
    surest = np.argsort(-sure, kind="stable")[: int(np.ceil(share * len(there)))]
    return sorted(there[place] for place in surest.tolist() if sure[place] >= threshold)


def repeated(text: str) -> bool:
    """Say whether more than half of a long hypothesis is the same character, or the same word."""
    for parts in (text.replace(" ", ""), text.split()):
        if len(parts) >= LEAST_TOKENS and 2 * max(Counter(parts).values()) > len(parts):
            return True
    return False
