"""Local training with DP-SGD: the device's utterances are protected from everybody, the server included.

Only what the mechanism protects leaves the device, and numbers that are public: how much it stores, how many steps it
made, what they cost. Its losses stay at home, and so does the number of utterances that its steps have drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from flwr.app import Context

from fedasr.config import Config
from fedasr.experiment import per_experiment
from fedasr.models.weights import Arrays
from fedasr.privacy import dpsgd
from fedasr.privacy.draws import augmenting, drawn
from fedasr.privacy.example_level import Plan, events, events_of, noise_multipliers, training_of
from fedasr.privacy.gradients.bookkeeping import BookKeeper
from fedasr.privacy.randomness import Randomness
from fedasr.protocol import Statement
from fedasr.training.schedules import learning_rate

from .own_labels import Lesson
from .privacy_ledger import opened
from .speech import Device
from .trainer import resident


@per_experiment
def keeper(config_json: str) -> BookKeeper:
    """Return the book-keeper of this process's model, made once like the model."""
    return BookKeeper(resident(config_json).model)


@dataclass(frozen=True)
class PrivateRound:
    """What a device has to show for a round."""

    arrays: dict[str, npt.NDArray[np.float32]] | None
    """the trained weights; None where the budget did not allow a round"""
    steps: int
    statement: Statement
    """of the ledger"""


def pay_for_a_round(
    config: Config, plan: Plan, context: Context, round: int
) -> tuple[tuple[float, ...] | None, Statement]:
    """Charge the device's ledger for a round, before its work begins: whoever asks meanwhile finds it spent.

    Returns:
        The noise multiplier of each step, None where the budget does not allow a round; and what the device tells of
        its ledger.

    Raises:
        InputError: no noise is right.
    """
    micro_batches = config.privacy.micro_batches is not None
    with opened(context, config) as ledger:
        noise = noise_multipliers(config, plan, ledger.steps)
        due = events(noise, plan.sampling_probability, micro_batches)
        if not ledger.affords(due):
            return None, ledger.statement(spent=True)
        ledger.charge(due, plan.utterances, round)
        following = noise_multipliers(config, plan, ledger.steps)
        spent = not ledger.affords(events(following, plan.sampling_probability, micro_batches))
        return noise, ledger.statement(spent)


def train_privately(device: Device, arrays: Arrays, lesson: Lesson, context: Context) -> PrivateRound:
    """Train on the device's speech within its budget; the ledger in the context is charged before this returns.

    Raises:
        InputError: an utterance cannot be decoded, and ``data.on_bad_audio`` is ``stop``; or no noise is right.
    """
    config = device.experiment.config
    plan = Plan.of(config, len(device.rows))
    noise, statement = pay_for_a_round(config, plan, context, device.round)
    if noise is None:
        return PrivateRound(None, 0, statement)
    model = resident(device.config_json)
    settings = training_of(config, model.layout, plan, noise)
    # A secret source is drawn for each message: two answers never have the same noise.
    source = Randomness.of(config.privacy.secret_noise, config.seed)
    where = dpsgd.Where(source, device.round, device.client)
    rate = learning_rate(config.client, device.round, config.rounds)
    state = dpsgd.init(keeper(device.config_json), model, arrays, config.client, rate, settings, where)
    target = model.parameters.device
    for step in range(plan.steps):
        groups = dpsgd.draw(settings, where, step)
        draws = augmenting(lesson.speech, where, step)
        # All that is stored is drawn from, learnt or not: what has no label adds nothing.
        dpsgd.step(state, drawn(lesson.speech, device.rows, groups, draws, target))
    trained, result, releases = dpsgd.final(state)
    assert sum(event.steps for event in events_of(releases)) <= plan.steps, "unpaid steps"
    return PrivateRound(trained, result.steps, statement)
