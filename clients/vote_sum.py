"""A teacher's votes as its part of a secure sum: masked whole numbers with its share of the noise, and nothing else."""

from __future__ import annotations

from flwr.app import ArrayRecord, Context, Message

from fedasr.flower.records import array_record
from fedasr.protocol import Masking, Name, VoteOrder
from fedasr.secure.modulus import pack, wrapped
from fedasr.secure.terms import VOTES, round_of_votes

from .secure import masked
from .speech import Device
from .teacher import Votes


def summed(device: Device, votes: Votes, message: Message, context: Context) -> ArrayRecord:
    """Return what a teacher sends to be summed.

    Args:
        device: at work on a message.
        votes: whole numbers with its share of the noise, shape ``(questions, classes)``.
        message: what asks for them.
        context: of the device.

    Raises:
        InputError: the message does not say how they are masked.
        Aborted: the masks would not hide them.
    """
    secure, masking = device.experiment.config.secure_aggregation, Masking.of(message)
    values = wrapped(votes.reshape(-1), secure.bits)
    if secure.mode == "protocol":
        values = masked(message, context, values, masking, VOTES, round_of_votes(VoteOrder.of(message).number))
    return array_record({Name.ENCODED: pack(values, secure.bits)})
