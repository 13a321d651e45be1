"""The Flower ``ClientApp``: what a device does with a message, in simulation and on an edge device."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedasr import __version__
from fedasr.errors import InputError
from fedasr.evaluation.calibration import Calibration
from fedasr.flower.records import array_record, arrays_of
from fedasr.privacy.onlookers import noise_place
from fedasr.protocol import (
    SERVER,
    ConfigValues,
    EdgeNode,
    EstimateOrder,
    Evaluated,
    Key,
    Kind,
    Loss,
    LossOrder,
    Name,
    Record,
    SimulatedNode,
    Stored,
    Taught,
    Trained,
    action,
)

from .control_variates import control_variate
from .edge.app import EdgeApp
from .edge.edge_device import find_edge_device
from .estimate import counted, heard_on
from .estimate_sum import summed
from .mods.byzantine import byzantine
from .mods.compressed import compressed
from .mods.covered import covered
from .mods.device_noise import device_noise
from .mods.held import held
from .mods.secured import secured
from .own_labels import Lesson, lesson_of
from .private_training import train_privately
from .secure import advertise, share, unmask
from .speech import Device, find_device
from .store import find_store
from .teacher import teach, vote
from .trainer import evaluate_globally, global_loss, rate_of, resident, train
from .vote_ledger import pay_for_votes
from .vote_sum import summed as summed_votes

AnyRecord = ArrayRecord | MetricRecord | ConfigRecord
app = ClientApp(mods=[held, covered, secured, compressed, byzantine, device_noise])
flower_app = EdgeApp(app)
"""The same for Flower's own runtimes and for edge devices: a failure is answered, not raised."""


@app.train()
def train_action(message: Message, context: Context) -> Message:
    """Train on the device's speech; reply with the new weights and what was done."""
    started = time.perf_counter()
    device = find_device(message, context)
    if device.experiment.config.privacy.unit == "example":
        return private_reply(device, message, context)
    lesson = taught_by(device, message, context)
    control = control_variate(message, context, device.experiment.config)
    correction = None if control is None else control.correction
    arrays, result, skipped = train(device, arrays_of(message), lesson, correction)
    # Speech that nobody may train on counts for nothing; what had no label this time is stored all the same.
    held = lesson if device.experiment.config.client.labels == "none" else device
    done = Trained(
        examples=len(held.rows),
        audio_milliseconds=round(1000 * float(held.seconds.sum(dtype="float64"))),
        train_loss=float(result.train_loss),
        loss_square=float(result.loss_square),
        steps=result.steps,
        utterances=result.utterances,
        skipped=skipped,
        seconds=time.perf_counter() - started,
        **({} if lesson.counts is None else asdict(lesson.counts)),
    )
    content: dict[str, AnyRecord] = {Record.ARRAYS: array_record(arrays), Record.METRICS: done.to_record()}
    if control is not None:
        content[Record.CONTROL] = control.renew(arrays, result.steps, rate_of(device))
    return answer(message, content)


def taught_by(device: Device, message: Message, context: Context) -> Lesson:
    """Return what the device trains on: its transcripts, or labels that the message's teacher makes."""
    teacher = arrays_of(message, Record.TEACHER) if Record.TEACHER in message.content else None
    return lesson_of(device, resident(device.config_json), arrays_of(message), teacher, context)


def private_reply(device: Device, message: Message, context: Context) -> Message:
    """Train with DP-SGD and reply with nothing but what it protects, or that the device's budget is spent."""
    lesson = taught_by(device, message, context)
    done = train_privately(device, arrays_of(message), lesson, context)
    content: dict[str, AnyRecord] = {
        Record.METRICS: Stored(len(device.rows)).to_record(),
        Record.PRIVACY: done.statement.to_record(),
    }
    if done.arrays is not None:
        content[Record.ARRAYS] = array_record(done.arrays)
    return answer(message, content)


@app.train(action(Kind.TEACH))
def teacher_action(message: Message, context: Context) -> Message:
    """Train the device's teacher from the public initial model and keep it; reply only that it has learnt.

    Noise on votes covers nothing else: not how much speech there is, or how much of it could not be decoded.
    """
    teach(find_device(message, context), arrays_of(message), find_store(context))
    return answer(message, {Record.METRICS: Taught().to_record()})


@app.query(action(Kind.VOTE))
def votes_action(message: Message, context: Context) -> Message:
    """Let the device's teacher vote on public speech.

    Under secure aggregation with whole numbers, whose sum over teachers alone the server reads.
    """
    device = find_device(message, context)
    votes = vote(device, message, find_store(context))
    pay_for_votes(device, message, context, len(votes))
    if device.experiment.config.secure_aggregation.mode != "none":
        return answer(message, {Record.VOTES: summed_votes(device, votes, message, context)})
    return answer(message, {Record.VOTES: array_record({Name.VOTES: votes})})


@app.evaluate()
def evaluate_action(message: Message, context: Context) -> Message:
    """Evaluate the global model on the device's speech; reply with counts, which add up, not with rates."""
    device = find_device(message, context)
    evaluation = evaluate_globally(device, arrays_of(message))
    counts = Evaluated(
        examples=evaluation.errors.utterances,
        loss=float(evaluation.loss),
        words=evaluation.errors.words,
        word_errors=evaluation.errors.word_errors,
        characters=evaluation.errors.characters,
        character_errors=evaluation.errors.character_errors,
    )
    return answer(message, {Record.METRICS: counts.to_record()})


@app.query(action(Kind.LOSS))
def loss_action(message: Message, context: Context) -> Message:
    """Say how large the loss of the global model is on the device's speech: all of it, or one batch."""
    device = find_device(message, context)
    loss = global_loss(device, arrays_of(message), LossOrder.of(message).batch)
    return answer(message, {Record.METRICS: Loss(loss).to_record()})


@app.query(action(Kind.ESTIMATE))
def estimate_action(message: Message, context: Context) -> Message:
    """Count the errors that the global model is expected to make on the device's speech; reply with sums.

    Under secure aggregation with whole numbers, whose sum over devices alone the server reads.
    """
    device = find_device(message, context)
    try:
        calibration = Calibration.from_json(EstimateOrder.of(message).calibration)
    except ValueError as error:
        raise InputError(f"'{Key.CALIBRATION}' is {error}", where=SERVER) from None
    heard, scale = heard_on(device, resident(device.config_json), arrays_of(message), calibration, context)
    if device.experiment.config.secure_aggregation.mode != "none":
        return answer(message, {Record.COUNTED: summed(device, heard, scale, message, context)})
    return answer(message, {Record.COUNTED: counted(device, heard, scale).to_record()})


@app.query(action(Kind.KEYS))
def keys_action(message: Message, context: Context) -> Message:
    """Advertise the device's keys of a round of secure aggregation."""
    return answer(message, {Record.SECURE: advertise(message, context).to_record()})


@app.query(action(Kind.SHARES))
def shares_action(message: Message, context: Context) -> Message:
    """Share the secrets of the round with the device's neighbours."""
    return answer(message, {Record.SECURE: share(message, context).to_record()})


@app.query(action(Kind.UNMASK))
def unmask_action(message: Message, context: Context) -> Message:
    """Open shares, so that the masks of the round come off its sum."""
    return answer(message, {Record.SECURE: unmask(message, context).to_record()})


@app.query(action(Kind.DESCRIBE))
def describe_action(message: Message, context: Context) -> Message:
    """Say which partition this node is, since Flower's node ids do not tell; a device says how much speech it holds."""
    if find_edge_device(context) is None:
        node: ConfigValues = SimulatedNode(int(context.node_config[Key.PARTITION]))
    else:
        device = find_device(message, context)
        place = noise_place(device.experiment.config)
        # Where noise protects from the server, how many utterances there are may be public; of how long they are it
        # learns what it knows: no longer than its own config lets one be.
        utterances = 0 if place == "teacher" else len(device.rows)
        longest = device.experiment.config.data.max_seconds
        told = place in ("none", "server")
        seconds = float(device.seconds.sum(dtype="float64")) if told else float(longest * utterances)
        node = EdgeNode(utterances, seconds, __version__)
    return answer(message, {Record.NODE: node.to_record()})


def answer(message: Message, records: Mapping[str, AnyRecord]) -> Message:
    """Return the reply to a message."""
    return Message(RecordDict(dict(records)), reply_to=message)
