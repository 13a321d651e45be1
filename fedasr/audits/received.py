"""What the server receives of a client's training: the config's own training, protection and codec, one update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fedasr import seeds
from fedasr.audits.device_protection import protected
from fedasr.audits.mechanism.parts import AGGREGATE, MECHANISM, POPULATION, WEIGHTING, part
from fedasr.audits.mechanism.users import no_losses
from fedasr.codecs import keeps_residual, make_codec, send
from fedasr.config import Config
from fedasr.data.batches import Batch
from fedasr.data.speech import collate
from fedasr.errors import InputError
from fedasr.experiment import as_json, experiment
from fedasr.flower.messages import assume_identity
from fedasr.models.weights import Arrays, Layout, Vector, load_arrays, model_arrays
from fedasr.privacy.update_clipping import Clip
from fedasr.runtime.launch import settle
from fedasr.secure.coders import Counts, make_coder
from fedasr.secure.modulus import wrapped
from fedasr.secure.terms import least_updates
from fedasr.training.batching import batches_of_a_round
from fedasr.training.schedules import learning_rate
from fedasr.typing import Floats, Integers

TRAIN = "fedasr.clients.trainer:train"
DEVICE = "fedasr.clients.speech:Device"


@dataclass(frozen=True)
class Update:
    """One client's update as the server decodes it, and the speech that is in it."""

    client: int
    round: int
    vector: Floats
    """shape ``(parameters,)``"""
    batches: tuple[Batch, ...]
    """of each local step; empty where they were not asked for"""


@dataclass(frozen=True)
class Received:
    """What an observer sees of one or more updates."""

    updates: tuple[Update, ...]
    vector: Floats
    """their sum, or what is released of it, shape ``(parameters,)``"""

    @property
    def batch(self) -> Batch:
        """All utterances that are in it, as one batch."""
        batches = [batch for update in self.updates for batch in update.batches]
        features: list[Vector] = []
        targets: list[Integers] = []
        rows: list[int] = []
        for batch in batches:
            for row in range(len(batch)):
                features.append(batch.features[row, : int(batch.feature_lengths[row])].numpy())
                targets.append(batch.targets[row, : int(batch.target_lengths[row])].numpy())
            rows.extend(batch.indices)
        return collate(features, targets, sum(batch.seconds for batch in batches), tuple(rows))

    @property
    def weights(self) -> torch.Tensor:
        """What each utterance's loss counts in the sum, shape ``(utterances,)``: a step takes its batch's mean."""
        sizes = [len(batch) for update in self.updates for batch in update.batches]
        return torch.cat([torch.full((size,), 1 / size) for size in sizes])


class Senders:
    """The clients of a config at work on given weights.

    Args:
        config: a checked one.
        weights: that the round starts from; None: the run's first.

    Raises:
        InputError: the speech, the seed model or the privacy of the config is wrong.
    """

    def __init__(self, config: Config, weights: Arrays | None = None) -> None:
        if config.client.labels != "truth":
            raise InputError(
                f"'client.labels' is '{config.client.labels}', and updates that clients make from labels of their own"
                " are not simulated here; set client.labels=truth to audit the worst case"
            )
        self.config = settle(config)
        self.json = as_json(self.config)
        self.experiment = experiment(self.json)
        self.arrays = self.experiment.first_weights() if weights is None else self._fitting(weights)
        self.layout = Layout.of(self.arrays)
        self.start: Vector = self.layout.flatten(self.arrays, np.empty(self.layout.size, np.float32))

    def _fitting(self, weights: Arrays) -> Arrays:
        """Return weights in the order of the model, which a file does not keep.

        Raises:
            InputError: they are those of another model.
        """
        model = self.experiment.model()
        try:
            load_arrays(model, self.experiment.shared(weights))
        except ValueError as error:
            raise InputError(f"{error}; the weights are those of another 'model': leave it as the run has it") from None
        return model_arrays(model)

    def __len__(self) -> int:
        """Return the number of clients."""
        return len(self.experiment.partition)

    def rate(self, round: int) -> float:
        """Return the local learning rate of a round."""
        return learning_rate(self.config.client, round, self.config.rounds)

    def holds(self, client: int, round: int) -> Integers:
        """Return the corpus rows that a client stores in a round."""
        return np.asarray(self.experiment.stored(client, min(round, self.config.rounds)), np.int64)

    def update(self, client: int, round: int, rows: Integers | None = None, *, speech: bool = True) -> Update:
        """Train one client and return its update as the server decodes it.

        Args:
            client: its number.
            round: counted from 1; every draw depends on it.
            rows: that it trains on; None: what it stores.
            speech: whether to say what it was trained on.
        """
        device = part(DEVICE)(
            client, round, self.json, self.experiment, self.holds(client, round) if rows is None else rows
        )
        trained, _, _ = part(TRAIN)(device, self.arrays)
        sent = self.layout.flatten(trained, np.empty(self.layout.size, np.float32)) - self.start
        privacy = self.config.privacy
        if privacy.unit == "user" and privacy.noise_at == "device":
            assume_identity()
            sent = protected(self.config, self.layout, self.start, sent, round, client)
        batches: tuple[Batch, ...] = ()
        if speech:
            rng = seeds.generator(self.config.seed, "local-training", round, client)
            plan = batches_of_a_round(device.rows, device.seconds, self.config.client, rng)
            batches = tuple(device.speech.batch(rows, rng) for rows in plan)
        return Update(client, round, self._decoded(sent, round, client), batches)

    def _decoded(self, update: Vector, round: int, client: int) -> Floats:
        """Return an update after the codec of the config, as on a client that takes part for the first time."""
        if self.config.compression.up == "none":
            return update.astype(np.float64)
        codec = make_codec(self.config.compression, self.layout)
        rng = seeds.generator(self.config.seed, "compression", round, client)
        content, _ = send(codec, update, None, rng, keeps_residual(self.config.compression, codec.traits))
        return codec.decode(content).astype(np.float64)

    def summed(self, updates: Sequence[Update], round: int) -> Floats:
        """Return the mean that a server decodes of masked updates: clipped, rounded, with shares of the noise.

        Every client counts once.
        """
        config = self.config
        coder = make_coder(config, self.layout.size, len(updates), 1)
        total = np.zeros(coder.length, np.int64)
        for update in updates:
            sent = update.vector.astype(np.float32)
            if config.privacy.noise_at == "shares":
                Clip(self.layout, config.privacy.clip_norm, config.privacy.clipping).apply(sent)
            total += coder.encode(sent, Counts(weight=1), round, update.client)
        mean, _ = coder.decode(wrapped(total, coder.bits), len(updates), round)
        return mean.astype(np.float64)

    def released(self, updates: Sequence[Update], round: int) -> Floats:
        """Return the mean of updates as the mechanism of the config releases it: clipped, and with noise."""
        registered = len(self)
        selector = part(POPULATION)(self.experiment, 0, 0, no_losses).selector
        mechanism = part(MECHANISM)(self.config, self.layout, registered, selector)
        weighting = part(WEIGHTING)(self.config, registered)
        mean = part(AGGREGATE)(self.config.strategy, self.layout, self.start, weighting, mechanism.clip(), None)
        for update in updates:
            mean.add(self.layout.views(self.start + update.vector.astype(np.float32)), 1)
        return np.asarray(mechanism.noisy(mean, round, registered), np.float64)


def one_sum(updates: Sequence[Update]) -> Received:
    """Return what a server receives of updates under secure aggregation; of one, the update itself."""
    total = np.sum([update.vector for update in updates], axis=0)
    return Received(tuple(updates), np.asarray(total, np.float64))


def cohort_of(config: Config, asked: int | None) -> int:
    """Return of how many clients a server sees the sum: of one without secure aggregation, unless more are asked for.

    Raises:
        InputError: it would be fewer than a sum is opened of, or none.
    """
    if asked is not None and asked < 1:
        raise InputError(f"'--cohort' is {asked}; expected a whole number of at least 1")
    if config.secure_aggregation.mode == "none":
        return asked or 1
    least = least_updates(config)
    if asked is not None and asked < least:
        raise InputError(f"'--cohort' is {asked}, but secure aggregation opens no sum of fewer than {least} clients")
    return asked or config.selection.clients_per_round


def altered(config: Config) -> str:
    """Return what happens to updates before the server reads them, in words; empty: nothing."""
    privacy, secure = config.privacy, config.secure_aggregation
    local = privacy.unit == "user" and privacy.noise_at == "device"
    shares = privacy.unit == "user" and privacy.noise_at == "shares"
    changes = [
        *([f"clipped to {privacy.clip_norm:g} and noisy"] if local else []),
        *([f"clipped to {privacy.clip_norm:g} with shares of the noise"] if shares else []),
        *([f"encoded by {config.compression.up}"] if config.compression.up != "none" else []),
        *([f"securely aggregated in {secure.bits} bits"] if secure.mode != "none" else []),
    ]
    return f" ({', '.join(changes)})" if changes else ""


def obstacle(config: Config, steps: int) -> str | None:
    """Return why an update is no gradient, which is what these attacks read; None: it is one.

    Args:
        config: a checked one.
        steps: that the client took.
    """
    if config.strategy.name in ("pate", "central"):
        return f"strategy.name is {config.strategy.name}: no client sends an update"
    if config.privacy.unit == "example":
        return "DP-SGD draws the utterances of its step and adds noise to it; no attack on such a step is built yet"
    if config.client.optimizer != "sgd":
        return f"client.optimizer is {config.client.optimizer}, whose step is not in proportion to the gradient"
    if steps > 1:
        return f"the update is the sum of {steps} local steps, of which only the first is a gradient at known weights"
    if steps == 0:
        return "the client took no step"
    return None
