"""Hold out speakers where a corpus has no splits of its own."""

from __future__ import annotations

import numpy as np

from fedasr.data.corpus import Column
from fedasr.seeds import generator


def hold_out(speakers: Column, share: float, seed: int, train: str = "train", test: str = "test") -> Column:
    """Return the split of each utterance, shape ``(utterances,)``: no speaker is in both.

    Args:
        speakers: the speaker of each utterance, text.
        share: share of the speakers that go to ``test``, rounded, at least one; none of a single speaker.
        seed: the draw is a pure function of it and of the set of speakers, not of their order.
        train: name of the split of the others.
        test: name of the split of the speakers held out.
    """
    names, inverse = np.unique(speakers.astype(str), return_inverse=True)
    count = min(max(1, round(share * len(names))), len(names) - 1)
    held_out = np.zeros(len(names), bool)
    held_out[generator(seed, "held-out").permutation(len(names))[:count]] = True
    splits = np.full(len(speakers), train, dtype=object)
    splits[held_out[inverse]] = test
    return splits
