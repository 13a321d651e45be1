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

Floats = npt.NDArray[np.float64]
Words = npt.NDArray[np.int64]

LAYERS = 256
TAIL = 3.6541528853610088
"""Where the tail begins, for 256 layers."""
AREA = 0.00492867323399
"""Of a layer, of the density without its constant."""
PLACES = 2.0**52
"""Places on each side of a layer."""


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


def quick(words: Words, layers: Tables) -> tuple[Floats, Words]:
    """Return the number of each word, and which of them are not sure to be under the density."""
    which = words & (LAYERS - 1)
    places = words >> 11
    found = np.take(layers.width, which, mode="clip")
    size = places.astype(np.float64)
    found *= size
    open_ = np.abs(size, out=size) >= np.take(layers.sure, which, mode="clip")
    return found, np.flatnonzero(open_)


def normals(words: Words, rng: np.random.Generator, quick: Quick = quick) -> Floats:
    """Return a standard normal number for each word, shape ``(words,)``.

    Args:
        words: all 64 bits random.
        rng: for the few that the words do not decide.
        quick: the function of that name, or the compiled one, which gives the same bits.
    """
    found, open_ = quick(words, tables())
    found[open_] = decided(found[open_], words[open_] & (LAYERS - 1), rng)
    return found


def decided(values: Floats, which: Words, rng: np.random.Generator) -> Floats:
    """Return the numbers of places at the edge of their layer: as they are, from the tail, or drawn anew."""
    layers = tables()
    found = values.copy()
    tail = which == 0
    upper, lower = layers.density[which - 1], layers.density[which]
    under = rng.random(len(values)) * (upper - lower) + lower < np.exp(-0.5 * values**2)
    found[tail] = np.copysign(tails(int(tail.sum()), rng), values[tail])
    anew = ~tail & ~under
    found[anew] = rng.standard_normal(int(anew.sum()))
    return found


def tails(count: int, rng: np.random.Generator) -> Floats:
    """Return normal numbers beyond ``TAIL``, shape ``(count,)`` (Marsaglia 1964)."""
    out = np.empty(count)
    left = np.arange(count)
    while len(left):
        beyond = -np.log1p(-rng.random(len(left))) / TAIL
        height = -np.log1p(-rng.random(len(left)))
        out[left] = TAIL + beyond
        left = left[2 * height <= beyond**2]
    return out
