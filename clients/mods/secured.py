"""Secure aggregation: an update leaves the device as whole numbers under masks, and nothing else of a reply does.

In a run that only simulates it there are no masks. With ``privacy.noise_at: shares`` the update is clipped and has the
device's share of the noise, which its own ledger has paid for.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from flwr.app import Context, Message, MessageType, RecordDict

from fedasr.config import Config
from fedasr.experiment import experiment
from fedasr.flower.records import array_record, arrays_of, entries
from fedasr.flower.typing import ClientAppCallable
from fedasr.models.weights import Layout, Vector
from fedasr.privacy.events import Event
from fedasr.privacy.onlookers import noise_place
from fedasr.privacy.update_clipping import Clip
from fedasr.protocol import Masking, Metric, Name, NoParticipationLeft, Record
from fedasr.secure.coders import Counts, ShareCoder, make_coder, skellam_event
from fedasr.secure.modulus import Residues, pack

from ..privacy_ledger import opened
from ..secure import masked
from ..speech import read_order


def secured(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Replace the weights and metrics of a training reply by whole numbers, where ``secure_aggregation`` says so.

    Raises:
        ValueError: the update is not finite, or the weights are not those of the model.
        Aborted: the masks would not hide it.
    """
    if message.metadata.message_type != MessageType.TRAIN:
        return call_next(message, context)
    order = read_order(message, context)
    config = experiment(order.config_json).config
    if config.secure_aggregation.mode == "none":
        return call_next(message, context)
    sent = arrays_of(message)
    layout = Layout.of(sent)
    shares = config.privacy.unit == "user" and config.privacy.noise_at == "shares"
    if shares and not pay(context, config, skellam_event(config, layout.size), order.round):
        return Message(RecordDict({NoParticipationLeft.RECORD: NoParticipationLeft().to_record()}), reply_to=message)
    reply = call_next(message, context)
    if reply.has_error() or Record.ARRAYS not in reply.content:
        return reply
    start = layout.flatten(sent, np.empty(layout.size, np.float32))
    with np.errstate(over="ignore", invalid="ignore"):
        update = layout.flatten(arrays_of(reply), np.empty(layout.size, np.float32)) - start
    metrics = entries(reply.content.pop(Record.METRICS))
    if not shares and not np.isfinite(update).all():
        raise ValueError("the update holds values that are not finite (is 'client.learning_rate' too high?)")
    masking = Masking.of(message)
    if shares:
        values = with_share(update, config, layout, order.round, order.client)
    else:
        coder = make_coder(config, layout.size, masking.cohort, masking.largest)
        values = coder.encode(update, counts_of(metrics, config), order.round, order.client)
    if config.secure_aggregation.mode == "protocol":
        values = masked(message, context, values, masking)
    sum_part = pack(values, config.secure_aggregation.bits)
    reply.content[Record.ARRAYS] = array_record({Name.ENCODED: sum_part})
    return reply


def pay(context: Context, config: Config, event: Event, round: int) -> bool:
    """Charge the device's own ledger for one participation, before anything is sent; False: it allows no more."""
    with opened(context, config) as ledger:
        if not ledger.affords([event]):
            return False
        ledger.charge([event], 1, round)
    return True


def with_share(update: Vector, config: Config, layout: Layout, round: int, client: int) -> Residues:
    """Return an update, clipped in place, with the client's share of the noise, as whole numbers.

    One that is not finite counts as none: that there was none must not show.
    """
    if not np.isfinite(update).all():
        update[:] = 0
    Clip(layout, config.privacy.clip_norm, config.privacy.clipping).apply(update)
    return ShareCoder(config, layout.size).encode(update, Counts(weight=1), round, client)


def counts_of(metrics: dict[str, Any], config: Config) -> Counts:
    """Return what is summed beside the update: in a private run nothing that its ε does not cover."""
    examples = int(metrics[Metric.EXAMPLES])
    if noise_place(config) != "none":
        return Counts(examples if config.strategy.weighting == "examples" else 1, examples)
    milliseconds, loss = int(metrics[Metric.AUDIO]), float(metrics[Metric.TRAIN_LOSS])
    weight = {"examples": examples, "seconds": milliseconds}.get(config.strategy.weighting, 1)
    heard = examples if math.isfinite(loss) else 0
    total = round(1000 * max(0.0, loss) * examples) if heard else 0
    return Counts(weight, examples, milliseconds, heard, total)
