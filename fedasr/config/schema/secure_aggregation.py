"""Keys of section ``secure_aggregation``."""

from __future__ import annotations

from dataclasses import dataclass

from fedasr.config.schema.conditions import unless
from fedasr.config.schema.keys import key


@dataclass
class SecureAggregationConfig:
    """The server learns sums alone, of updates or of teachers' votes; see `docs/secure-aggregation.md`."""

    mode: str = key(
        "none",
        "none; simulate: updates as whole numbers, whose sum alone the server uses, and the bytes of the protocol"
        " without its cryptography; protocol: masks, shares and all rounds of messages: the same sums, bit for bit",
        choices=("none", "simulate", "protocol"),
    )
    bits: int = key(16, "of each whole number: sums are taken modulo 2^bits", low=8, high=32)
    clip: float = key(
        0.1,
        "largest change of a parameter in an update, in units of the weights; what is beyond is cut",
        above=0,
        when=(unless("privacy.noise_at", "shares", refused=True), unless("strategy.name", "pate", refused=True)),
    )
    neighbours: int = key(
        20,
        "clients with which each client shares masks and secrets: all others in a smaller cohort",
        low=1,
    )
    threshold: int | None = key(
        None,
        "shares that open a secret; absent: more than two thirds of those who hold one, a client's neighbours and"
        " itself",
        low=2,
    )
    least_clients: int | None = key(
        None,
        "updates that a sum has at least, or it is not opened and the round is lost; with `privacy.noise_at: shares`"
        " also the number of shares of the noise that ε counts on; absent: more than two thirds of"
        " `selection.clients_per_round`. Strategy `pate`: votes, and shares of the noise; to be set",
        low=2,
    )
