"""What can be wrong with secure aggregation that shows only when the model and the clients are known."""

from __future__ import annotations

from fedasr.config.schema import Config
from fedasr.errors import InputError
from fedasr.models.weights import Layout
from fedasr.secure.coders import make_coder
from fedasr.secure.terms import least_updates


def check_secure_aggregation(config: Config, layout: Layout, clients: int) -> None:
    """Raise where the bits cannot hold the sum, or no round could have enough updates.

    Raises:
        InputError: naming the key and what to change.
    """
    if config.secure_aggregation.mode == "none":
        return
    make_coder(config, layout.size, config.selection.clients_per_round, 1)
    least = least_updates(config)
    if clients < least:
        raise InputError(
            f"there are {clients} clients, but a sum has at least {least} updates, by"
            " 'secure_aggregation.least_clients' or more than two thirds of 'selection.clients_per_round'; lower one of"
            " them"
        )
