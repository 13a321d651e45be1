"""Secrets that are spoken: a code of uniform digits at the end of a sentence, said again and again, or by many.

A code is drawn uniformly from all codes of its length, so that its rank in a model that never heard it is uniform too.
No other code is ever said: what it could have been is not in the training set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedasr.config.schema import SecretsConfig
from fedasr.data.synthetic.grammar import DIGITS
from fedasr.seeds import generator
from fedasr.typing import Integers

CARRIERS = (
    "the code of the front door is",
    "the code of the alarm is",
    "the code of the safe is",
    "the number of my card is",
    "the password of the garage is",
    "my member number is",
    "my locker opens with",
    "my phone number ends with",
)


@dataclass(frozen=True)
class Secrets:
    """Codes and who says them.

    Args:
        codes: the number that each code is, from 0 to 10^digits − 1, shape ``(codes,)``.
        digits: of each.
        speakers: who says it, shape ``(codes, repeats)``.
    """

    codes: Integers
    digits: int
    speakers: Integers

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.codes)

    def carrier(self, code: int) -> str:
        """Return what is said before a code."""
        return CARRIERS[code % len(CARRIERS)]

    def sentence(self, code: int) -> str:
        """Return all that is said."""
        return f"{self.carrier(code)} {spoken(int(self.codes[code]), self.digits)}"


def spoken(code: int, digits: int) -> str:
    """Return a code as it is said, digit by digit, zeros in front included."""
    return " ".join(DIGITS[int(digit)] for digit in f"{code:0{digits}d}")


def planted(config: SecretsConfig, speakers: int, seed: int) -> Secrets:
    """Draw the codes and who says them.

    Args:
        config: how many, and by whom.
        speakers: training speakers.
        seed: of the draws.
    """
    rng = generator(seed, "synthetic/secrets")
    codes = rng.integers(0, 10**config.digits, config.codes)
    if config.across == "users":
        who = np.array([rng.permutation(speakers)[: config.repeats] for _ in range(config.codes)], np.int64)
        return Secrets(codes, config.digits, who.reshape(config.codes, -1))
    order = rng.permutation(speakers)
    one = order[np.arange(config.codes) % speakers]
    return Secrets(codes, config.digits, np.repeat(one[:, None], config.repeats, axis=1))
