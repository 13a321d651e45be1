"""Draw whole speakers with replacement, within groups where each speaker is in one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedasr import seeds
from fedasr.evaluation.fairness.cells import Cells
from fedasr.evaluation.intervals import CHUNK, RESAMPLES
from fedasr.typing import Floats


def resampled(cells: Cells, sums: Sequence[Floats], seed: int) -> list[Floats]:
    """Return sums over the speakers drawn, the same speakers for all of ``sums``; each ``(resamples, groups)``.

    Groups of different speakers are drawn apart from each other. Where a speaker is in several groups, speakers are
    drawn from all of them, since what they do in one group goes along with what they do in another.

    Args:
        cells: says who is in which group.
        sums: each of shape ``(speakers, groups)``.
        seed: of the draws.
    """
    there = cells.utterances > 0
    drawn = [np.empty((RESAMPLES, len(cells.groups))) for _ in sums]
    strata = (
        [(np.flatnonzero(there[:, group]), [group], name) for group, name in enumerate(cells.groups)]
        if cells.nested
        else [(np.arange(len(cells.speakers)), list(range(len(cells.groups))), "")]
    )
    for rows, columns, name in strata:
        rng = seeds.generator(seed, f"fairness/bootstrap/{name}")
        even = np.full(len(rows), 1 / len(rows))
        parts = [values[rows][:, columns] for values in sums]
        for start in range(0, RESAMPLES, CHUNK):
            times = rng.multinomial(len(rows), even, CHUNK).astype(np.float64)
            for whole, part in zip(drawn, parts, strict=True):
                whole[start : start + CHUNK, columns] = times @ part
    return drawn
