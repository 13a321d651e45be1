"""The client app on Flower's own runtimes, where an edge device must not tell its errors to the server."""

from __future__ import annotations

import json
import sys

from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp

from fedasr.config import load
from fedasr.edge.policy import REFUSES, PolicyRefused, read_policy
from fedasr.errors import InputError, one_line
from fedasr.privacy.example_level import Plan, events, noise_multipliers
from fedasr.protocol import Code, EdgeNode, Kind, Order
from fedasr.runtime.answering import AnsweringApp

from ..privacy_ledger import opened
from .activity import note_activity
from .edge_device import EdgeDevice, find_edge_device
from .policy import check_order, in_time

UNTOLD = "the edge device could not do it; its own log says why"
"""What the server is told: an error names files, transcripts and lines of a manifest. What the policy of the device
refuses is told as it is, for that names what the server asked."""


class EdgeApp(AnsweringApp):
    """Answers as ``AnsweringApp`` in a simulation; on a device it keeps errors at home and counts what was done."""

    def __init__(self, app: ClientApp) -> None:
        super().__init__(app)

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer a message."""
        edge_device = find_edge_device(context)
        if edge_device is None:
            return super().__call__(message, context)
        try:
            policy = read_policy(edge_device.policy)
            with in_time(policy.seconds):
                check_order(edge_device, policy, message)
                reply = super().__call__(message, context)
        except InputError as error:
            return failed(message, str(error))
        except Exception as error:  # a message that nobody expected: nothing was done, and nothing is told
            return failed(message, f"{type(error).__name__}: {error}")
        if reply.has_error():
            return failed(message, str(reply.error.reason))
        try:
            check_budget(edge_device, context, message, reply)
        except PolicyRefused as refused:
            return failed(message, str(refused))
        try:
            note_activity(edge_device, message, reply)
        except (OSError, InputError) as error:
            # Counts are for the owner of the device; the answer is done, and in a private run paid for.
            print(f"the activity of this edge device was not counted: {error}", file=sys.stderr, flush=True)
        return reply


def failed(message: Message, reason: str) -> Message:
    """Return the answer to a message that failed: why is for the device's log, but what its policy refuses is told."""
    shown = "\n".join(map(one_line, reason.splitlines()))
    print(f"{one_line(message.metadata.message_type)}: {shown}", file=sys.stderr, flush=True)
    told = one_line(reason) if reason.startswith(REFUSES) else UNTOLD
    return Message(Error(Code.CLIENT_FAILED, told), reply_to=message)


def check_budget(edge_device: EdgeDevice, context: Context, message: Message, reply: Message) -> None:
    """Raise where the device says what it holds for a run of which its owner allows not even the next round.

    Raises:
        PolicyRefused: with what it would cost.
    """
    if message.metadata.message_type != Kind.DESCRIBE:
        return
    config = load(json.loads(edge_device.config(Order.of(message).experiment)))
    utterances = EdgeNode.of(reply, "the edge device").utterances
    if config.privacy.unit != "example" or not utterances:
        return
    plan = Plan.of(config, utterances)
    try:
        with opened(context, config) as ledger:
            noise = noise_multipliers(config, plan, ledger.steps)
            after = ledger.after(events(noise, plan.sampling_probability, config.privacy.micro_batches is not None))
            refused = ledger.book.refusal(after)
    except PolicyRefused:
        raise
    except InputError:  # it is damaged: training says so, and does nothing
        return
    if refused is not None:
        raise refused
