"""Central training with DP-SGD: the speech of all clients in one place, and every utterance protected in the model.

What example-level privacy is compared with: who trains sees all speech, and the model that is released hides any single
utterance. One ledger holds for the pool; a step draws each of its N utterances with the same probability.
"""

from __future__ import annotations

from typing import Any

from flwr.serverapp import Grid

from fedasr.errors import InputError
from fedasr.experiment import Experiment
from fedasr.privacy import dpsgd
from fedasr.privacy.document import privacy_document
from fedasr.privacy.draws import augmenting, drawn
from fedasr.privacy.example_level import events, training_of
from fedasr.privacy.gradients.bookkeeping import BookKeeper
from fedasr.privacy.ledger import Budget, Ledger
from fedasr.privacy.randomness import Randomness
from fedasr.runtime import checkpoint
from fedasr.runtime.run_folder import RunFolder
from fedasr.training import local
from fedasr.training.optimizers import load_state, state_of
from fedasr.training.schedules import learning_rate

from .budget import pooled_row
from .pool import Pool
from .server_run import Round, ServerRun
from .soundness import check_finite
from .traits import StrategyTraits

NOTE = (
    "one ledger for the pooled speech: ε holds for one utterance of any client; how many utterances each client holds,"
    " and so the population, is taken to be public; all utterances of a user together are not protected by it;"
    " who trains sees all speech and must be trusted"
)


class PrivateCentralRun(ServerRun):
    """DP-SGD on pooled speech; a round makes as many steps as its budget of utterances holds expected batches.

    Args:
        grid: any Flower grid; no message is sent.
        experiment: what is trained on what, with ``privacy.unit: example``.
        folder: where the run is written.
    """

    traits = StrategyTraits(asks_clients=False, cohorts=False, trains=True)

    def __init__(self, grid: Grid, experiment: Experiment, folder: RunFolder) -> None:
        super().__init__(grid, experiment, folder)
        config, privacy = self.config, self.config.privacy
        self.pool = Pool.of(experiment)
        self.noise = self.pool.noise(config)
        """z of each step of the run"""
        self.ledger = Ledger(privacy.accountant or "rdp", secret=privacy.secret_noise)
        self.budget = None if privacy.epsilon is None else Budget(privacy.epsilon, privacy.delta, "example")
        self.model = local.Resident(experiment.model().to(local.chosen_device(config.runtime.device)))
        self.state = dpsgd.init(
            BookKeeper(self.model.model),
            self.model,
            self.layout.views(self.weights),
            config.client,
            config.client.learning_rate,
            training_of(config, self.layout, self.pool.plan, self.noise),
            self.where(1),
        )
        # Damage is left out in any case: a stop would tell of one utterance.
        self.speech = experiment.speech.without_damage()

    def where(self, number: int) -> dpsgd.Where:
        """Return where the draws of a round come from: where they are secret, from a source of the round's own."""
        return dpsgd.Where(Randomness.of(self.config.privacy.secret_noise, self.config.seed), number, 0)

    @property
    def clients(self) -> int:
        """The number of clients whose speech is pooled."""
        return len(self.experiment.partition)

    def round(self, number: int) -> Round | None:
        """Make the steps of a round; None where they cannot be afforded."""
        config, state = self.config, self.state
        steps = range(state.steps, self.pool.ends[number - 1])
        if not self.affords(steps):
            self.end_early(
                f"the privacy budget, ε = {config.privacy.epsilon:g} at δ = {config.privacy.delta:g} for an utterance,"
                f" is spent after {number - 1} rounds"
            )
            return None
        self.charge(self.ledger, steps, number)
        state.where = self.where(number)
        state.learning_rate = learning_rate(config.client, number, config.rounds)
        for step in steps:
            groups = dpsgd.draw(state.settings, state.where, step)
            draws = augmenting(self.speech, state.where, step)
            dpsgd.step(state, drawn(self.speech, self.pool.rows, groups, draws, self.model.parameters.device))
        self.weights = self.model.parameters.detach().cpu().numpy().copy()
        check_finite(self.weights, number, config)
        # Losses of private speech are not released.
        return Round(pooled_row(number, self.pool.work[number - 1]))

    def affords(self, steps: range) -> bool:
        """Say whether some steps stay within the budget."""
        if self.budget is None or not steps:
            return True
        trial = Ledger(self.ledger.accountant, secret=self.ledger.secret)
        trial.load_state_dict(self.ledger.state_dict())
        self.charge(trial, steps, 0)
        return trial.epsilon(self.budget.delta, "example") <= self.budget.epsilon

    def charge(self, ledger: Ledger, steps: range, number: int) -> None:
        """Enter some steps into a ledger."""
        privacy = self.config.privacy
        noise = self.noise[steps.start : steps.stop]
        for event in events(noise, self.pool.plan.sampling_probability, privacy.micro_batches is not None):
            ledger.charge(event, released="global model", population=self.pool.plan.utterances, round=number)

    def epsilon(self) -> float:
        """Return what was spent so far, at ``privacy.delta``."""
        return self.ledger.epsilon(self.config.privacy.delta, "example")

    def document(self) -> dict[str, Any]:
        """Return the content of ``privacy.json``."""
        return {"note": NOTE, **privacy_document(self.ledger, self.config.privacy.delta, budget=self.budget)}

    def save(self) -> None:
        """Write the checkpoint of the current round."""
        facts = {"private_central": {"steps": self.state.steps, "ledger": self.ledger.state_dict()}}
        self.write_checkpoint(state_of(self.state.optimizer), facts, {})

    def restore(self, saved: checkpoint.Checkpoint) -> None:
        """Go on from a checkpoint.

        Raises:
            InputError: it is of another kind of run.
        """
        facts = saved.facts.get("private_central")
        if not isinstance(facts, dict):
            where = str(self.folder.checkpoint / checkpoint.NAME)
            raise InputError("is no checkpoint of private central training; start anew in another folder", where=where)
        super().restore(saved)
        self.model.load(self.layout.views(self.weights))
        load_state(self.state.optimizer, saved.optimizer, self.model.parameters.device)
        self.state.steps = facts["steps"]
        self.ledger.load_state_dict(facts["ledger"])

    def facts(self) -> dict[str, Any]:
        """Return what ``summary.json`` has beside what every run has."""
        return {
            "delta": self.config.privacy.delta,
            "steps": self.state.steps,
            "utterances_skipped": self.experiment.skipped,
            **super().facts(),
        }
