"""Device selection: a selector a file, and the registry that ``selection.name`` looks them up in."""

from __future__ import annotations

from collections.abc import Callable

from fedasr.config.schema import SelectionConfig
from fedasr.errors import InputError, nearest
from fedasr.privacy.sampling import Traits
from fedasr.registry import make_part

from .activity import Activity
from .afl import ActiveFederatedLearning
from .base import Eligible, Feedback, LossProbe, Probing, Selection, Selector, Stateless, traits_of
from .grouped import Balanced, Stratified
from .mixed import Mixed
from .oort import Oort
from .poisson import Poisson
from .power_of_choice import PowerOfChoice
from .round_robin import RoundRobin
from .threshold import Threshold
from .top_activity import TopActivity
from .uniform import Uniform

__all__ = [
    "SELECTORS",
    "ActiveFederatedLearning",
    "Activity",
    "Balanced",
    "Eligible",
    "Feedback",
    "LossProbe",
    "Mixed",
    "Oort",
    "Poisson",
    "PowerOfChoice",
    "Probing",
    "RoundRobin",
    "Selection",
    "Selector",
    "Stateless",
    "Stratified",
    "Threshold",
    "TopActivity",
    "Traits",
    "Uniform",
    "configured_traits",
    "make_selector",
    "traits_of",
]


def by_activity(config: SelectionConfig) -> Activity:
    """Return activity-based selection as configured."""
    return Activity(config.activity, config.exponent, config.replacement)


SELECTORS: dict[str, Callable[[SelectionConfig], Selector]] = {
    "uniform": lambda config: Uniform(),
    "poisson": lambda config: Poisson(),
    "activity": by_activity,
    "top-activity": lambda config: TopActivity(config.activity),
    "threshold": lambda config: Threshold(config.min_activity, config.activity),
    "mixed": lambda config: Mixed(by_activity(config), Uniform(), config.active_rounds),
    "balanced": lambda config: Balanced(),
    "stratified": lambda config: Stratified(),
    "round-robin": lambda config: RoundRobin(config.separation),
    "power-of-choice": lambda config: PowerOfChoice(config.candidates, config.activity, config.probe != "last"),
    "oort": lambda config: Oort(config.oort),
    "afl": lambda config: ActiveFederatedLearning(config.afl),
}
"""What makes each ``selection.name``."""


def make_selector(config: SelectionConfig) -> Selector:
    """Return the selector of ``selection.name``; a reference is called with what it has parameters for:
    ``config``, the section, and ``selection.options``.

    Raises:
        InputError: there is no such selector; or the reference names nothing, fails, or makes no selector.
    """
    if ":" in config.name:
        selector: Selector = make_part(
            config.name, "selection.name", {"config": config}, config.options, "selection.options", (config,)
        )
        missing = [
            name for name in ("select", "observe", "state_dict", "load_state_dict") if not hasattr(selector, name)
        ]
        if missing:
            raise InputError(f"'selection.name' is '{config.name}', which makes no selector: it has no '{missing[0]}'")
        return selector
    if config.name not in SELECTORS:
        raise InputError(
            f"'selection.name' is '{config.name}'{nearest(config.name, SELECTORS)}; expected one of:"
            f" {', '.join(SELECTORS)}, or 'package.module:attribute'"
        )
    return SELECTORS[config.name](config)


def configured_traits(config: SelectionConfig) -> Traits | None:
    """Return what the selector of ``selection.name`` declares of itself; None: nothing.

    Raises:
        InputError: as ``make_selector``.
    """
    return traits_of(make_selector(config))
