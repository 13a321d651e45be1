"""Few bytes up: the update of a training reply is encoded last of all, after clipping and noise.

What was not sent is kept in the client's own state, where the codec has error feedback: it comes and goes with the
state of the round, so that a client that fails, and a run that is resumed, go on from what the server has seen.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MessageType

from fedasr import seeds
from fedasr.codecs import keeps_residual, make_codec, send
from fedasr.config import Config
from fedasr.experiment import experiment
from fedasr.flower.records import array_record, arrays_of, numpy_arrays
from fedasr.flower.typing import ClientAppCallable
from fedasr.models.weights import Layout, Vector
from fedasr.protocol import Key, Name, Record

from ..speech import read_order


def compressed(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Replace the weights of a training reply by the encoded update, where ``compression.up`` says how.

    Raises:
        ValueError: the update is not finite, or the weights are not those of the model.
    """
    if message.metadata.message_type != MessageType.TRAIN:
        return call_next(message, context)
    order = read_order(message, context)
    config = experiment(order.config_json).config
    if config.compression.up == "none":
        return call_next(message, context)
    reply = call_next(message, context)
    if reply.has_error() or Record.ARRAYS not in reply.content:
        return reply
    sent = arrays_of(message)
    layout = Layout.of(sent)
    start = layout.flatten(sent, np.empty(layout.size, np.float32))
    with np.errstate(over="ignore", invalid="ignore"):
        update = layout.flatten(arrays_of(reply), np.empty(layout.size, np.float32)) - start
    content = encoded(config, layout, update, context, order.round, order.client)
    reply.content[Record.ARRAYS] = array_record({Name.ENCODED: np.frombuffer(content, np.uint8)})
    return reply


def encoded(config: Config, layout: Layout, update: Vector, context: Context, round: int, client: int) -> bytes:
    """Return an update, and what was kept of earlier ones, as bytes; note in the state what is kept of both.

    Raises:
        ValueError: it is not finite.
    """
    if not np.isfinite(update).all():
        raise ValueError("the update holds values that are not finite (is 'client.learning_rate' too high?)")
    codec = make_codec(config.compression, layout)
    rng = seeds.generator(config.seed, "compression", round, client)
    if not keeps_residual(config.compression, codec.traits):
        return send(codec, update, None, rng, False)[0]
    content, kept = send(codec, update, residual(context, config.compression.decay, round), rng, True)
    assert kept is not None
    context.state[Record.RESIDUAL] = array_record({Name.RESIDUAL: kept})
    context.state[Record.RESIDUAL_ROUND] = ConfigRecord({Key.ROUND: round})
    return content


def residual(context: Context, decay: float, round: int) -> Vector | None:
    """Return what is left of the update that a client has not sent; None: nothing.

    Args:
        context: of the client.
        decay: what is left after each round that passed without the client.
        round: the current one.
    """
    if Record.RESIDUAL not in context.state:
        return None
    kept = numpy_arrays(cast(ArrayRecord, context.state[Record.RESIDUAL]))[Name.RESIDUAL]
    before = int(cast(ConfigRecord, context.state[Record.RESIDUAL_ROUND])[Key.ROUND])  # type: ignore[arg-type]
    return np.float32(decay ** max(0, round - before - 1)) * kept
