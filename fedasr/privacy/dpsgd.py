"""DP-SGD on a client (Abadi et al. 2016, arXiv 1607.00133), as ``init``, ``step`` and ``final`` of local training.

A step draws each stored utterance with probability q on its own, clips every utterance's gradient, adds Gaussian noise
to the sum and divides by the expected batch, q·N, which does not depend on the draw. A draw of nobody is a step too.

The other mode is that of eDP-SGD (Dupuy et al. 2022, arXiv 2107.14586): the drawn utterances fall into micro-batches,
and the mean gradient of each is clipped. One utterance can turn a clipped mean from +C to −C, so the sum changes by up
to 2C; ``Release.sensitivity_factor`` says so to the ledger.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from fedasr.config.schema import ClientConfig
from fedasr.data.batches import Batch
from fedasr.errors import InputError
from fedasr.models.dropout import per_utterance
from fedasr.models.weights import Arrays
from fedasr.privacy.checks import count, fraction, within
from fedasr.privacy.gradients.bookkeeping import BookKeeper
from fedasr.privacy.gradients.clipping import Clipping, square_norms
from fedasr.privacy.gradients.compiled import Kernels
from fedasr.privacy.randomness import Randomness, with_normal
from fedasr.training import local
from fedasr.typing import Floats

ROUNDED_UP = 1 + 2.0**-15
"""By what a squared norm is taken to be larger than measured: norms, factors and products are rounded to float32, and a
contribution must not exceed the bound for that."""


class Where(NamedTuple):
    """What the draws of a client's round are a function of, with the number of the step.

    Noise is only as secret as its source: whoever knows it can take the noise off. A simulation may publish its seed; a
    device draws a secret for every round that it is asked for, so that no two answers have the same noise.
    """

    source: Randomness | int
    """an integer is the public source of that seed"""
    round: int
    client: int

    @property
    def randomness(self) -> Randomness:
        """The source."""
        return Randomness.public(self.source) if isinstance(self.source, int) else self.source


class Release(NamedTuple):
    """What a ledger needs to know about steps that ran.

    ``noise_multiplier`` is the noise's standard deviation in clipping bounds, ``sensitivity_factor`` how many bounds
    one utterance more or less can move the sum: an accountant's z is their ratio.
    """

    noise_multiplier: float
    sampling_probability: float
    steps: int
    sensitivity_factor: float


@dataclass(frozen=True)
class PrivateTraining:
    """The mechanism of one client's round.

    Args:
        clipping: how an utterance's (or a micro-batch's) gradient is bounded.
        noise_multipliers: z of each step, one a step; they may differ (``decaying``).
        sampling_probability: q, of each stored utterance in each step.
        utterances: N, stored by the client; taken as public, as everywhere in this literature.
        micro_batches: G micro-batches a step, whose means are clipped; None: each utterance is.
        physical_batch: utterances computed at a time, which bounds the memory and changes nothing else; None: all.

    Raises:
        InputError: a number is out of its range.
    """

    clipping: Clipping
    noise_multipliers: tuple[float, ...]
    sampling_probability: float
    utterances: int
    micro_batches: int | None = None
    physical_batch: int | None = None

    def __post_init__(self) -> None:
        for z in self.noise_multipliers:
            if z != 0:  # no noise is for experiments; the ledger makes it infinite
                within("noise_multiplier", z, 0.0, float("inf"), "a number, at least 0")
        fraction("sampling_probability", self.sampling_probability)
        count("utterances", self.utterances, low=1)
        for name in ("micro_batches", "physical_batch"):
            if getattr(self, name) is not None:
                count(name, getattr(self, name), low=1)

    @property
    def denominator(self) -> float:
        """What the noisy sum is divided by: the expected batch q·N, or the number of micro-batches."""
        return self.micro_batches or self.sampling_probability * self.utterances

    @property
    def sensitivity_factor(self) -> float:
        """By how many clipping bounds one utterance more or less moves the sum."""
        return 1.0 if self.micro_batches is None else 2.0


def decaying(noise_multiplier: float, decay: float, steps: int, steps_per_epoch: int, done: int = 0) -> list[float]:
    """Return the noise multipliers of the next steps: the first one times ``decay`` after each pass (eDP-SGD).

    Steps of different noise compose one by one; their mean says nothing about the privacy that they cost.

    Args:
        noise_multiplier: of the first pass.
        decay: at most 1.
        steps: how many to return.
        steps_per_epoch: steps of a pass, 1/q.
        done: steps before them, in earlier rounds.
    """
    count("steps_per_epoch", steps_per_epoch, low=1)
    fraction("decay", decay)
    return [noise_multiplier * decay ** (number // steps_per_epoch) for number in range(done, done + steps)]


def draw(settings: PrivateTraining, where: Where, step: int) -> list[npt.NDArray[np.int64]]:
    """Return who takes part in a step, as positions among the client's utterances: one batch, or all micro-batches.

    Each utterance is drawn, and falls into a micro-batch, on its own: nobody's presence changes where others fall.
    Filling micro-batches in turn would, and one utterance less would move all that come after it.

    Args:
        settings: ``sampling_probability``, ``utterances`` and ``micro_batches``.
        where: source, round and client.
        step: counted from 0 within the round.
    """
    source, place = where.randomness, (where.round, where.client, step)
    drawn = source.generator("dp-sgd batch", *place).random(settings.utterances) < settings.sampling_probability
    if settings.micro_batches is None:
        return [np.flatnonzero(drawn)]
    # From a generator of their own: after the draws above, groups would depend on how many utterances there are.
    groups = source.generator("dp-sgd micro-batches", *place)
    group = groups.integers(settings.micro_batches, size=settings.utterances)
    return [np.flatnonzero(drawn & (group == number)) for number in range(settings.micro_batches)]


@dataclass(kw_only=True)
class PrivateState(local.LocalState):
    """A client's private training in progress."""

    keeper: BookKeeper
    settings: PrivateTraining
    where: Where
    released: list[Release] = field(default_factory=list)


def init(
    keeper: BookKeeper,
    resident: local.Resident,
    arrays: Arrays,
    config: ClientConfig,
    learning_rate: float,
    settings: PrivateTraining,
    where: Where,
) -> PrivateState:
    """Start from the global weights.

    Args:
        keeper: of the resident's model; made once a process, like the resident.
        resident: the model.
        arrays: the global weights.
        config: the optimiser and FedProx; ``clip_norm`` is not read, the clipping is that of ``settings``.
        learning_rate: of this round.
        settings: the mechanism.
        where: source, round and client.
    """
    begun = local.init(resident, arrays, config, learning_rate)
    return PrivateState(
        resident=resident,
        config=config,
        learning_rate=learning_rate,
        optimizer=begun.optimizer,
        anchor=begun.anchor,
        keeper=keeper,
        settings=settings,
        where=where,
    )


def step(state: PrivateState, batches: Iterable[Batch]) -> None:
    """Train on the utterances of one draw; none at all is a step of noise alone.

    What comes after the noise (FedProx, momentum, weight decay) reads no speech and costs no privacy.

    Args:
        state: the training in progress.
        batches: of ``draw``, in its order. Where each utterance is clipped, any batches that hold the drawn utterances
            once; with micro-batches, one batch each, empty ones too.

    Raises:
        InputError: ``settings`` has noise multipliers for fewer steps.
    """
    settings, resident = state.settings, state.resident
    if state.steps >= len(settings.noise_multipliers):
        given = len(settings.noise_multipliers)
        raise InputError(f"step {state.steps + 1} of a round with {given} noise multipliers; give one a step")
    z = settings.noise_multipliers[state.steps]
    gradient = resident.gradient.zero_()
    add = add_clipped_samples if settings.micro_batches is None else add_clipped_mean
    with torch.no_grad():
        total = gradient if settings.micro_batches is None else torch.zeros_like(gradient)
    for batch in batches:
        if len(batch):
            add(state, batch, total)
    with torch.no_grad():
        if z:
            # On the CPU and in float64, whatever the device; what is rounded to float32 has its noise.
            drawn = noise(len(total), state.where, state.steps, state.keeper.compiled)
            noisy = with_normal(total.cpu().numpy(), z * settings.clipping.bound, drawn)
            total.copy_(torch.from_numpy(noisy))
        total.div_(settings.denominator)
        if state.anchor is not None:
            total.add_(resident.parameters - state.anchor, alpha=state.config.proximal)
        state.optimizer.step(resident.parameters, total, state.learning_rate)
    state.steps += 1
    before = state.released.pop() if state.released and state.released[-1].noise_multiplier == z else None
    steps = 1 if before is None else before.steps + 1
    state.released.append(Release(z, settings.sampling_probability, steps, settings.sensitivity_factor))


def add_clipped_samples(state: PrivateState, batch: Batch, total: torch.Tensor) -> None:
    """Add every utterance's clipped gradient to ``total``, flat."""
    for part in split(batch, state.settings.physical_batch):
        with own_draws(state, part):
            gradients = state.keeper.gradients(partial(local.normalised_loss, state.resident.model, part))
        gradients.add_weighted_sum(state.settings.clipping.factors(gradients.square_norms * ROUNDED_UP), total)
        note(state, part, gradients.losses)


def add_clipped_mean(state: PrivateState, batch: Batch, total: torch.Tensor) -> None:
    """Add the clipped mean gradient of a micro-batch to ``total``, flat; one that is not finite adds nothing."""
    resident, layout = state.resident, state.resident.layout
    gradient = resident.gradient.zero_()
    for part in split(batch, state.settings.physical_batch):
        with own_draws(state, part):
            losses = local.normalised_loss(resident.model, part)
        (losses.sum() / len(batch)).backward()  # type: ignore[no-untyped-call]
        note(state, part, losses.detach())
    with torch.no_grad():
        squares = square_norms(gradient, layout.slices)
        if not torch.isfinite(squares).all():
            return
        factors = state.settings.clipping.factors(squares * ROUNDED_UP)
        if factors.dim() == 1:
            total.add_(gradient * factors)
        else:
            for part_of, factor in zip(layout.slices, factors[0], strict=True):
                total[part_of].add_(gradient[part_of] * factor)


def note(state: PrivateState, batch: Batch, losses: torch.Tensor) -> None:
    """Count what was trained on."""
    state.loss += float(losses.sum())
    state.loss_square += float(torch.dot(losses, losses))
    state.utterances += len(batch)
    state.seconds += batch.seconds


def noise(scalars: int, where: Where, step: int, compiled: Kernels | None = None) -> Floats:
    """Return standard normal noise ``(scalars,)``, float64, a function of the source, the round, client and step.

    With ``compiled`` it is the same, and sooner there.
    """
    place = (where.round, where.client, step)
    if compiled is None:
        return where.randomness.normal(scalars, "dp-sgd noise", *place)
    return where.randomness.normal(scalars, "dp-sgd noise", *place, quick=compiled.normals)


@contextmanager
def own_draws(state: PrivateState, batch: Batch) -> Iterator[None]:
    """Inside the block, a forward pass, what an utterance draws follows from the source, the step and itself alone.

    Neither the place in the batch nor the number of a row counts: with one utterance less, others would have another.

    Raises:
        InputError: the model draws from a generator that the utterances of the batch share.
    """
    where = state.where
    step = where.randomness.derived("dp-sgd utterance", where.round, where.client, state.steps)
    sources: dict[int, Randomness] = {}

    def fill(out: memoryview, row: int, number: int) -> None:
        if row not in sources:
            sources[row] = step.derived("content", identity(batch, row))
        sources[row].fill(out, "dropout", number)

    before = shared_generators(batch) if state.steps == 0 else []  # a layer that draws does in the first step too
    with per_utterance(fill):
        yield
    if before and not all(map(torch.equal, before, shared_generators(batch))):
        raise InputError(
            "the model draws random numbers that the utterances of a batch share, so that one utterance moves the"
            " others; in private training draw with fedasr.models.dropout"
        )


def identity(batch: Batch, row: int) -> int:
    """Return a number of an utterance's own: of its frames and tokens, whatever stands beside and behind them."""
    frames = batch.features[row, : int(batch.feature_lengths[row])].cpu().numpy()
    tokens = batch.targets[row, : int(batch.target_lengths[row])].cpu().numpy()
    digest = hashlib.blake2b(frames.tobytes(), digest_size=15)
    digest.update(tokens.tobytes())
    return int.from_bytes(digest.digest(), "little")


def shared_generators(batch: Batch) -> list[torch.Tensor]:
    """Return the states of torch's own generators, of the CPU and of the batch's device."""
    device = batch.features.device
    states = [torch.random.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return states


def split(batch: Batch, size: int | None) -> Iterator[Batch]:
    """Yield the batch in parts of at most ``size`` utterances, each padded no further than its longest."""
    if size is None or len(batch) <= size:
        yield batch
        return
    for start in range(0, len(batch), size):
        part = slice(start, start + size)
        lengths, tokens = batch.feature_lengths[part], batch.target_lengths[part]
        yield Batch(
            batch.features[part, : int(lengths.max())],
            lengths,
            batch.targets[part, : max(1, int(tokens.max()))],
            tokens,
            batch.seconds * len(lengths) / len(batch),
            batch.indices[part],
        )


def final(state: PrivateState) -> tuple[dict[str, npt.NDArray[np.float32]], local.LocalResult, tuple[Release, ...]]:
    """Return the trained weights, what was seen on the way, and what to tell the ledger.

    The weights are what the mechanism protects. The losses and counts of ``LocalResult`` are not noised: they are for
    the eyes of who runs a simulation, and no part of the guarantee.
    """
    return *local.final(state), tuple(state.released)
