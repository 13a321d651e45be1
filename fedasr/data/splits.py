"""Hold out speakers where a corpus has no splits of its own."""

from __future__ import annotations

import numpy as np

from fedasr.data.corpus import Column, Corpus
from fedasr.data.subset import Subset
from fedasr.errors import InputError
from fedasr.seeds import generator

PUBLIC_SPLIT = "public"
"""The split of speakers who are set aside as public."""


def hold_out(
    speakers: Column, share: float, seed: int, train: str = "train", test: str = "test", draw: str = "held-out"
) -> Column:
    """Return the split of each utterance, shape ``(utterances,)``: no speaker is in both.

    Args:
        speakers: the speaker of each utterance, text.
        share: share of the speakers that go to ``test``, rounded, at least one; none of a single speaker.
        seed: the draw is a pure function of it and of the set of speakers, not of their order.
        train: name of the split of the others.
        test: name of the split of the speakers held out.
        draw: its name; draws of other names are independent.
    """
    names, inverse = np.unique(speakers.astype(str), return_inverse=True)
    count = min(max(1, round(share * len(names))), len(names) - 1)
    held_out = np.zeros(len(names), bool)
    held_out[generator(seed, draw).permutation(len(names))[:count]] = True
    splits = np.full(len(speakers), train, dtype=object)
    splits[held_out[inverse]] = test
    return splits


def set_aside(corpus: Corpus, share: float, seed: int, train: str) -> Corpus:
    """Return the corpus with a share of the speakers of split ``train`` in split ``PUBLIC_SPLIT`` instead.

    Args:
        corpus: any.
        share: of the speakers, rounded, at least one; none of a single speaker.
        seed: of the draw, as in ``hold_out``.
        train: the split that is divided; the others stay as they are.

    Raises:
        InputError: the corpus has a split ``PUBLIC_SPLIT`` of its own.
    """
    splits = np.array(corpus.columns["split"], dtype=object)
    if (splits == PUBLIC_SPLIT).any():
        raise InputError(
            f"'data.public_share' is {share:g}, but the corpus has a split '{PUBLIC_SPLIT}' already; leave it out"
        )
    rows = np.flatnonzero(splits == train)
    if len(rows):
        splits[rows] = hold_out(corpus.columns["speaker"][rows], share, seed, train, PUBLIC_SPLIT, "public")
    subset = Subset(corpus, np.arange(len(corpus)))
    subset.columns = {**subset.columns, "split": splits}
    return subset
