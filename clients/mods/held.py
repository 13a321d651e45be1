"""The model that a device holds: it adds the differences that it is sent, and keeps the result for the next message.

A grid of a simulation puts the model into the message itself, and only counts the differences: a thousand simulated
devices would keep a thousand copies of one model.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message

from fedasr.codecs import make_codec
from fedasr.codecs.differences import added
from fedasr.errors import InputError
from fedasr.experiment import experiment
from fedasr.flower.records import array_record, arrays_of, numpy_arrays, shallow_copy
from fedasr.flower.typing import ClientAppCallable
from fedasr.models.weights import Arrays, Layout
from fedasr.protocol import Key, ModelNumber, Record

from ..speech import read_order


def held(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Put the model into a message that has none, and keep it.

    Raises:
        InputError: the differences are from a model that the device does not hold.
        ValueError: they are damaged.
    """
    if Record.MODEL not in message.content:
        return call_next(message, context)
    sent = ModelNumber.of(message)
    if sent.base is not None:
        content = shallow_copy(message.content)
        content[Record.ARRAYS] = array_record(dict(rebuilt(message, context, sent.base)))
        message.content = content
    # The record is nobody else's, and says itself how it is serialised.
    context.state[Record.HELD] = cast(ArrayRecord, message.content[Record.ARRAYS])
    context.state[Record.HELD_NUMBER] = ConfigRecord({Key.NUMBER: sent.number})
    return call_next(message, context)


def rebuilt(message: Message, context: Context, base: int) -> Arrays:
    """Return the model that the differences of a message lead to; errors as ``held``."""
    there = cast(ConfigRecord, context.state[Record.HELD_NUMBER]) if Record.HELD_NUMBER in context.state else {}
    if there.get(Key.NUMBER) != base:
        raise InputError(
            f"the device does not hold model {base}, which the message's differences are from; it will be sent the"
            " whole next time"
        )
    arrays = numpy_arrays(cast(ArrayRecord, context.state[Record.HELD]))
    layout = Layout.of(arrays)
    codec = make_codec(experiment(read_order(message, context).config_json).config.compression, layout, "down")
    model = layout.flatten(arrays, np.empty(layout.size, np.float32))
    differences = arrays_of(message, Record.DIFFERENCES)
    for number in sorted(differences, key=int):
        model = added(codec, model, differences[number].tobytes())
    return layout.views(model)
