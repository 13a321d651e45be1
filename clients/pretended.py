"""A client app that trains nothing and answers with what a client would send: how large that is can be measured.

The update is random; everything that makes a message of it (noise, codec, secure aggregation, ledger) is that of
``client_app``.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedasr import seeds
from fedasr.experiment import experiment
from fedasr.flower.records import array_record, arrays_of
from fedasr.models.weights import Layout
from fedasr.privacy.example_level import Plan
from fedasr.protocol import Record, Stored, Trained

from .client_app import AnyRecord, answer
from .mods.compressed import compressed
from .mods.covered import covered
from .mods.device_noise import device_noise
from .mods.secured import secured
from .own_labels import Counts
from .private_training import pay_for_a_round
from .speech import read_order

NORM, UTTERANCES = "update-norm", "utterances"
"""Keys of the node configuration: how long the update is (L2), and how much a device stores."""

app = ClientApp(mods=[covered, secured, compressed, device_noise])


@app.train()
def train_action(message: Message, context: Context) -> Message:
    """Reply with the weights plus a random update, and with all else that a client says."""
    order = read_order(message, context)
    config = experiment(order.config_json).config
    layout = Layout.of(arrays_of(message))
    start = layout.flatten(arrays_of(message), np.empty(layout.size, np.float32))
    drawn = seeds.generator(config.seed, "pretended-update", order.round, order.client)
    update = drawn.standard_normal(layout.size, np.float32)
    update *= np.float32(float(context.node_config[NORM])) / np.linalg.norm(update)
    content: dict[str, AnyRecord] = {Record.ARRAYS: array_record(layout.views(start + update))}
    if Record.CONTROL in message.content:
        content[Record.CONTROL] = array_record(layout.views(update))
    examples = int(context.node_config[UTTERANCES])
    if config.privacy.unit == "example":
        _, statement = pay_for_a_round(config, Plan.of(config, examples), context, order.round)
        content |= {Record.METRICS: Stored(examples).to_record(), Record.PRIVACY: statement.to_record()}
    else:
        counts = (examples,) * len(fields(Counts)) if config.client.labels in ("self", "feedback") else ()
        content[Record.METRICS] = Trained(examples, 1, 1.0, 1.0, 1, examples, 0, 1.0, *counts).to_record()
    return answer(message, content)
