"""What a device of a private run answers, and what it never tells, whoever asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict

from fedasr.clients.client_app import app
from fedasr.clients.mods.covered import covered
from fedasr.config import load
from fedasr.errors import InputError
from fedasr.experiment import as_json, experiment
from fedasr.flower.messages import RUN_ID, assume_identity
from fedasr.flower.records import array_record, values_of
from fedasr.protocol import Record

from .edge_devices import SuperLink, Town

BASE: dict[str, Any] = {
    "data": {
        "corpus": "synthetic",
        "synthetic": {"grammar": "words", "words": ["yes", "no"], "speakers": 3, "utterances_per_speaker": 3},
    },
    "model": {"channels": [8, 8], "hidden": 8},
    "client": {"optimizer": "sgd", "batch_size": 2},
}
NOISE = {"noise_multiplier": 1.0}
PUBLIC: dict[str, Any] = {}
USER_SERVER = {"privacy": {"unit": "user", **NOISE}, "strategy": {"weighting": "uniform"}}
USER_DEVICE = {"privacy": {"unit": "user", "noise_at": "device", **NOISE}, "strategy": {"weighting": "uniform"}}
EXAMPLE = {"privacy": {"unit": "example", **NOISE}}
TEACHER = {"strategy": {"name": "pate"}, "pate": {"scale": 2.0}}
QUESTIONS = ("train", "evaluate", "query.loss", "train.teacher", "query.votes")


def ask(kind: str, changes: dict[str, Any], folder: Path) -> Message:
    """Return a device's answer to a server that may ask anything."""
    assume_identity()
    run = experiment(as_json(load({**BASE, **changes})))
    order = ConfigRecord({"round": 1, "experiment": as_json(run.config), "batch": False})
    content = RecordDict({"config": order, "arrays": array_record(run.first_weights())})
    context = Context(RUN_ID, 0, {"partition-id": 0}, RecordDict(), {"client-store": str(folder)})
    return app(Message(content, 0, kind), context)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "answered"),
    [
        (USER_SERVER, {"train", "evaluate"}),
        (USER_DEVICE, {"train"}),
        (EXAMPLE, {"train"}),
        (TEACHER, {"train.teacher", "query.votes"}),
    ],
    ids=["user-server", "user-device", "example", "teacher"],
)
def test_what_no_noise_covers_is_refused_whoever_asks(
    changes: dict[str, Any], answered: set[str], tmp_path: Path
) -> None:
    """Losses, error rates, weights without noise, and votes of a teacher that a run has not."""
    for kind in set(QUESTIONS) - answered:
        with pytest.raises(InputError, match=rf"asks for '{kind}', whose answer no ε of this run covers"):
            ask(kind, changes, tmp_path)


@pytest.mark.thorough
def test_losses_and_error_rates_are_told_where_nothing_is_private(tmp_path: Path) -> None:
    assert values_of(ask("query.loss", PUBLIC, tmp_path), "metrics")["loss"] > 0
    assert values_of(ask("evaluate", PUBLIC, tmp_path), "metrics")["words"] > 0
    assert values_of(ask("evaluate", USER_SERVER, tmp_path), "metrics")["words"] > 0


@pytest.mark.thorough
@pytest.mark.parametrize("changes", [USER_DEVICE, EXAMPLE], ids=["user-device", "example"])
def test_a_private_reply_tells_neither_time_nor_audio_nor_what_was_drawn(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    reply = ask("train", changes, tmp_path)
    assert set(values_of(reply, "metrics")) == {"num-examples"}
    assert set(reply.content) <= {"arrays", "metrics", "privacy"}


@pytest.mark.thorough
def test_a_teacher_says_only_that_it_has_learnt(tmp_path: Path) -> None:
    for _ in ("learns", "has learnt"):
        reply = ask("train.teacher", TEACHER, tmp_path)
        assert set(reply.content) == {"metrics"}
        assert not values_of(reply, "metrics")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("privacy", "seconds"),
    [
        ({"unit": "none"}, 1.5),
        ({"unit": "example", **NOISE, "secret_noise": True}, 60.0),
        ({"unit": "user", "noise_at": "device", **NOISE, "secret_noise": True}, 60.0),
    ],
    ids=["public", "example", "user-device"],
)
def test_a_private_edge_device_does_not_say_how_long_its_speech_is(
    privacy: dict[str, Any], seconds: float, tmp_path: Path
) -> None:
    """It may say how many utterances it holds; of each, no more than the config says of all."""
    town = Town(tmp_path)
    weights = {"strategy__weighting": "uniform"} if privacy["unit"] == "user" else {}
    config = load(
        town.config(town.server, runtime__name="deployment", privacy=privacy, data__max_seconds=20, **weights)
    )
    assume_identity()
    order = ConfigRecord({"round": 1, "experiment": as_json(config)})
    address = ConfigRecord({"client": 0, "name": "anna"})
    grid = SuperLink(town.folders)
    node = next(node for node, name in grid.edge_devices.items() if name == "anna")
    reply = app(
        Message(RecordDict({"config": order, Record.ADDRESS: address}), node, "query.describe"), grid.context(node)
    )
    told = values_of(reply, "node")
    assert (told["utterances"], told["seconds"]) == (3, seconds)


def test_what_another_part_adds_to_a_reply_does_not_leave(tmp_path: Path) -> None:
    def talkative(message: Message, context: Context) -> Message:
        metrics = MetricRecord({"num-examples": 3, "train-loss": 2.0, "mine": 1.0})
        more = array_record({"embedding": np.zeros(2, np.float32)})
        return Message(RecordDict({"metrics": metrics, "embedding": more}), reply_to=message)

    assume_identity()
    for changes, told in ((PUBLIC, {"metrics", "embedding"}), (EXAMPLE, {"metrics"})):
        order = ConfigRecord({"round": 1, "experiment": as_json(load({**BASE, **changes}))})
        context = Context(RUN_ID, 0, {"partition-id": 0}, RecordDict(), {})
        reply = covered(Message(RecordDict({"config": order}), 0, "train"), context, talkative)
        assert set(reply.content) == told
