"""Whether a run can have canary users, said before it starts."""

from __future__ import annotations

import numpy as np

from fedasr.errors import InputError
from fedasr.experiment import Experiment
from fedasr.privacy.audit.canaries import Canaries

from .factory import strategy_traits
from .selection import configured_traits


def check_canaries(run: Experiment) -> None:
    """Raise where a run can have no canary users, or not so many.

    Raises:
        InputError: naming the key and what to change.
    """
    config = run.config
    wanted, named = config.audit.canaries, f"'audit.canaries' is {config.audit.canaries:,}"
    if not strategy_traits(config).canaries:
        raise InputError(
            f"{named} but 'strategy.name' is '{config.strategy.name}', whose clients send no updates that canary users"
            " could be among: leave 'audit' out"
        )
    traits = configured_traits(config.selection)
    if traits is None or traits.reads_losses:
        why = "may choose by losses: its 'traits' do not say" if traits is None else "chooses by losses"
        raise InputError(
            f"{named} but 'selection.name' is '{config.selection.name}', which {why}, and canary users have none;"
            " choose another selection, or leave 'audit' out"
        )
    size = sum(array.size for array in run.first_weights().values())
    room = Canaries(size, 0, np.zeros(0)).count
    if wanted > room // 2:
        raise InputError(f"{named}, but this model, of {size:,} parameters, has directions for {room // 2:,} of them")
    given = config.audit.held_out
    if given is not None and wanted + given > room:
        raise InputError(
            f"'audit.held_out' is {given:,}, but this model, of {size:,} parameters, has directions for"
            f" {room - wanted:,} beside 'audit.canaries'"
        )
