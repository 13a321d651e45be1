"""Checks of numbers, with one line that says what was expected."""

from __future__ import annotations

import math

from fedasr.config.schema.pate import LARGEST_NOISE, LEAST_NOISE
from fedasr.errors import InputError, nearest


def positive(name: str, value: float) -> float:
    """Return the value if it is a finite number above zero.

    Raises:
        InputError: it is not.
    """
    return within(name, value, 0.0, math.inf, "a number above 0")


LEAST, MOST = 1e-12, 1e12
"""Of noise over a sensitivity: what lies beyond protects nobody, or everybody, and its square no longer adds up."""
MOST_STEPS = 10**15


def reckonable(name: str, value: float) -> float:
    """Return the value if it is a noise, or what follows from one, that accountants can reckon with.

    Raises:
        InputError: it is not.
    """
    return within(name, positive(name, value), LEAST / 2, 2 * MOST, f"a number from {LEAST:g} to {MOST:g}")


def noise_scale(name: str, value: float) -> float:
    """Return the value if it is the scale of a noise on votes that can be reckoned with.

    Raises:
        InputError: it is so small or so large that its square is no number.
    """
    if not LEAST_NOISE <= value <= LARGEST_NOISE:
        raise InputError(f"'{name}' is {value:g}; expected votes from {LEAST_NOISE:g} to {LARGEST_NOISE:g}")
    return float(value)


def fraction(name: str, value: float) -> float:
    """Return the value if it is a probability above zero, at most one.

    Raises:
        InputError: it is not.
    """
    if value == 1:
        return 1.0
    return within(name, value, 0.0, 1.0, "a probability above 0, at most 1")


def strict_fraction(name: str, value: float) -> float:
    """Return the value if it lies strictly between zero and one, as every δ must.

    Raises:
        InputError: it does not.
    """
    return within(name, value, 0.0, 1.0, "a number between 0 and 1, both excluded")


def within(name: str, value: float, low: float, high: float, wanted: str) -> float:
    """Return the value if it lies strictly between the bounds; NaN and infinities never do.

    Raises:
        InputError: it does not.
    """
    if not low < value < high:
        raise InputError(f"'{name}' is {value:g}; expected {wanted}")
    return float(value)


def count(name: str, value: int, low: int = 1) -> int:
    """Return the value if it is a whole number of at least ``low``, and no larger than anything is counted.

    Raises:
        InputError: it is not.
    """
    if value != int(value) or value < low:
        raise InputError(f"'{name}' is {value}; expected a whole number of at least {low}")
    if value > MOST_STEPS:
        raise InputError(f"'{name}' has {len(str(value))} digits; expected a whole number up to {MOST_STEPS:.0e}")
    return int(value)


def one_of(name: str, value: str, choices: tuple[str, ...]) -> str:
    """Return the value if it is one of the choices.

    Raises:
        InputError: it is not.
    """
    if value not in choices:
        raise InputError(f"'{name}' is '{value}'{nearest(value, choices)}; expected one of: {', '.join(choices)}")
    return value
