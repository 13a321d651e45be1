"""Devices' counts for an estimate as sums with Gaussian noise: how far one device moves them, and what is left of them.

A device counts in all speech and in one group of each column, that of most of its words, and for at most so many words
a group. Its numbers are weighed before the noise, so that those on which a rate depends have the least of it: a count
is in units of that limit, and the device itself, products of counts and words of transcripts have the weight ``SMALL``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from fedasr.evaluation.prediction_powered import EXPECTED, PANEL, Noise, Sums, from_triangle, triangle
from fedasr.evaluation.secure_sums import ALL, FLEET_NUMBERS, OTHER, PANEL_NUMBERS, Count, GroupSums
from fedasr.typing import Floats

SMALL = 0.5
NUMBERS = FLEET_NUMBERS + PANEL_NUMBERS + 1
"""Of a group: those of fleet and panel, and the words of transcripts."""


class PrivateSums:
    """The sums of a run.

    Args:
        groups: column and value of each group that is counted beside all speech; for each column one is ``OTHER``.
        words: that a device counts for at most in a group, ``evaluate.estimate.words``.
    """

    def __init__(self, groups: Sequence[tuple[str, str]], words: int) -> None:
        self.words = words
        self.columns = list(dict.fromkeys(column for column, _ in groups))
        self.groups = [ALL, *(json.dumps(group) for group in groups)]
        group = [*weights_of(len(EXPECTED), words), *weights_of(len(PANEL), words), SMALL / words]
        self.weights = np.tile(group, len(self.groups))
        """by what the sums are multiplied before the noise, shape ``(numbers,)``"""

    @property
    def sensitivity(self) -> float:
        """The largest norm of what a device adds to the weighed sums.

        A device of the panel adds most: itself, four counts, their ten products and the words of its transcripts.
        """
        products = len(PANEL) * (len(PANEL) + 1) // 2
        return math.sqrt((1 + len(self.columns)) * (len(PANEL) + SMALL**2 * (2 + products)))

    def entered(self, told: Mapping[str, Count]) -> dict[str, Count]:
        """Return what of a device's counts enters the sums: bounded, and in one group of each column.

        Args:
            told: group → what the device counts; with all speech.
        """
        result = {ALL: bounded(told[ALL], self.words)}
        for column in self.columns:
            mine = [(group, told[group]) for group in sorted(told) if group and json.loads(group)[0] == column]
            if mine:
                group, count = max(mine, key=lambda item: item[1].values[-1])
                result[self.known(group)] = bounded(count, self.words)
        return result

    def known(self, group: str) -> str:
        """Return a group of the sums: the given one, or that of the other values of its column."""
        return group if group in self.groups else json.dumps([json.loads(group)[0], OTHER])

    def summed(self, devices: Iterable[Mapping[str, Count]]) -> dict[str, GroupSums]:
        """Return group → its sums without noise, groups of which nobody has speech included.

        Args:
            devices: what each has told, group → its counts; sums are rounded, so their order matters.
        """
        nobody = GroupSums(Sums.nobody(len(EXPECTED)), Sums.nobody(len(PANEL)), 0, (0, 0))
        sums = dict.fromkeys(self.groups, nobody)
        for told in devices:
            for group, count in self.entered(told).items():
                fleet, panel, spoken, truth = sums[group]
                mine = Sums.of(count.values)
                fleet, panel = (fleet, panel + mine) if count.panel else (fleet + mine, panel)
                sums[group] = GroupSums(fleet, panel, spoken + count.spoken, truth)
            for group, count in told.items():  # no part of the sums: a simulation knows it
                known = self.known(group)
                errors, words = sums[known].truth
                truth = errors + count.truth[0], words + count.truth[1]
                sums[known] = sums[known]._replace(truth=truth)
        return sums

    def weighed(self, sums: Mapping[str, GroupSums]) -> Floats:
        """Return the weighed sums, to which noise is added, shape ``(numbers,)``."""
        parts = [(sums[group].fleet, sums[group].panel, sums[group].spoken) for group in self.groups]
        numbers = [[*triangle(fleet), *triangle(panel), spoken] for fleet, panel, spoken in parts]
        weighed: Floats = np.array(numbers, np.float64).ravel() * self.weights
        return weighed

    def noisy(self, sums: Mapping[str, GroupSums], released: Floats, scale: float) -> dict[str, GroupSums]:
        """Return group → its sums as they were released.

        Args:
            sums: without noise, of which the truth is taken, and nothing else.
            released: the weighed sums with noise, shape ``(numbers,)``.
            scale: standard deviation of that noise.
        """
        noise = Noise((scale / SMALL) ** 2, (scale * self.words) ** 2, (scale * self.words**2 / SMALL) ** 2)
        rows = (released / self.weights).reshape(len(self.groups), NUMBERS)
        result = {}
        for group, row in zip(self.groups, rows.tolist(), strict=True):
            fleet = from_triangle(row[:FLEET_NUMBERS], len(EXPECTED), noise)
            panel = from_triangle(row[FLEET_NUMBERS:-1], len(PANEL), noise)
            result[group] = GroupSums(fleet, panel, max(0, round(row[-1])), sums[group].truth)
        return result


def weights_of(quantities: int, words: int) -> list[float]:
    """Return by what the numbers of ``triangle`` are multiplied before the noise."""
    products = quantities * (quantities + 1) // 2
    return [SMALL, *[1 / words] * quantities, *[SMALL / words**2] * products]


def bounded(count: Count, words: int) -> Count:
    """Return what a device counts, its counts scaled down alike so that none is above ``words``."""
    largest = max(count.values)
    factor = words / largest if largest > words else 1.0
    values = [min(float(words), factor * value) for value in count.values]
    return count._replace(values=values, spoken=min(count.spoken, words))
