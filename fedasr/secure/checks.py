"""What can be wrong with secure aggregation that shows only when the model and the clients are known."""

from __future__ import annotations

from fedasr.config.schema import Config
from fedasr.errors import InputError
from fedasr.models.weights import Layout
from fedasr.secure.coders import make_coder
from fedasr.secure.terms import Aborted, Terms, least_updates


def check_secure_aggregation(config: Config, layout: Layout, clients: int) -> None:
    """Raise where the bits cannot hold the sum, or no round could have enough updates.

    Raises:
        InputError: naming the key and what to change.
    """
    if config.secure_aggregation.mode == "none":
        return
    if config.strategy.name == "pate":
        check_votes(config, clients)
        return
    make_coder(config, layout.size, config.selection.clients_per_round, 1)
    least = least_updates(config)
    if clients < least:
        raise InputError(
            f"there are {clients} clients, but a sum has at least {least} updates, by"
            " 'secure_aggregation.least_clients' or more than two thirds of 'selection.clients_per_round'; lower one of"
            " them"
        )
    if config.evaluate.estimate.every:
        check_estimate(config, clients, least)


def check_votes(config: Config, teachers: int) -> None:
    """Raise where there are too few teachers for a sum of their votes, few shares would open one, or bits are few.

    Raises:
        InputError: naming the key and what to change.
    """
    least = least_updates(config)
    if teachers < least:
        raise InputError(
            f"there are {teachers} teachers, but a sum has at least {least} votes, by"
            " 'secure_aggregation.least_clients'; lower it"
        )
    try:
        Terms.of(config, "", 1, 0).needed(teachers)
    except Aborted as why:
        raise InputError(f"among the {teachers} teachers, {why}; expected more than half, or leave it out") from None
    from fedasr.secure.votes import VoteCoder  # imports SciPy

    VoteCoder.of(config, teachers)


def check_estimate(config: Config, clients: int, least: int) -> None:
    """Raise where too few devices are asked for a sum of their counts, or few shares would open one device's.

    Raises:
        InputError: naming the key and what to change.
    """
    wanted = config.evaluate.estimate.clients
    asked = clients if wanted is None else min(wanted, clients)
    if asked < least:
        raise InputError(
            f"'evaluate.estimate.clients' lets {asked} devices be asked, but a sum of their counts is of at least"
            f" {least}, by 'secure_aggregation.least_clients' or more than two thirds of"
            " 'selection.clients_per_round'; ask more, or lower it"
        )
    try:
        Terms.of(config, "", 1, 0).needed(asked)
    except Aborted as why:
        raise InputError(f"among the {asked} devices that 'evaluate.estimate' asks, {why}; leave it out") from None
