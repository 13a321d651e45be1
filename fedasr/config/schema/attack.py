"""Keys of section ``attack``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedasr.config.schema.conditions import when
from fedasr.config.schema.keys import key


@dataclass
class AttackConfig:
    """Byzantine clients, simulated; see `docs/robust-aggregation.md`."""

    name: str = key(
        "none",
        "what Byzantine clients send in the place of their updates: none: there are none; sign-flip; scaled; gaussian:"
        " noise; zero; alie: a little is enough; inner-product; mimic: all send the update of one",
        choices=("none", "sign-flip", "scaled", "gaussian", "zero", "alie", "inner-product", "mimic"),
        reference=True,
    )
    options: dict[str, Any] = key(
        dict,
        "of the attack, by parameter name: `factor` (sign-flip, scaled), `scale`, `shared` (gaussian), `z` (alie),"
        " `epsilon` (inner-product)",
    )
    share: float = key(0.0, "share of all clients that are Byzantine, drawn once with the seed", low=0, high=1)
    clients: list[str] = key(list, "names of the Byzantine clients, in the place of `share`")
    colluders: int = key(
        8,
        "`alie`, `inner-product`, `mimic`: how many Byzantine clients share what they would have sent honestly; each"
        " worker trains for them once a round",
        low=1,
        when=when(".name", "alie", "inner-product", "mimic"),
    )
