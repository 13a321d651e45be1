"""What a strategy declares of itself, for those who start its runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StrategyTraits:
    """What a run of a strategy needs."""

    asks_clients: bool = True
    """it sends messages: without, no runtime is started for clients"""
    cohorts: bool = True
    """each round goes to ``selection.clients_per_round`` clients"""
    canaries: bool = False
    """it has places for canary users in its cohorts (``audit.canaries``)"""
    trains: bool = False
    """its own process trains a model, beside or instead of the clients"""
