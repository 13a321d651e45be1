"""What the votes of a teacher cost its device: each answered question, whatever the votes were.

A device knows its own vote alone, so it charges what holds for any votes. Where a trusted server adds the noise, the
votes leave in the clear; the device then charges what the config says will be released of them, by a server that it
cannot check, and the ledger counts how often it was asked.
"""

from __future__ import annotations

import hashlib
import json
from math import sqrt

import numpy as np
from flwr.app import Context, Message

from fedasr.config import Config
from fedasr.config.schema import PateConfig
from fedasr.errors import InputError
from fedasr.flower.records import arrays_of
from fedasr.privacy.events import Event, Gaussian, Laplace
from fedasr.privacy.pate.noise import LAPLACE
from fedasr.protocol import Key, Record, VoteOrder
from fedasr.secure.votes import VoteCoder

from .privacy_ledger import opened
from .speech import Device

ASKED = (Key.START, Key.UNIT, Key.INTERNAL_LM, Key.CLASSES, Key.NUMBER, Key.TEACHERS)
"""What of an order an answer depends on, beside the config and the arrays."""


def price(pate: PateConfig, questions: int) -> list[Event]:
    """Return what so many answers cost a teacher, whatever the votes.

    A teacher that votes otherwise moves two counts by one: √2 in L2, and with Laplace noise twice the cost of one
    count. A check for consensus sees the largest count, which moves by one.
    """
    who = {"unit": "teacher", "adjacency": "replace-one"}
    if not questions:
        return []
    if pate.mechanism in LAPLACE:
        return [Laplace(scale=pate.scale, steps=2 * questions, **who)]
    events: list[Event] = [Gaussian(noise_multiplier=pate.scale, sensitivity=sqrt(2.0), steps=questions, **who)]
    if pate.threshold_scale is not None:
        events.append(Gaussian(noise_multiplier=pate.threshold_scale, sensitivity=1.0, steps=questions, **who))
    return events


def price_in_sum(config: Config, teachers: int, questions: int) -> list[Event]:
    """Return what so many answers cost a teacher of which the server sees the sum of all alone.

    Args:
        config: of the run.
        teachers: whose answers are summed, as the server says; noise and grid of the answer follow from it.
        questions: how many.
    """
    return [VoteCoder.of(config, teachers).event(questions)] if questions else []


def pay_for_votes(device: Device, message: Message, context: Context, questions: int) -> None:
    """Charge the device's ledger for its answers to a message, before they leave.

    Raises:
        InputError: the budget does not allow them.
    """
    config = device.experiment.config
    at_teachers = config.pate.noise_at == "teachers"
    # The same bits once more tell nothing new: a resumed run asks again, and its noise is the same. In another sum they
    # would tell more, and the noise is new.
    in_sum = config.secure_aggregation.mode != "none"
    digest = digest_of(device, message) if at_teachers and not in_sum else ""
    teachers = VoteOrder.of(message).teachers
    due = price_in_sum(config, teachers, questions) if in_sum else price(config.pate, questions)
    with opened(context, config) as ledger:
        if digest and ledger.answered == digest:
            return
        # How far a trusted server goes follows from the votes or from its own count, which a device does not know.
        if at_teachers and not ledger.affords(due):
            raise InputError(
                f"the privacy ledger of '{device.name}' does not allow {questions} more votes within ε ="
                f" {config.privacy.epsilon}; it answers no further question of this run"
            )
        ledger.charge(due, 1, device.round, digest)


def digest_of(device: Device, message: Message) -> str:
    """Return a digest of all that an answer depends on, but for the device's own speech and secret."""
    order = VoteOrder.of(message).values()
    facts = [device.config_json, *(order[name] for name in ASKED)]
    digest = hashlib.blake2b(json.dumps(facts).encode(), digest_size=16)
    for record in (Record.SPEECH, Record.QUESTIONS):
        for name, array in sorted(arrays_of(message, record).items()):
            digest.update(f"{name}{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
