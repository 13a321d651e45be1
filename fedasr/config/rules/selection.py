"""What selections can be, and which have the probabilities that a weighting needs."""

from __future__ import annotations

from typing import Any

from fedasr.config.schema import Config
from fedasr.errors import InputError
from fedasr.references import load_reference

TRAITS = "fedasr.strategies.selection:configured_traits"


def known_traits(config: Config) -> Any | None:
    """Return the ``Traits`` of one of our own selections; None: it is the user's, whose code only a run may load.

    A config is also checked on devices, which must run nothing that a server names.
    """
    return None if ":" in config.selection.name else load_reference(TRAITS)(config.selection)


def check_selection(config: Config, where: str) -> None:
    """Raise on a selection that cannot be, or whose probabilities the weighting needs and does not get."""
    selection = config.selection

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    if selection.name == "power-of-choice" and 0 < selection.candidates < selection.clients_per_round:
        refuse(
            f"'selection.candidates' is {selection.candidates} but 'selection.clients_per_round'"
            f" {selection.clients_per_round}; compare at least as many devices as are chosen, or set 0"
        )
    if selection.name == "oort" and selection.oort.exploration_floor > selection.oort.exploration:
        refuse(
            f"'selection.oort.exploration_floor' is {selection.oort.exploration_floor} and must not be larger than"
            f" 'selection.oort.exploration' ({selection.oort.exploration})"
        )
    grouped = known_traits(config)
    if grouped is not None and grouped.reads_groups:
        if selection.by is None:
            refuse(
                f"'selection.name' is '{selection.name}' but 'selection.by' is not set; name the column whose values"
                " are the groups, such as gender"
            )
        if config.runtime.name == "deployment":
            refuse(
                f"'selection.name' is '{selection.name}' but 'runtime.name' is 'deployment', whose devices do not tell"
                " their groups; select by 'uniform'"
            )
    if config.strategy.weighting != "inverse-probability":
        return
    problem = f"'strategy.weighting' is 'inverse-probability' but 'selection.name' is '{selection.name}', which"
    traits = known_traits(config)
    if traits is None:
        return  # the weighting looks at what it reports
    if not traits.reports_probabilities:
        refuse(f"{problem} has no probabilities that are known in every round; change one of them")
    if not traits.reaches_everybody:
        setting = " with 'selection.afl.random_share' 0" if selection.name == "afl" else ""
        refuse(
            f"{problem}{setting} never chooses some devices, so that no weights make up for them; choose another of the"
            " two"
        )
    recent = traits.reads_activity and selection.activity.startswith("recent-")
    if recent and selection.exponent > 0 and config.stream.arrival != "static" and config.stream.keep != "period":
        refuse(
            f"{problem} with 'selection.activity' '{selection.activity}' seldom chooses devices without recent speech,"
            " so that no weights make up for them; count all that is stored, or choose another weighting"
        )
