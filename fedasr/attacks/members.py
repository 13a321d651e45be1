"""Which clients are Byzantine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fedasr import seeds
from fedasr.config import Config
from fedasr.errors import InputError, nearest
from fedasr.typing import Integers

Names = Sequence[str] | npt.NDArray[np.object_]


def byzantine_clients(config: Config, names: Names) -> Integers:
    """Return the Byzantine clients of a run, in random order with ``attack.share``; shape ``(byzantine,)``.

    They are the same in every round: a function of the seed and the number of clients.

    Args:
        config: of the run.
        names: of all clients, in the order of the roster.

    Raises:
        InputError: ``attack.clients`` has a name that no client has.
    """
    attack = config.attack
    if attack.name == "none":
        return np.zeros(0, np.int64)
    if attack.clients:
        return named_clients(attack.clients, names)
    count = round(attack.share * len(names))
    return seeds.generator(config.seed, "byzantine-clients").permutation(len(names))[:count]


def named_clients(wanted: Sequence[str], names: Names) -> Integers:
    """Return the places of clients by name, in ascending order.

    Raises:
        InputError: there is no such client.
    """
    places = {str(name): place for place, name in enumerate(names)}
    for name in wanted:
        if name not in places:
            raise InputError(
                f"'attack.clients' has '{name}'{nearest(name, places)}; expected names as in clients.parquet"
            )
    return np.array(sorted({places[name] for name in wanted}), np.int64)


def described(config: Config, names: Names) -> str | None:
    """Return a sentence about the attack for summary and report, None where there is none."""
    if config.attack.name == "none":
        return None
    count = len(byzantine_clients(config, names))
    share = 100 * count / max(len(names), 1)
    options = ", ".join(f"{name} {value}" for name, value in config.attack.options.items())
    return (
        f"simulated Byzantine clients: {count} of {len(names)} ({share:.3g} %), {config.attack.name}"
        f"{f' ({options})' if options else ''}"
    )
