"""The Flower ``ClientApp``: what a device does with a message, in simulation and on an edge box."""

from __future__ import annotations

import time

from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedasr import __version__
from fedasr.flower.records import array_record, arrays_of, values_of
from fedasr.privacy.onlookers import noise_place

from .account import RECORD
from .edge.app import BoxApp
from .edge.box import find_box
from .mods.byzantine import byzantine
from .mods.covered import covered
from .mods.device_noise import device_noise
from .private_training import train_privately
from .speech import Device, find_device
from .store import find_store
from .teacher import teach, vote
from .trainer import evaluate_globally, global_loss, train
from .vote_account import pay_for_votes

app = ClientApp(mods=[covered, byzantine, device_noise])
flower_app = BoxApp(app)
"""The same for Flower's own runtimes and for boxes: a failure is answered, not raised."""


@app.train()
def train_action(message: Message, context: Context) -> Message:
    """Train on the device's speech; reply with the new weights and what was done."""
    started = time.perf_counter()
    device = find_device(message, context)
    if device.experiment.config.privacy.unit == "example":
        return private_reply(device, message, context)
    arrays, result, skipped = train(device, arrays_of(message))
    metrics = MetricRecord(
        {
            "num-examples": len(device.rows),
            "audio-milliseconds": round(1000 * float(device.seconds.sum(dtype="float64"))),
            "train-loss": float(result.train_loss),
            "loss-square": float(result.loss_square),
            "steps": result.steps,
            "utterances": result.utterances,
            "skipped": skipped,
            "seconds": time.perf_counter() - started,
        }
    )
    return Message(RecordDict({"arrays": array_record(arrays), "metrics": metrics}), reply_to=message)


def private_reply(device: Device, message: Message, context: Context) -> Message:
    """Train with DP-SGD and reply with nothing but what it protects, or that the device's budget is spent."""
    done = train_privately(device, arrays_of(message), context)
    metrics = MetricRecord({"num-examples": len(device.rows)})
    content = RecordDict({"metrics": metrics, RECORD: done.statement})
    if done.arrays is not None:
        content["arrays"] = array_record(done.arrays)
    return Message(content, reply_to=message)


@app.train("teacher")
def teacher_action(message: Message, context: Context) -> Message:
    """Train the device's teacher from the public start and keep it; reply only that it has learnt.

    Noise on votes covers nothing else: not how much speech there is, or how much of it could not be decoded.
    """
    teach(find_device(message, context), arrays_of(message), find_store(context))
    return Message(RecordDict({"metrics": MetricRecord({})}), reply_to=message)


@app.query("votes")
def votes_action(message: Message, context: Context) -> Message:
    """Let the device's teacher vote on public speech."""
    device = find_device(message, context)
    votes = vote(device, message, find_store(context))
    pay_for_votes(device, message, context, len(votes))
    return Message(RecordDict({"votes": array_record({"votes": votes})}), reply_to=message)


@app.evaluate()
def evaluate_action(message: Message, context: Context) -> Message:
    """Evaluate the global model on the device's speech; reply with counts, which add up, not with rates."""
    device = find_device(message, context)
    found = evaluate_globally(device, arrays_of(message))
    metrics = MetricRecord(
        {
            "num-examples": found.errors.utterances,
            "loss": float(found.loss),
            "words": found.errors.words,
            "word-errors": found.errors.word_errors,
            "characters": found.errors.characters,
            "character-errors": found.errors.character_errors,
        }
    )
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


@app.query("loss")
def loss_action(message: Message, context: Context) -> Message:
    """Say how large the loss of the global model is on the device's speech: all of it, or one batch."""
    device = find_device(message, context)
    loss = global_loss(device, arrays_of(message), bool(values_of(message, "config")["batch"]))
    return Message(RecordDict({"metrics": MetricRecord({"loss": loss})}), reply_to=message)


@app.query("describe")
def describe_action(message: Message, context: Context) -> Message:
    """Say which partition this node is, since Flower's node ids do not tell; a box says how much speech it holds."""
    if find_box(context) is None:
        reply = ConfigRecord({"partition-id": int(context.node_config["partition-id"])})
    else:
        device = find_device(message, context)
        place = noise_place(device.experiment.config)
        # Where noise protects from the server, how many utterances there are may be public; of how long they are it
        # learns what it knows: no longer than its own config lets one be.
        utterances = 0 if place == "teacher" else len(device.rows)
        longest = device.experiment.config.data.max_seconds
        told = place in ("none", "server")
        seconds = float(device.seconds.sum(dtype="float64")) if told else float(longest * utterances)
        reply = ConfigRecord({"utterances": utterances, "seconds": seconds, "fedasr": __version__})
    return Message(RecordDict({"node": reply}), reply_to=message)
