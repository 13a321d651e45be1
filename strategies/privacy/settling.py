"""What a private run needs to know before it begins, made explicit in its config."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import Any

from fedasr.config import Config
from fedasr.errors import InputError
from fedasr.experiment import Experiment
from fedasr.models.weights import Layout

from ..pool import noise_for_budget as noise_for_pool
from ..selection import Eligible, configured_traits, make_selector
from .device_noise import device_noise_for_budget
from .shared_noise import shared_noise_for_budget
from .user_level_costs import noise_for_budget, sampling_of


def settled_privacy(config: Config, population: int, run: Experiment | None = None) -> dict[str, Any]:
    """Return the keys of ``privacy`` that follow from the others: how often a device takes part, and the noise.

    Args:
        config: of the run; without a number of participations it is that of the average device where every device
            does with its own noise, and the largest possible elsewhere.
        population: how many users are registered.
        run: knows what they hold; None: nobody does.

    Raises:
        InputError: nothing may be assumed of the selection, or no noise is right.
    """
    privacy = config.privacy
    settled: dict[str, Any] = {}
    wanted = privacy.noise_multiplier is None
    if config.strategy.name == "central":
        assert run is not None, "central training has no fleet"
        return {"noise_multiplier": noise_for_pool(config, run)}
    if privacy.unit == "example" and wanted and privacy.participations is None:
        share = min(1.0, config.selection.clients_per_round / population)
        settled["participations"] = max(1, ceil(config.rounds * share))
    if privacy.unit == "user" and privacy.noise_at == "server" and wanted:
        eligible = None if run is None else least_eligible(config, run)
        settled["noise_multiplier"] = noise_for_budget(config, population, eligible)
    if privacy.unit == "user" and privacy.noise_at != "server" and wanted:
        if privacy.participations is None:
            participations = max(1, config.rounds)
            traits = configured_traits(config.selection)
            if traits is not None and traits.separation:
                participations = ceil(participations / traits.separation)
            settled["participations"] = participations
            privacy = replace(privacy, participations=participations)
        if privacy.noise_at == "device":
            settled["noise_multiplier"] = device_noise_for_budget(privacy)
        else:
            assert run is not None  # edge devices add no shares yet
            parameters = Layout.of(run.first_weights()).size
            settled["noise_multiplier"] = shared_noise_for_budget(replace(config, privacy=privacy), parameters)
    return settled


def least_eligible(config: Config, run: Experiment) -> int | None:
    """Return among how many clients a cohort is drawn in every round at least, where that is not all of them.

    Args:
        config: of the run.
        run: knows what the clients hold in every period.
    """
    selector = make_selector(config.selection)
    if not isinstance(selector, Eligible):
        return None
    roster, counts = run.roster(), []
    for period in sorted({run.stream.period_of_round(round) for round in range(1, config.rounds + 1)}):
        roster.store(*run.counts(period))
        counts.append(len(selector.eligible(roster)))
    return min(counts, default=None)


def check_privacy_of(config: Config, population: int) -> None:
    """Raise where no accountant covers the run, or its selection needs what no device may tell.

    Raises:
        InputError: naming the key and what to change.
    """
    privacy, secure = config.privacy, config.secure_aggregation.mode != "none"
    if privacy.unit not in ("user", "example") and not secure:
        return
    if privacy.unit == "user" and privacy.noise_at == "server":
        sampling_of(config, population)
        if privacy.noise != "independent":
            check_turns_of(config)
        return
    traits = configured_traits(config.selection)
    if traits is None or traits.reads_losses:
        why = "may choose by losses: its 'traits' do not say" if traits is None else "chooses by losses"
        raise InputError(
            f"'selection.name' is '{config.selection.name}', which {why}; devices of a run that is private, or has"
            " secure aggregation, tell none;"
            " declare 'traits' (docs/selection.md), or choose another selection"
        )


def check_turns_of(config: Config) -> None:
    """Raise where correlated noise would count on participations that are farther apart than the selector promises.

    Raises:
        InputError: naming the key and what to change.
    """
    traits, privacy = configured_traits(config.selection), config.privacy
    promised = 0 if traits is None else traits.separation
    needed = privacy.bands if privacy.noise == "banded" else 1
    if promised < needed:
        raise InputError(
            f"'privacy.noise' is '{privacy.noise}', but 'selection.name' is '{config.selection.name}', which promises"
            f" {promised} rounds between two participations and not {needed}; set selection.name=round-robin and"
            " 'selection.separation'"
        )
