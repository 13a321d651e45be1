"""DP-SGD on a device: canary gradients through the real draw, clip, sum and noise of each step.

The utterances of the audit are gradients: a stand-in model whose loss is ⟨θ, features⟩ has the features as its
gradient, with the layout of the config's model. So the per-sample gradients of the real layers are not audited here
(tests/fedasr/privacy/gradients compares them with those of one utterance at a time).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import ceil

import numpy as np
import torch
from torch import nn

from fedasr.audits.finding import EVERYBODY, SERVER, Scores
from fedasr.audits.mechanism.parts import POOL, part
from fedasr.audits.mechanism.users import AGREEING, RELEASES, SMALL
from fedasr.audits.mechanism.world import LARGE, World, scaled
from fedasr.config.schema import ClientConfig
from fedasr.data.batches import Batch
from fedasr.models.weights import Layout, model_arrays
from fedasr.privacy import dpsgd, example_level
from fedasr.privacy.audit import scores
from fedasr.privacy.audit.canaries import Canaries, clip_weights
from fedasr.privacy.events import Event, Gaussian, PoissonGaussian
from fedasr.privacy.gradients.bookkeeping import BookKeeper
from fedasr.privacy.ledger import Ledger
from fedasr.privacy.randomness import Randomness
from fedasr.training.local import Resident
from fedasr.typing import Floats

INSERTED, HELD_OUT, MOST_STEPS = 400, 200, 1500
"""Canary utterances, canaries in no device that each device is compared with, and steps of an attack."""
MOST_OF_A_DEVICE = 200
"""Utterances of a device that are canaries; the others have no gradient."""


class GradientModel(nn.Module):
    """A model whose gradient for an utterance is the utterance: loss = ⟨θ, features⟩."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.parts = layout.slices
        self.tensors = nn.ModuleList(nn.Linear(s.stop - s.start, 1, bias=False) for s in layout.slices)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()

    def utterance_loss(self, batch: Batch) -> torch.Tensor:
        """Return the loss of each, shape ``(batch,)``."""
        rows = batch.features[:, 0]
        result = [tensor(rows[:, part]) for tensor, part in zip(self.tensors, self.parts, strict=True)]
        return torch.cat(result, dim=1).sum(1)


def batch_of(gradients: Sequence[Floats] | Floats) -> Batch:
    """Return utterances whose gradients are these."""
    ones = torch.ones(len(gradients), dtype=torch.int64)
    rows = torch.from_numpy(np.array(gradients, np.float32))[:, None] if len(gradients) else torch.zeros(0, 1, 1)
    return Batch(rows, ones, ones[:, None], ones, 0.0, tuple(range(len(gradients))))


class Device:
    """A device that trains with DP-SGD at a learning rate of one: what a step changes is what it releases."""

    def __init__(self, world: World, layout: Layout, plan: example_level.Plan) -> None:
        self.config, self.plan = world.config, plan
        self.resident = Resident(GradientModel(layout))  # type: ignore[arg-type]
        self.keeper = BookKeeper(self.resident.model)
        self.arrays = model_arrays(self.resident.model)
        self.source = Randomness.of(self.config.privacy.secret_noise, world.of_trial(0).config.seed)
        privacy = self.config.privacy
        self.denominator = float(privacy.micro_batches or plan.sampling_probability * plan.utterances)
        """what a step's sum is to be divided by: known beforehand"""

    def begin(self, round: int, client: int, done: int) -> dpsgd.PrivateState:
        """Return local training at the start of a round, after so many steps of earlier ones."""
        noise = example_level.noise_multipliers(self.config, self.plan, done)
        return self.start(noise, dpsgd.Where(self.source, round, client))

    def start(self, noise: tuple[float, ...], where: dpsgd.Where) -> dpsgd.PrivateState:
        """Return local training with these noise multipliers."""
        settings = example_level.training_of(self.config, self.resident.layout, self.plan, noise)
        client = ClientConfig(optimizer="sgd", clip_norm=None)
        return dpsgd.init(self.keeper, self.resident, self.arrays, client, 1.0, settings, where)

    def released(self, state: dpsgd.PrivateState, batches: Sequence[Batch]) -> Floats:
        """Return the noisy sum of a step in clip norms, shape ``(parameters,)``."""
        before = self.resident.parameters.double()
        dpsgd.step(state, batches)
        total = (before - self.resident.parameters.double()).numpy() * self.denominator
        return np.asarray(total / self.config.privacy.clip_norm)


def plan_of(world: World) -> example_level.Plan:
    """Return the plan of the device with a median number of utterances, or of pooled speech."""
    if pooled(world):
        plan: example_level.Plan = part(POOL).of(world.experiment).plan
        return plan
    stored = world.experiment.roster().utterances
    return example_level.Plan.of(world.config, max(1, int(np.median(stored[stored > 0]))))


def pooled(world: World) -> bool:
    """Say whether all speech is in one place."""
    return world.config.strategy.name == "central"


def participations(world: World) -> int:
    """Return how many rounds a device takes part in; pooled speech has one, which is the whole run."""
    if pooled(world):
        return 1
    given = world.config.privacy.participations
    share = min(1.0, world.config.selection.clients_per_round / world.population)
    return given or max(1, ceil(world.config.rounds * share))


def charged(world: World, plan: example_level.Plan, steps: int) -> list[Event]:
    """Return what a device's ledger is charged for so many steps, round by round."""
    ledger = Ledger(world.config.privacy.accountant or "rdp")
    micro = world.config.privacy.micro_batches is not None
    for done in range(0, steps, plan.steps):
        noise = example_level.noise_multipliers(world.config, plan, done)[: steps - done]
        for event in example_level.events(noise, plan.sampling_probability, micro):
            ledger.charge(event, released="update", population=plan.utterances, seen_by="server")
    return ledger.events(("example", "server"))


def run_attack(world: World) -> Scores:
    """Return the scores of canary utterances over all steps of a device, against its whole ledger."""
    privacy, layout, plan = world.config.privacy, world.layout, plan_of(world)
    device = Device(world, layout, plan)
    rounds = participations(world)
    most = min(rounds * plan.steps, MOST_STEPS)
    canaries = Canaries(layout.size, world.of_trial(0).config.seed, clip_weights(layout, 1.0, privacy.clipping))
    count = min(plan.utterances, MOST_OF_A_DEVICE)
    devices = world.repeats(max(1, min(ceil(INSERTED / count), MOST_STEPS // most)))
    inside: list[Floats] = []
    outside: list[Floats] = []
    for client in range(devices):
        first = (client * count) % (canaries.count - HELD_OUT - count + 1)
        own = np.array([canaries.vector(first + row) for row in range(count)])
        products: list[Floats] = []
        noise: list[float] = []
        for round in range(1, rounds + 1):
            state = device.begin(round, client, (round - 1) * plan.steps)
            for step in range(min(plan.steps, most - len(noise))):
                [drawn] = dpsgd.draw(state.settings, state.where, step)
                drawn = drawn[drawn < count]
                seen = device.released(state, [batch_of(LARGE * privacy.clip_norm * own[drawn])])
                result = canaries.products(seen - own[drawn].sum(0))
                result[first + drawn] += 1.0
                products.append(np.concatenate([result[first : first + count], result[-HELD_OUT:]]))
                noise.append(state.settings.noise_multipliers[step])
        ratios = scores.poisson(np.array(products), np.array(noise)[:, None], plan.sampling_probability)
        inside.append(ratios[:count])
        outside.append(ratios[count:])
    return Scores(
        f"canary utterances of {'a pool' if pooled(world) else 'a device'} with {plan.utterances} over {most} steps",
        np.concatenate(inside),
        np.concatenate(outside),
        partial(scaled, charged(world, plan, most)),
        privacy.accountant or "rdp",
        EVERYBODY if pooled(world) else SERVER,
        "the noisy gradient of every step",
        "the canary, all other utterances and their draws, but not in which steps the canary is",
    )


def step_attack(world: World) -> Scores:
    """Return the scores of single steps in which all other utterances agree and one says the opposite."""
    privacy, plan = world.config.privacy, plan_of(world)
    device = Device(world, SMALL, plan)
    noise = example_level.noise_multipliers(world.config, plan, 0)[0]
    direction = clip_weights(SMALL, 1.0, privacy.clipping)
    bound, rng = privacy.clip_norm, world.rng(3)
    micro = privacy.micro_batches
    agreeing = 1 if micro else AGREEING
    result: dict[bool, list[float]] = {True: [], False: []}
    for number in range(world.repeats(RELEASES)):
        present = bool(rng.random() < 0.5)
        state = device.start((noise,), dpsgd.Where(device.source, number, 0))
        gradients = [direction * bound * (1.0 if micro else LARGE)] * agreeing
        if present:
            gradients = [*gradients, -LARGE * bound * direction]
        empty = [batch_of([])] * ((micro or 1) - 1)
        released = device.released(state, [batch_of(gradients), *empty])
        result[present].append(agreeing - float(released @ direction))

    def claim(factor: float) -> list[Event]:
        [event] = example_level.events((noise,), plan.sampling_probability, micro is not None)
        assert isinstance(event, PoissonGaussian)
        z = event.noise_multiplier * factor
        return [Gaussian(unit="example", noise_multiplier=z, sensitivity=event.sensitivity)]

    what = "turns the mean of its micro-batch over" if micro else "says the opposite"
    return Scores(
        f"one utterance that {what} in one step",
        np.array(result[True]),
        np.array(result[False]),
        claim,
        privacy.accountant or "rdp",
        EVERYBODY if pooled(world) else SERVER,
        "the noisy gradient of one step",
        "who is drawn",
        of_ledger=False,
    )
