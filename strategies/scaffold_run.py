"""SCAFFOLD (Karimireddy et al. 2020, arXiv 1910.06378): federated averaging whose clients correct their own drift.

The server sends c beside the model and gets the change of each cᵢ beside the weights: twice the bytes both ways. What
a client does is in ``clients/control_variates.py``, what is added up in ``aggregation/controlled.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from flwr.app import RecordDict

from fedasr.data.roster import Roster
from fedasr.flower.records import array_record, content_bytes
from fedasr.models.weights import Vector
from fedasr.privacy.update_clipping import Clip
from fedasr.protocol import Record
from fedasr.runtime import checkpoint, client_states

from .aggregation.accumulating import Expectations, UpdateAccumulator
from .aggregation.base import Aggregate
from .aggregation.controlled import ControlledAccumulator, ControlledMean, ControlVariates, Shares
from .aggregation.exact_mean import ExactMean
from .aggregation.weighting import Weighting
from .federated_run import FederatedRun
from .population import MessageBytes
from .rounds import RoundResult, Rounds
from .selection import Selection
from .traits import StrategyTraits


class ScaffoldRounds(Rounds):
    """Rounds whose clients are sent c, and send how their cᵢ change; arguments as those of ``Rounds``."""

    shares = Shares(Weighting("uniform", {}, 1.0), 1.0, 1.0)
    """of the current round"""

    @cached_property
    def controls(self) -> ControlVariates:
        """The server's half of the control variates."""
        return ControlVariates(self.layout.size)

    def prepare(self, round: int, selection: Selection, roster: Roster, weighting: Weighting) -> dict[int, str]:
        """Find out what the control variates of a round count for; everybody takes part."""
        self.shares = Shares.of(weighting, selection, roster)
        return {}

    def training_content(self, round: int, weights: Vector) -> RecordDict:
        """Return what every client is sent that is to train."""
        content = super().training_content(round, weights)
        content[Record.CONTROL] = array_record(self.layout.views(self.controls.mean(self.shares.population)))
        return content

    def aggregate(self, round: int, weights: Vector, weighting: Weighting, clip: Clip | None) -> Aggregate:
        """Return the aggregate of a round, empty."""
        mean = super().aggregate(round, weights, weighting, clip)
        assert isinstance(mean, ExactMean)
        return ControlledMean(mean, self.shares.cohort)

    def accumulator(
        self,
        aggregate: Aggregate,
        weighting: Weighting,
        clients: Mapping[int, int] | None,
        expectations: Expectations,
    ) -> UpdateAccumulator:
        """Return what takes replies in."""
        assert isinstance(aggregate, ControlledMean)
        return ControlledAccumulator(aggregate, self.shares, weighting, clients, expectations)

    def conclude(self, round: int, result: RoundResult, rows: dict[int, dict[str, Any]]) -> None:
        """Change c by what the clients' cᵢ have changed by."""
        assert isinstance(result.mean, ControlledMean)
        self.controls.sum = self.controls.sum + result.mean.change()

    def clock_bytes(self, weights: Callable[[], Vector], teacher: bool) -> tuple[MessageBytes, int]:
        """Return what a device is sent in a round, and about what it sends back, for the virtual clock."""
        sent, reply = super().clock_bytes(weights, teacher)
        assert isinstance(sent, int)  # nothing is encoded
        nothing = np.zeros(self.layout.size, np.float32)
        more = content_bytes(RecordDict({Record.CONTROL: array_record(self.layout.views(nothing))}))
        return sent + more, reply + more


class ScaffoldRun(FederatedRun):
    """A federated run with control variates; arguments as those of ``FederatedRun``."""

    traits: ClassVar[StrategyTraits] = StrategyTraits()
    rounds_type: ClassVar[type[Rounds]] = ScaffoldRounds
    rounds: ScaffoldRounds

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays of a checkpoint, c among them."""
        return {**super().columns(), **self.rounds.controls.arrays()}

    def restore(self, saved: checkpoint.Checkpoint) -> None:
        """Go on from a checkpoint; where the clients have lost their control variates, all start anew with 0."""
        columns = self.rounds.controls.load_arrays(saved.columns)
        if not (saved.states and client_states.kept(self.grid)):
            self.rounds.controls.forget()
        super().restore(replace(saved, columns=columns))
