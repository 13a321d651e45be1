"""Standard normal numbers from random words, many at once: the ziggurat of Marsaglia and Tsang 2000, in float64.

A word chooses one of 256 layers of equal area under the density with its low 8 bits and a place in the layer with its
high 53, sign included. All but 1.2 % of the places lie under the density for sure; the others are decided one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from fedasr.typing import Floats

Words = npt.NDArray[np.int64]

LAYERS = 256
TAIL = 3.6541528853610088
"""Where the tail begins, for 256 layers."""
AREA = 0.00492867323399
"""Of a layer, of the density without its constant."""
PLACES = 2.0**52
"""Places on each side of a layer."""
TOGETHER = 1 << 14
"""Words whose intermediate values stay in the processor's cache."""


@dataclass(frozen=True)
class Tables:
    """Of each layer: how wide it is, how many places are under the density for sure, and the density at its edge."""

    width: Floats
    """of a place"""
    sure: Floats
    """in places"""
    density: Floats


@cache
def tables() -> Tables:
    """Return the layers; the last is the widest, and layer 0 the base with the tail beyond ``TAIL``."""
    edges = np.empty(LAYERS)
    edges[-1] = TAIL
    for layer in range(LAYERS - 2, 0, -1):
        below = edges[layer + 1]
        edges[layer] = math.sqrt(-2.0 * math.log(AREA / below + math.exp(-0.5 * below**2)))
    edges[0] = AREA / math.exp(-0.5 * TAIL**2)  # of a rectangle with the area of base and tail
    inner = np.concatenate([[TAIL, 0.0], edges[1:-1]])
    density = np.exp(-0.5 * edges**2)
    density[0] = 1.0
    return Tables(edges / PLACES, np.floor(inner / edges * PLACES), density)


Quick = Callable[[Words, Tables], tuple[Floats, Words]]
More = Callable[[int], Words]


def quick(words: Words, layers: Tables) -> tuple[Floats, Words]:
    """Return the number of each word, and which of them are not sure to be under the density."""
    draws, open_ = np.empty(len(words)), []
    together = min(TOGETHER, len(words))
    which, places = np.empty(together, np.int64), np.empty(together, np.int64)
    size, looked_up = np.empty(together), np.empty(together)
    for start in range(0, len(words), TOGETHER):
        some = words[start : start + TOGETHER]
        n = len(some)
        np.bitwise_and(some, LAYERS - 1, out=which[:n])
        np.copyto(size[:n], np.right_shift(some, 11, out=places[:n]))
        np.take(layers.width, which[:n], out=looked_up[:n], mode="clip")
        np.multiply(looked_up[:n], size[:n], out=draws[start : start + n])
        np.take(layers.sure, which[:n], out=looked_up[:n], mode="clip")
        open_.append(np.flatnonzero(np.abs(size[:n], out=size[:n]) >= looked_up[:n]) + start)
    return draws, np.concatenate([*open_, np.zeros(0, np.int64)])


def normals(words: Words, more: More, quick: Quick = quick) -> Floats:
    """Return a standard normal number for each word, shape ``(words,)``.

    Args:
        words: all 64 bits random.
        more: returns so many more of them, for what the words do not decide.
        quick: the function of that name, or the compiled one, which gives the same bits.
    """
    draws, open_ = quick(words, tables())
    if len(open_):
        draws[open_] = decided(draws[open_], words[open_] & (LAYERS - 1), more)
    return draws


def decided(values: Floats, which: Words, more: More) -> Floats:
    """Return the numbers of places at the edge of their layer: as they are, from the tail, or drawn anew."""
    layers = tables()
    draws = values.copy()
    tail = which == 0
    upper, lower = layers.density[which - 1], layers.density[which]
    under = uniform(more(len(values))) * (upper - lower) + lower < np.exp(-0.5 * values**2)
    draws[tail] = np.copysign(tails(int(tail.sum()), more), values[tail])
    anew = ~tail & ~under
    draws[anew] = normals(more(int(anew.sum())), more)
    return draws


def tails(count: int, more: More) -> Floats:
    """Return normal numbers beyond ``TAIL``, shape ``(count,)`` (Marsaglia 1964)."""
    out = np.empty(count)
    left = np.arange(count)
    while len(left):
        beyond = -np.log1p(-uniform(more(len(left)))) / TAIL
        height = -np.log1p(-uniform(more(len(left))))
        out[left] = TAIL + beyond
        left = left[2 * height <= beyond**2]
    return out


def uniform(words: Words) -> Floats:
    """Return numbers from 0 to below 1, multiples of 2⁻⁵³."""
    return np.asarray((words & ((1 << 53) - 1)) * 2.0**-53, np.float64)
