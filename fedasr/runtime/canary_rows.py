"""What a round shows of canary users: one line of the journal a round, one row of the table a round and canary."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.typing import Floats


@dataclass(frozen=True)
class CanaryRound:
    """A round as its attacker sees it. Inserted canaries come first, then those held out."""

    round: int
    probability: float
    """of a user to be in the round, as the ledger counts on it; 1: it counts on nothing"""
    noise_multiplier: float
    """of the updates, in clip norms; NaN: there is no noise"""
    signs: npt.NDArray[np.int8]
    """of what each inserted canary sends, shape ``(inserted,)``"""
    turns: npt.NDArray[np.bool_]
    """whose update is in the round, or whose partner's, of those held out; shape ``(canaries,)``"""
    products: npt.NDArray[np.float32]
    """of what was released with each canary's direction, ``(canaries,)``"""

    def as_row(self) -> dict[str, Any]:
        """Return the line of the journal: thousands of numbers as text that is short and quickly read."""
        return {
            "round": self.round,
            "probability": self.probability,
            "noise_multiplier": self.noise_multiplier,
            "signs": packed(self.signs),
            "turns": packed(np.packbits(self.turns)),
            "products": packed(self.products.astype("<f4")),
        }

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> CanaryRound:
        """Return what ``as_row`` wrote."""
        products = np.frombuffer(base64.b64decode(row["products"]), "<f4")
        bits = np.frombuffer(base64.b64decode(row["turns"]), np.uint8)
        noise = row["noise_multiplier"]
        return cls(
            int(row["round"]),
            float(row["probability"]),
            float("nan") if noise is None else float(noise),
            np.frombuffer(base64.b64decode(row["signs"]), np.int8),
            np.unpackbits(bits, count=len(products)).astype(bool),
            products,
        )


def packed(array: npt.NDArray[Any]) -> str:
    """Return the bytes of an array as text."""
    return base64.b64encode(array.tobytes()).decode("ascii")


def columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of ``canaries.parquet``, from the lines of the journal."""
    rounds = [CanaryRound.of_row(row) for row in rows]
    counts = [len(each.products) for each in rounds]

    def repeated(values: Sequence[float]) -> Floats:
        return np.repeat(np.array(values), counts)

    return {
        "round": repeated([each.round for each in rounds]),
        "canary": np.concatenate([np.arange(count) for count in counts]),
        "inserted": np.concatenate([np.arange(len(each.products)) < len(each.signs) for each in rounds]),
        "sign": np.concatenate([np.pad(each.signs, (0, len(each.products) - len(each.signs))) for each in rounds]),
        "turn": np.concatenate([each.turns for each in rounds]),
        "product": np.concatenate([each.products for each in rounds]),
        "probability": repeated([each.probability for each in rounds]),
        "noise_multiplier": repeated([each.noise_multiplier for each in rounds]),
    }
