"""The parts of server and device that an audit runs, by reference."""

from __future__ import annotations

from typing import Any

from fedasr.references import load_reference

POPULATION = "fedasr.strategies.population:Population"
MECHANISM = "fedasr.strategies.privacy.factory:make_mechanism"
POOL = "fedasr.strategies.pool:Pool"
AGGREGATE = "fedasr.strategies.aggregation.factory:make_aggregate"
WEIGHTING = "fedasr.strategies.rounds:clipped_weighting"
RESULT = "fedasr.strategies.rounds:RoundResult"
NOISY_SUMS = "fedasr.strategies.estimates.private:NoisySums"
SHARED = "fedasr.clients.mods.secured:with_share"
AGGREGATOR = "fedasr.strategies.pate.aggregator:Aggregator"
RECORD = "fedasr.strategies.pate.record:Record"


def part(reference: str) -> Any:
    """Return a part of the server's or the device's room; asked for anew each time, so that it is the one that runs."""
    return load_reference(reference)
