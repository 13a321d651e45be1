"""What a choice does to each group: several models on the same speech, each against a baseline, speaker by speaker."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.errors import InputError
from fedasr.evaluation.fairness.cells import Cells
from fedasr.evaluation.fairness.comparison import FEW_SPEAKERS, eligible, estimate
from fedasr.evaluation.fairness.contrasts import intervals, rates
from fedasr.evaluation.fairness.gaps import Estimate, change, gap
from fedasr.evaluation.intervals import RESAMPLES, speaker_interval
from fedasr.typing import Floats


@dataclass(frozen=True)
class Heard:
    """What the models of one config, a seed each, made of the same speech."""

    label: str
    errors: Sequence[npt.NDArray[np.int64]]
    """of each seed, each of shape ``(utterances,)``"""

    @property
    def mean(self) -> Floats:
        """Errors of each utterance, the mean over the seeds."""
        return np.asarray(np.mean(np.stack(self.errors), axis=0), np.float64)


def impact(
    attribute: str,
    speakers: npt.NDArray[Any],
    words: npt.NDArray[np.int64],
    values: npt.NDArray[Any],
    heard: Sequence[Heard],
    baseline: int,
    seed: int,
) -> dict[str, Any]:
    """Return the WER of each group under each config, the gap, and how both differ from the baseline's.

    Seeds of one config are pooled: an utterance has the mean of their errors, and a speaker is drawn with all of them.
    So intervals are over speakers, for the models that there are; how much seeds sway a number is told beside it.

    Args:
        attribute: what the groups are of.
        speakers: of each utterance, shape ``(utterances,)`` as all that follow.
        words: of each reference.
        values: the group of each utterance, empty where it has none.
        heard: one a config.
        baseline: which of them the others are compared with.
        seed: of the resamples.

    Raises:
        InputError: there are no two groups of two speakers or more.
    """
    labels = np.asarray(values).astype(str)
    known = labels != ""
    spoken = Speech(np.asarray(speakers)[known], words[known], labels[known])
    whole = spoken.cells(spoken.labels, heard[baseline].mean[known])
    usable = eligible(attribute, whole)
    if (whole.only(usable).counts < 2).any():
        raise InputError(
            f"runs cannot be compared by '{attribute}': fewer than two groups have two test speakers or more"
        )
    return {
        "attribute": attribute,
        "baseline": heard[baseline].label,
        "utterances": int(known.sum()),
        "speakers": len(whole.speakers),
        "without_value": int((~known).sum()),
        "resamples": RESAMPLES,
        "seed": seed,
        "configs": [
            of_config(spoken, one, heard[baseline], place == baseline, known, usable, seed)
            for place, one in enumerate(heard)
        ],
        "warnings": warnings(whole, usable, int((~known).sum()), attribute),
    }


@dataclass(frozen=True)
class Speech:
    """The utterances that have a group; each array of shape ``(utterances,)``."""

    speakers: npt.NDArray[Any]
    words: npt.NDArray[np.int64]
    labels: npt.NDArray[Any]

    def cells(self, labels: npt.NDArray[Any], errors: npt.NDArray[Any]) -> Cells:
        """Return the sums by speaker and group of given errors."""
        return Cells.of(self.speakers, labels, self.words, errors)


def of_config(
    spoken: Speech, one: Heard, base: Heard, is_base: bool, known: npt.NDArray[np.bool_], usable: list[int], seed: int
) -> dict[str, Any]:
    """Return what ``impact`` tells of one config."""
    errors, theirs = one.mean[known], base.mean[known]
    cells, before = (spoken.cells(spoken.labels, given).only(usable) for given in (errors, theirs))
    of_seeds = [spoken.cells(spoken.labels, given[known]).only(usable) for given in one.errors]
    rows = {}
    for place, name in enumerate(cells.groups):
        of = spoken.labels == name
        interval = speaker_interval(spoken.speakers[of], spoken.words[of], errors[of], seed, name)
        rows[name] = {
            "wer": rate(cells, place),
            "low": interval.low,
            "high": interval.high,
            "speakers": interval.speakers,
            "seeds": [rate(each, place) for each in of_seeds],
        }
    between = gap(cells, seed)
    result: dict[str, Any] = {
        "label": one.label,
        "wer": float(errors.sum() / spoken.words.sum()),
        "seeds": [float(given[known].sum() / spoken.words.sum()) for given in one.errors],
        "groups": rows,
        "gap": {
            **estimate(between.difference, "difference"),
            "worst": between.worst,
            "best": between.best,
            "seeds": [largest_gap(each) for each in of_seeds],
        },
    }
    if not is_base:
        all_alike = np.full(len(spoken.labels), "all", object)
        overall = rates(spoken.cells(all_alike, errors), seed).minus(rates(spoken.cells(all_alike, theirs), seed))
        low, high = intervals(overall, np.eye(1))[0]
        result["change"] = estimate(Estimate(float(overall.values[0]), float(low), float(high)), "difference")
        # The pair is the baseline's worst and best group: it stays the same for all configs.
        moved = change(before, cells, seed)
        for name, given in moved.groups.items():
            rows[name]["change"] = turned(given)
        result["gap"]["change"] = {**turned(moved.gap), "worst": moved.worst, "best": moved.best}
    return result


def turned(given: Estimate) -> dict[str, float]:
    """Return the difference the other way round, as JSON holds it."""
    return estimate(Estimate(-given.value, -given.high, -given.low), "difference")


def rate(cells: Cells, group: int) -> float:
    """Return the WER of a group."""
    return float(cells.errors[:, group].sum() / cells.words[:, group].sum())


def largest_gap(cells: Cells) -> float:
    """Return the highest WER less the lowest."""
    each = cells.errors.sum(axis=0) / cells.words.sum(axis=0)
    return float(each.max() - each.min())


def warnings(cells: Cells, usable: list[int], without: int, attribute: str) -> list[str]:
    """Return what a reader must know to trust the numbers, a sentence each."""
    notes = []
    if without:
        notes.append(f"{without} utterances have no value of '{attribute}' and are left out")
    if left := [f"'{name}'" for place, name in enumerate(cells.groups) if place not in usable]:
        notes.append(f"a group of one speaker, or without words, is left out: {', '.join(left)}")
    few = [f"'{cells.groups[at]}' ({cells.counts[at]})" for at in usable if cells.counts[at] < FEW_SPEAKERS]
    if few:
        notes.append(f"fewer than {FEW_SPEAKERS} speakers, whose intervals may be too narrow: {', '.join(few)}")
    return notes


def seed_range(values: Sequence[float]) -> tuple[float, float]:
    """Return the smallest and the largest of the values of seeds; NaN for one seed, which says nothing of others."""
    return (min(values), max(values)) if len(values) > 1 else (math.nan, math.nan)
