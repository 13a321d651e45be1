"""From a config to its fairer objective, and which group each client is in."""

from __future__ import annotations

from typing import cast

import numpy as np

from fedasr.config import Config
from fedasr.errors import InputError
from fedasr.experiment import Experiment
from fedasr.registry import is_reference, make_part
from fedasr.typing import Integers

from ..client_groups import client_groups
from .afl import AFL
from .base import Fairness, FairnessTraits
from .group_dro import GroupDRO
from .q_ffl import QFFL
from .reweighting import Reweighting

SHIPPED: dict[str, type[QFFL] | type[GroupDRO] | type[AFL]] = {"q": QFFL, "group-dro": GroupDRO, "afl": AFL}


def make_reweighting(experiment: Experiment) -> Reweighting | None:
    """Return what weighs the updates of a run by its clients' losses; None: nothing does.

    Raises:
        InputError: the part of a user's own cannot be made, or the groups cannot be told.
    """
    config = experiment.config
    if config.strategy.fairness == "none":
        return None
    names, groups = groups_of(experiment)
    fairness = make_fairness(config, len(names))
    if fairness.traits.groups and len(names) < 2:
        raise InputError(
            f"'strategy.fairness' is '{config.strategy.fairness}', but all clients are in one group by"
            f" 'strategy.fairness_by', '{config.strategy.fairness_by}'; name a column in which they differ"
        )
    return Reweighting(fairness, names, groups)


def make_fairness(config: Config, groups: int) -> Fairness:
    """Return the part of ``strategy.fairness``.

    Raises:
        InputError: the reference makes none, or the options do not fit.
    """
    strategy = config.strategy
    if not is_reference(strategy.fairness):
        return SHIPPED[strategy.fairness](config, groups)
    known = {"config": strategy, "groups": groups}
    made = make_part(
        strategy.fairness, "strategy.fairness", known, strategy.fairness_options, "strategy.fairness_options"
    )
    right = callable(getattr(made, "weigh", None)) and callable(getattr(made, "scale", None))
    if not right or not isinstance(getattr(made, "traits", None), FairnessTraits):
        raise InputError(
            f"'strategy.fairness' is '{strategy.fairness}', which makes no objective; expected a class that inherits"
            " from fedasr.strategies.fairness.base.Fairness"
        )
    return cast(Fairness, made)


def groups_of(experiment: Experiment) -> tuple[list[str], Integers]:
    """Return the names of the groups, and the group of each client, shape ``(clients,)``.

    A client is in the group of most of its utterances by the column ``strategy.fairness_by``; without that each client
    is a group.

    Raises:
        InputError: the corpus has no such column.
    """
    column, partition = experiment.config.strategy.fairness_by, experiment.partition
    if column is None:
        return [str(name) for name in partition.names], np.arange(len(partition))
    return client_groups(experiment, column, "strategy.fairness_by")


def check_fairness(experiment: Experiment) -> None:
    """Raise where ``strategy.fairness`` cannot be had; errors as ``make_reweighting``."""
    make_reweighting(experiment)
