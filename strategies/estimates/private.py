"""The error rate on the devices' own speech from noisy sums, which the privacy ledger is charged for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedasr.data.draws import uniforms
from fedasr.data.roster import Roster
from fedasr.evaluation.private_sums import PrivateSums
from fedasr.evaluation.secure_sums import ALL, Count, GroupSums
from fedasr.experiment import Experiment
from fedasr.models.weights import Layout, Vector
from fedasr.runtime.run_folder import RunFolder

from ..aggregation.replies import Store
from ..privacy.user_level import UserLevel
from ..rounds import Rounds
from ..selection.base import Ids
from .fleet import EstimateTraffic, FleetEstimates, Tally
from .groups import known_groups


class NoisySums:
    """What a run releases of its devices' counts.

    The groups are named beforehand, so that they tell nothing of who is there.

    Args:
        run: the experiment.
        mechanism: that is charged.

    Raises:
        InputError: there are too many groups.
    """

    def __init__(self, run: Experiment, mechanism: UserLevel) -> None:
        settings = run.config.evaluate.estimate
        assert settings.words is not None
        assert settings.noise_multiplier
        self.mechanism = mechanism
        self.noise_multiplier = settings.noise_multiplier
        self.sums = PrivateSums(known_groups(run), settings.words)

    def released(self, told: list[dict[str, Count]], round: int, registered: int) -> dict[str, GroupSums]:
        """Charge an estimate, then return group → its noisy sums.

        Args:
            told: of each device, group → what it counts.
            round: counted from 1.
            registered: how many users there are.
        """
        exact, sensitivity = self.sums.summed(told), self.sums.sensitivity
        noisy = self.mechanism.noisy_sums(self.sums.weighed(exact), sensitivity, round, registered)
        return self.sums.noisy(exact, noisy, self.noise_multiplier * sensitivity)


class PrivateEstimates(FleetEstimates):
    """Estimates under user-level DP: the trusted server adds noise to the sums, and nothing else of them is written.

    Each device is asked by a draw of its own, so that nobody changes who else is counted.

    Args:
        run: the experiment.
        rounds: sends the messages.
        layout: of the model.
        folder: of the run.
        mechanism: that is charged.

    Raises:
        InputError: there are too many groups.
    """

    def __init__(
        self, run: Experiment, rounds: Rounds, layout: Layout, folder: RunFolder, mechanism: UserLevel
    ) -> None:
        super().__init__(run, rounds, layout, folder)
        self.mechanism = mechanism
        self.sums = NoisySums(run, mechanism)
        self.registered = 1

    def after(self, round: int, weights: Vector, roster: Roster) -> tuple[list[dict[str, Any]], EstimateTraffic]:
        """Return the rows of ``estimates.parquet`` after a round; without an estimate where it cannot be afforded.

        Raises:
            InputError: a client met wrong input.
        """
        self.registered = len(roster)
        if self.mechanism.affords_sums():
            return super().after(round, weights, roster)
        self.rounds.notes.append("the error rate is not estimated: that would exceed 'privacy.epsilon'")
        return self.watched([Tally().row(round, ALL)]), EstimateTraffic(0, 0)

    def asked(self, round: int, stored: Mapping[int, Store], roster: Roster) -> Ids:
        """Return who is asked: everybody, or each with the same probability."""
        there = np.array(sorted(stored), np.int64)
        if roster.available is not None:
            there = there[roster.available[there]]
        if self.settings.clients is None:
            return there
        drawn = uniforms(self.run.config.seed, "fleet-estimate", there, round)
        return there[drawn < self.settings.clients / self.registered]

    def tallied(self, round: int, told: list[dict[str, Any]]) -> dict[str, Tally]:
        """Return group → the noisy sums of what devices have counted of it, and charge them."""
        counted = [{group: count_of(counts) for group, counts in device.items()} for device in told]
        released = self.sums.released(counted, round, self.registered)
        return {group: Tally(*parts) for group, parts in released.items()}


def count_of(told: dict[str, Any]) -> Count:
    """Return what a device counts of a group."""
    return Count(told["panel"], told["values"], told["spoken"], told.get("truth", (0, 0)))
