"""Power-of-Choice: of some candidates, those with the highest loss (Cho, Wang and Joshi, arXiv 2010.01243)."""

from __future__ import annotations

import numpy as np

from fedasr.data.roster import Roster
from fedasr.errors import InputError
from fedasr.privacy.sampling import Traits
from fedasr.typing import Floats

from .base import Ids, LossProbe, Selection, Stateless
from .counts import activity, known_count
from .drawing import draw


def nobody_asks(round: int, clients: Ids) -> Floats:
    """Stand where the server has set no probe.

    Raises:
        InputError: always.
    """
    raise InputError(
        "power-of-choice asks devices for the loss of the global model, but nothing has been set as its 'probe';"
        " set it, or use selection.probe=last"
    )


class PowerOfChoice(Stateless):
    """d candidates in proportion to what they store; the k of them on which the global model is worst take part.

    pow-d asks the candidates for the loss on all they store, cpow-d on one batch: which of the two is the server's,
    who sets ``probe``. rpow-d asks nobody and takes the training loss that each last reported; who never took part
    comes first. A candidate that did not answer (NaN) is only chosen where too few others are left. Ties are broken
    at random.

    No inclusion probabilities are reported (NaN): they depend on everybody's loss.

    Args:
        candidates: d; 0: twice the cohort. Fewer than the cohort count as the cohort.
        count: what a device stores: ``utterances``, ``seconds``, ``recent-utterances`` or ``recent-seconds``.
        ask: ask for the loss, through ``probe``; False: rpow-d.

    Raises:
        InputError: there is no such count.
    """

    traits = Traits("none", reads_losses=True, reads_activity=True, reports_probabilities=False)

    def __init__(self, candidates: int = 0, count: str = "utterances", ask: bool = True) -> None:
        self.candidates = candidates
        self.count = known_count(count)
        self.ask = ask
        self.probe: LossProbe = nobody_asks

    def select(self, round: int, roster: Roster, k: int, rng: np.random.Generator) -> Selection:
        """Return the ``k`` candidates with the highest loss, highest first.

        Raises:
            InputError: a loss must be asked for, and nobody has set the probe; or it answers for others.
        """
        there = roster.selectable
        drawn, _ = draw(activity(roster, self.count), max(self.candidates or 2 * k, k), rng)
        candidates = there[drawn]
        # Candidates are in random order and the sort is stable, so ties are broken at random.
        order = np.argsort(-self.losses(round, roster, candidates), kind="stable")
        chosen = candidates[order[:k]]
        return Selection(chosen, np.full(len(chosen), np.nan))

    def losses(self, round: int, roster: Roster, candidates: Ids) -> Floats:
        """Return the loss by which the candidates are ranked, −∞ for who did not answer."""
        if not self.ask:
            last = roster.last_loss[candidates].astype(np.float64)
            never: Floats = np.where(np.isnan(last), np.inf, last)
            return never
        if not len(candidates):
            return np.zeros(0)
        answers = np.asarray(self.probe(round, candidates), np.float64)
        if answers.shape != candidates.shape:
            raise InputError(f"the probe was asked for {len(candidates)} losses and answered shape {answers.shape}")
        missing: Floats = np.where(np.isnan(answers), -np.inf, answers)
        return missing
