"""Noise on the device: what protects a user from the server, which sees each update.

The update is clipped as the server would clip it, and Gaussian noise is added before it leaves the device. The noise
of all devices adds up in the mean, so that equal privacy costs far more accuracy than with noise on the sum.
"""

from __future__ import annotations

import numpy as np
from flwr.app import Context, Message, MessageType, RecordDict

from fedasr.config import Config
from fedasr.experiment import experiment
from fedasr.flower.records import array_record, arrays_of
from fedasr.flower.typing import ClientAppCallable
from fedasr.models.weights import Layout
from fedasr.privacy.events import Gaussian
from fedasr.privacy.randomness import Randomness, with_normal
from fedasr.privacy.update_clipping import Clip
from fedasr.protocol import Metric, NoParticipationLeft, Record

from ..privacy_ledger import opened
from ..speech import read_order

UNPROTECTED = (Metric.TRAIN_LOSS, Metric.LOSS_SQUARE, Metric.UTTERANCES, Metric.SKIPPED)
"""What a reply says of the speech beside the update."""


def device_noise(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Clip the update of a training reply and add noise to it, where ``privacy.noise_at`` is ``device``."""
    if message.metadata.message_type.split(".")[0] != MessageType.TRAIN:
        return call_next(message, context)
    order = read_order(message, context)
    config = experiment(order.config_json).config
    if config.privacy.unit != "user" or config.privacy.noise_at != "device":
        return call_next(message, context)
    if not pay_for_a_turn(context, config, order.round):
        return Message(RecordDict({NoParticipationLeft.RECORD: NoParticipationLeft().to_record()}), reply_to=message)
    reply = call_next(message, context)
    if not reply.has_error():
        protect(message, reply, config, order.round, order.client)
    return reply


def pay_for_a_turn(context: Context, config: Config, round: int) -> bool:
    """Charge the device's own ledger for one noisy update, before it is made; False: it allows no more of them."""
    assert config.privacy.noise_multiplier is not None
    participation = Gaussian(unit="user", adjacency="zero-out", noise_multiplier=config.privacy.noise_multiplier)
    with opened(context, config) as ledger:
        if not ledger.affords([participation]):
            return False
        ledger.charge([participation], 1, round)
    return True


def protect(message: Message, reply: Message, config: Config, round: int, client: int) -> None:
    """Replace the weights of a reply by the global ones plus the clipped update and noise; leave out the losses.

    Weights that are not finite count as no update: that there was none must not show either.

    Raises:
        ValueError: the weights are not those of the model.
    """
    sent, trained = arrays_of(message), arrays_of(reply)
    layout = Layout.of(sent)
    start = layout.flatten(sent, np.empty(layout.size, np.float32))
    update = layout.flatten(trained, np.empty(layout.size, np.float32)) - start
    if not np.isfinite(update).all():
        update[:] = 0
    privacy = config.privacy
    Clip(layout, privacy.clip_norm, privacy.clipping).apply(update)
    assert privacy.noise_multiplier is not None
    # A secret source is drawn for each answer: two never have the same noise.
    source = Randomness.of(privacy.secret_noise, config.seed)
    noisy = with_normal(
        update,
        privacy.noise_multiplier * privacy.clip_norm,
        source.normal(layout.size, "device-noise", round, client),
    )
    reply.content[Record.ARRAYS] = array_record(layout.views((start + noisy).astype(np.float32)))
    metrics = reply.content[Record.METRICS]
    for name in UNPROTECTED:
        metrics.pop(name, None)
