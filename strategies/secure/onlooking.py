"""What the ledger says of a server that sees sums alone, where each part of a sum has a share of the noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedasr.config import Config
from fedasr.secure.terms import least_updates


def sees(config: Config) -> str:
    """Return what a guarantee against the server rests on."""
    least, what = least_updates(config), "vote" if config.strategy.name == "pate" else "update"
    how = "only simulated here" if config.secure_aggregation.mode == "simulate" else "by secure aggregation"
    many = f"the votes of at least {least} teachers" if what == "vote" else f"at least {least} updates"
    return (
        f"the server sees the sum of {many}, each with a share of the noise, and no single {what}, {how}; of {least}"
        " shares all are counted on: who adds none, or tells its share, takes it off"
    )


def told_of_sums(document: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """Return the content of ``privacy.json`` in which each guarantee says what the server sees."""
    seen = sees(config)
    told = {name: f"{value}; {seen}" if name.startswith("guarantee") else value for name, value in document.items()}
    return {**told, "server_sees": "sum", "least_shares": least_updates(config)}
