"""User-level central differential privacy: clip every update, add noise to the sum, divide by a fixed number.

McMahan et al. 2018 (arXiv 1710.06963), with per-layer clipping (arXiv 2310.00098) and adaptive clipping (Andrew et
al. 2021, arXiv 1905.03871). The denominator is the expected cohort, never the count of those who answered, and a round
in which nobody answers releases noise all the same: failures cost no privacy and skip no round.

Where the server cannot sample, devices take turns and the noise of the rounds is correlated (DP-FTRL, Kairouz et al.
2021, arXiv 2103.00039): much of it cancels in the sum of the updates, which is what a model is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.config import Config
from fedasr.data.roster import Roster
from fedasr.errors import RunFailed
from fedasr.models.weights import Layout, Vector
from fedasr.privacy.document import Target, privacy_document
from fedasr.privacy.events import Event, Gaussian
from fedasr.privacy.ledger import Budget, Ledger
from fedasr.privacy.randomness import Randomness, with_normal
from fedasr.privacy.sampling import PUBLIC_GROUPS, Sampling
from fedasr.privacy.update_clipping import Clip
from fedasr.runtime.clock import coupled_by
from fedasr.typing import Floats

from ..aggregation.exact_mean import ExactMean
from ..rounds import RoundResult
from ..selection import Eligible, Selection, Selector, make_selector, traits_of
from .base import Public
from .user_level_costs import accountant_of, correlated_event, noise_of, sampling_of, sums_event

BITS_SHARE = 20
"""Andrew et al.: the noise on the count of unclipped updates is a twentieth of the cohort."""


HIDDEN_COHORTS = (
    "whom it protects from does not learn who took part in which round, or how many: clients.parquet, rounds.parquet,"
    " summary.json, report.html and checkpoint/ are not published"
)
"""On what amplification by sampling counts."""
PUBLIC_ACTIVITY = "how much each device holds is taken to be public (privacy.public_activity)"
"""On what an ε counts where who takes part follows from that."""
HIDDEN_NOISE = "canaries.parquet is not published: its products tell of the noise"
"""On what every ε counts whose run has canary users."""


def check_cohort(selection: Selection, sampling: Sampling, cohort: float, round: int) -> None:
    """Raise where a cohort was drawn otherwise than is charged.

    Raises:
        RunFailed: a client was drawn with a larger probability, or an unknown one, or more of them than a cohort has.
    """
    if sampling.name == "none":
        return
    largest = float(np.max(selection.probabilities, initial=0.0))
    if not largest <= sampling.probability * (1 + 1e-9):
        problem = "reports no probability" if np.isnan(largest) else f"chose a client with probability {largest:g}"
        raise RunFailed(
            f"round {round}: the selector {problem}, but the accountant charges {sampling.probability:g};"
            " nothing was sent"
        )
    if sampling.name == "fixed-size" and len(selection.clients) > cohort:
        raise RunFailed(
            f"round {round}: the selector chose {len(selection.clients)} clients, but a cohort of fixed size"
            f" {cohort:g} is charged; nothing was sent"
        )


class UserLevel(Public):
    """The mechanism of a run and its ledger; the state is the ledger and the adaptive clip norm.

    Args:
        config: with ``privacy.unit: user`` and a noise multiplier.
        layout: of the model.
        selector: that draws the cohorts; None: the one that the config names.
    """

    def __init__(self, config: Config, layout: Layout, selector: Selector | None = None) -> None:
        assert config.privacy.noise_multiplier is not None
        self.run = config
        self.config = config.privacy
        self.seed = config.seed
        self.layout = layout
        self.cohort = float(config.selection.clients_per_round)
        self.noise_multiplier = config.privacy.noise_multiplier
        self.bound = config.privacy.clip_norm
        self.ledger = Ledger(accountant_of(config), secret=self.config.secret_noise)
        epsilon = self.config.epsilon
        self.budget = None if epsilon is None else Budget(epsilon, self.config.delta, "user")
        self.noise = noise_of(config)
        self.selector = make_selector(config.selection) if selector is None else selector
        self.traits = traits_of(self.selector)
        self.eligible: int | None = None
        """among how many clients the cohort of the current round is drawn, where those are fewer than all"""
        self.expected: Sampling | None = None
        """what is assumed of the current round"""
        self.participations: dict[int, int] = {}
        """client → the round of its last participation, as far as the separation reaches back"""

    @property
    def amplified(self) -> bool:
        """Whether ε counts on nobody knowing who took part."""
        return any(entry.event.sampling != "none" for entry in self.ledger.entries)

    @property
    def adaptive(self) -> bool:
        """Whether the clip norm follows a quantile of the updates."""
        return self.config.clipping == "adaptive"

    @property
    def bits_noise(self) -> float:
        """Standard deviation of the noise on the number of unclipped updates."""
        return self.cohort / BITS_SHARE

    @property
    def update_noise_multiplier(self) -> float:
        """The noise multiplier of the updates: a little more, so that with the count it costs what was asked for.

        z_Δ = (z⁻² − (2σ_b)⁻²)^(−½). The bits are ±½ around the quantile's centre, so one user moves the count by ½.
        """
        if not self.adaptive:
            return self.noise_multiplier
        return float((self.noise_multiplier**-2 - (2 * self.bits_noise) ** -2) ** -0.5)

    def clip(self) -> Clip:
        """Return how an update is clipped in this round."""
        return Clip(self.layout, self.bound, "flat" if self.adaptive else self.config.clipping)

    def stop(self, round: int, roster: Roster) -> str | None:
        """Stop before the round that would exceed the budget."""
        self.eligible = len(self.selector.eligible(roster)) if isinstance(self.selector, Eligible) else None
        self.expected = self.sampling(len(roster))
        if self.affords(round, len(roster)):
            return None
        return (
            f"the privacy budget, ε = {self.config.epsilon:g} at δ = {self.config.delta:g} for a user, is spent after"
            f" {round - 1} rounds"
        )

    def sampling(self, population: int) -> Sampling:
        """Return what is assumed of the current round among so many registered users."""
        return sampling_of(self.run, population, self.eligible, self.traits)

    def admit(self, selection: Selection, round: int) -> None:
        """Raise where a cohort was drawn with a larger probability than is charged.

        Raises:
            RunFailed: it was, or nobody knows; nothing has been sent yet.
        """
        assert self.expected is not None
        check_cohort(selection, self.expected, self.cohort, round)

    def affords(self, round: int, population: int) -> bool:
        """Say whether a round among so many registered users stays within the budget."""
        event = self.event(round, population)
        return self.budget is None or event is None or not self.ledger.would_exceed(self.budget, event)

    def charge(self, round: int, population: int) -> None:
        """Enter a round among so many registered users into the ledger, before anything of it is released."""
        event = self.event(round, population)
        if event is not None:
            among = self.sampling(population).population
            self.ledger.charge(event, released="global model", population=among, round=round)

    def event(self, round: int, population: int) -> Event | None:
        """Return what a round among so many registered users costs; None: nothing."""
        sampling = self.sampling(population)
        if self.config.noise == "independent":
            return sampling.gaussian(self.noise_multiplier) if sampling.is_charged(round) else None
        square = self.noise.charge(round)
        return correlated_event(self.noise_multiplier, square) if square else None

    @property
    def adjacency(self) -> str:
        """That of the rounds, and so of the whole run."""
        if self.config.noise != "independent":
            return correlated_event(self.noise_multiplier, 1.0).adjacency
        assert self.expected is not None, "a round has begun"
        return self.expected.gaussian(self.noise_multiplier).adjacency

    def affords_sums(self) -> bool:
        """Say whether the sums of an estimate after the current round stay within the budget."""
        event = sums_event(self.run, self.adjacency)
        return self.budget is None or event is None or not self.ledger.would_exceed(self.budget, event)

    def noisy_sums(self, sums: Floats, sensitivity: float, round: int, population: int) -> Floats:
        """Charge the sums of an estimate, then return them with noise; every device may be a part of them.

        Args:
            sums: shape ``(numbers,)``.
            sensitivity: the largest norm of what a device adds to them.
            round: counted from 1.
            population: registered users.
        """
        event = sums_event(self.run, self.adjacency)
        assert isinstance(event, Gaussian)
        self.ledger.charge(event, released="sums for the error rate", population=population, round=round)
        draws = self.randomness().normal(len(sums), "estimate-noise", round)
        return with_normal(sums, event.noise_multiplier * sensitivity, draws)

    def check_turns(self, rows: list[dict[str, Any]], round: int) -> None:
        """Raise where somebody took part sooner than the accountant assumes.

        Raises:
            RunFailed: the selection has broken its promise; nothing of the round was released.
        """
        separation = 0 if self.traits is None else self.traits.separation
        if not separation:
            return
        for row in rows:
            before = self.participations.get(row["id"])
            if before is not None and round - before < separation:
                raise RunFailed(
                    f"round {round}: client {row['client']} took part in round {before}; the accountant assumes"
                    f" {separation} rounds between participations (selection.separation)"
                )
        self.participations = {client: at for client, at in self.participations.items() if round - at < separation}
        self.participations |= {row["id"]: round for row in rows}

    def epsilon(self) -> float:
        """Return what was spent so far, at ``privacy.delta``."""
        return self.ledger.epsilon(self.config.delta, "user")

    def document(self) -> dict[str, Any]:
        """Return the content of ``privacy.json``."""
        target = None
        if self.config.population is not None:
            factor = 1.0 if self.config.cohort is None else self.config.cohort / self.cohort
            target = Target(self.config.population, factor)
        document = privacy_document(self.ledger, self.config.delta, budget=self.budget, target=target)
        conditions = [HIDDEN_COHORTS] if self.amplified else []
        if self.run.audit.canaries:
            conditions.append(HIDDEN_NOISE)
        traits = self.traits
        if (traits is not None and traits.reads_activity) or coupled_by(self.run.devices) is not None:
            conditions.append(PUBLIC_ACTIVITY)
        if traits is not None and traits.reads_groups:
            conditions.append(PUBLIC_GROUPS)
        return {**document, "holds_if": conditions} if conditions else document

    def release(self, result: RoundResult, round: int, registered: int) -> Vector:
        """Charge the round, then return its noisy mean update, shape ``(parameters,)``.

        Raises:
            RunFailed: two participations of a user came sooner after one another than the accountant assumes.
        """
        assert isinstance(result.mean, ExactMean), "nothing bounds how far one user moves another aggregate"
        self.check_turns(result.everybody, round)
        self.charge(round, registered)
        return self.noisy(result.mean, round, registered)

    def noisy(self, mean: ExactMean, round: int, population: int) -> Vector:
        """Return the noisy mean update, shape ``(parameters,)``, and move the clip norm.

        Args:
            mean: of the clipped updates, over the expected cohort.
            round: counted from 1.
            population: registered users; a cohort is at most all of them.
        """
        source = self.randomness()
        cohort = min(self.cohort, float(population))
        scale = self.update_noise_multiplier * self.bound / cohort
        draws = self.noise.draw(round, source.generator("central-noise", round), self.layout.size)
        noisy = with_normal(mean.exact(), scale, draws)
        if self.adaptive:
            # With bits of ±½ the count of the unclipped is Σ(b − ½) + ½·cohort, whoever took part.
            bits = source.normal(1, "central-noise of the count", round)
            counted = float(with_normal([mean.unclipped - 0.5 * mean.updates], self.bits_noise, bits)[0])
            share = 0.5 + counted / cohort
            self.bound *= math.exp(-self.config.quantile_rate * (share - self.config.quantile))
        return noisy.astype(np.float32)

    def randomness(self) -> Randomness:
        """Return where a round's noise comes from: where it is secret, from a source of the round's own."""
        return Randomness.of(self.config.secret_noise, self.seed)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold, as JSON values."""
        participations = {str(client): round for client, round in self.participations.items()}
        return {"bound": self.bound, "turns": participations, "ledger": self.ledger.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state_dict``."""
        self.bound = float(state["bound"])
        self.participations = {int(client): int(round) for client, round in state["turns"].items()}
        self.ledger.load_state_dict(state["ledger"])

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the noise that later rounds take back."""
        return {f"noise/{name}": array for name, array in self.noise.state_dict().items()}

    def load_arrays(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from ``arrays``."""
        self.noise.load_state_dict({name.removeprefix("noise/"): array for name, array in arrays.items()})
