"""Nothing but what an ε covers leaves a device: it refuses to be asked for more, and its replies say no more.

A config decides what is private, and the server sends it; but whoever writes the server's half of a run, by a selector
with questions of its own or in another way, gets no loss and no error rate of a device that the run's noise protects.
"""

from __future__ import annotations

from flwr.app import Context, Message

from fedasr.errors import InputError
from fedasr.experiment import experiment
from fedasr.flower.records import entries
from fedasr.flower.typing import ClientAppCallable
from fedasr.privacy.onlookers import is_asked, noise_place
from fedasr.protocol import Kind, Metric, Record

from ..speech import read_order

TOLD = {"device": (Metric.EXAMPLES,), "teacher": ()}
"""The metrics of a reply: how much a device stores, where the ledger takes that to be public. Not how long it took,
which follows from what was drawn, and not how long its speech is."""
RECORDS = (Record.ARRAYS, Record.METRICS, Record.VOTES, Record.PRIVACY, Record.SECURE)


def covered(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Answer what a private run may ask, and leave out of the reply what its ε does not cover.

    Raises:
        InputError: the message asks for something else.
    """
    kind = message.metadata.message_type
    if kind == Kind.DESCRIBE:
        return call_next(message, context)
    config = experiment(read_order(message, context).config_json).config
    place = noise_place(config)
    if not is_asked(config, kind):
        raise InputError(
            f"the server asks for '{kind}', whose answer no ε of this run covers (privacy.unit is"
            f" '{config.privacy.unit}'); nothing was told"
        )
    reply = call_next(message, context)
    if place in TOLD and not reply.has_error():
        for name in [name for name in reply.content if name not in RECORDS]:
            del reply.content[name]
        if Record.METRICS in reply.content:
            metrics = entries(reply.content[Record.METRICS])
            for name in [name for name in metrics if name not in TOLD[place]]:
                del metrics[name]
    return reply
