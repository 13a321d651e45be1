"""What a device counts for an estimate as whole numbers, of which a server learns sums over devices alone.

An estimate needs sums of the counts and of their products. A device sends both, for every group of the run and for
fleet and panel: zeros where it has nothing, so that all messages are alike. A count is rounded to a step of 1/1024,
and products are those of the rounded counts. Their sums do not wrap around, and so are exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np

from fedasr.errors import InputError
from fedasr.evaluation.prediction_powered import EXPECTED, PANEL, Sums, from_triangle
from fedasr.secure.modulus import Residues, kind_of
from fedasr.secure.terms import ESTIMATE_BITS

ALL = ""
"""The group of all speech."""
OTHER = "other"
"""The value of speech that has another one than those that are named beforehand."""
MOST_GROUPS = 1000
STEPS = 1024
"""In a word or an error, at most; fewer where products of counts would not fit into a sum."""
ROOM = 4
"""No count of a device is larger than so many times the words that it counts for at most. Expected words are not larger
than those; errors, and words of a panel's transcripts that stand for more speech, may be."""
FLEET_NUMBERS = 1 + len(EXPECTED) + len(EXPECTED) * (len(EXPECTED) + 1) // 2
PANEL_NUMBERS = 1 + len(PANEL) + len(PANEL) * (len(PANEL) + 1) // 2
NUMBERS = FLEET_NUMBERS + PANEL_NUMBERS + 3
"""Of a group: those of fleet and panel, the words of transcripts, and in a simulation true errors and words."""


class Count(NamedTuple):
    """What one device counts of a group."""

    panel: bool
    values: Sequence[float]
    """``PANEL`` of a device of the panel, else ``EXPECTED``; not negative"""
    spoken: int = 0
    """words of the panel's transcripts"""
    truth: tuple[int, int] = (0, 0)
    """errors and words, in a simulation"""


class GroupSums(NamedTuple):
    """What a server learns of a group."""

    fleet: Sums
    panel: Sums
    spoken: int
    truth: tuple[int, int]


class CountCoder:
    """Makes whole numbers modulo 2⁶⁴ of a device's counts, and sums of counts of a sum of those.

    Args:
        groups: all that are counted, in the order of the sum.
        words: that a device counts for at most, ``evaluate.estimate.words``.
        devices: how many are summed, at most.

    Raises:
        InputError: the numbers cannot hold the sum.
    """

    def __init__(self, groups: Sequence[str], words: int, devices: int) -> None:
        self.groups, self.steps = tuple(groups), steps_of(words, devices)
        self.most = ROOM * words * self.steps
        self.largest = ((1 << ESTIMATE_BITS) - 1) // max(1, devices)
        self.length = NUMBERS * len(self.groups) + 1

    def encode(self, counts: Mapping[str, Count]) -> Residues:
        """Return a device's counts modulo 2⁶⁴, shape ``(length,)``.

        Args:
            counts: group → what the device counts; groups of which it has no speech are left out.
        """
        numbers: list[int] = []
        shortened = 0
        for group in self.groups:
            count = counts.get(group)
            if count is None:
                numbers += [0] * NUMBERS
                continue
            whole, is_cut = self.rounded(count.values)
            shortened += is_cut
            moments = [1, *whole, *(one * other for one, other in combinations_with_replacement(whole, 2))]
            numbers += [0] * FLEET_NUMBERS + moments if count.panel else moments + [0] * PANEL_NUMBERS
            numbers += [count.spoken, *count.truth]
        whole_numbers = [min(number, self.largest) for number in (*numbers, shortened)]
        return np.array(whole_numbers, kind_of(ESTIMATE_BITS))

    def rounded(self, values: Sequence[float]) -> tuple[list[int], bool]:
        """Return counts in steps, and whether they were scaled down, all alike, so that the largest has room."""
        largest = self.steps * max(values)
        factor = min(1.0, self.most / largest) if largest > 0 else 1.0
        return [min(self.most, round(self.steps * factor * value)) for value in values], factor < 1

    def decode(self, total: Residues, devices: int) -> tuple[dict[str, GroupSums], int]:
        """Return group → its sums, without groups of which no device has speech, and how many counts were scaled down.

        Args:
            total: of what devices have sent, modulo 2⁶⁴.
            devices: how many.

        Raises:
            ValueError: the numbers are not those of so many devices: somebody has sent something else.
        """
        numbers = [int(number) for number in total]
        result: dict[str, GroupSums] = {}
        for place, group in enumerate(self.groups):
            part = numbers[NUMBERS * place : NUMBERS * (place + 1)]
            fleet = self.sums_of(part[:FLEET_NUMBERS], len(EXPECTED))
            panel = self.sums_of(part[FLEET_NUMBERS : FLEET_NUMBERS + PANEL_NUMBERS], len(PANEL))
            speakers = fleet.speakers + panel.speakers
            if speakers > devices or (place == 0 and speakers != devices):
                raise ValueError(f"the sum counts {speakers} devices, and {devices} have sent their counts")
            if max(fleet.second.max(), panel.second.max()) > devices * (self.most / self.steps) ** 2:
                raise ValueError(f"the sum is larger than the counts of {devices} devices can be")
            if speakers:
                spoken, errors, words = part[-3:]
                result[group] = GroupSums(fleet, panel, spoken, (errors, words))
        return result, numbers[-1]

    def sums_of(self, numbers: Sequence[int], quantities: int) -> Sums:
        """Return the sums of whole numbers of steps."""
        first = [number / self.steps for number in numbers[1 : 1 + quantities]]
        second = [number / self.steps**2 for number in numbers[1 + quantities :]]
        return from_triangle([numbers[0], *first, *second], quantities)


def steps_of(words: int, devices: int) -> int:
    """Return how many steps there are in a word, a power of two.

    Raises:
        InputError: not even whole words fit.
    """
    steps = STEPS
    while steps and devices * (ROOM * words * steps) ** 2 >= 1 << ESTIMATE_BITS:
        steps //= 2
    if not steps:
        raise InputError(
            f"'evaluate.estimate.words' is {words}: products of such counts cannot be summed over {devices} devices;"
            " lower it"
        )
    return steps
