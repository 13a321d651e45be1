"""A hostile server before an edge device: what the policy of its owner refuses, before anything private is read."""

from __future__ import annotations

import json
import site
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict

from fedasr.clients.client_app import flower_app
from fedasr.clients.edge.app import UNTOLD
from fedasr.clients.edge.edge_device import EdgeDevice
from fedasr.clients.edge.policy import charged_since, in_time
from fedasr.config import load, to_dict
from fedasr.edge.policy import REFUSES, PolicyRefused
from fedasr.errors import InputError
from fedasr.flower.messages import RUN_ID, assume_identity
from fedasr.flower.records import values_of
from fedasr.privacy.events import PoissonGaussian
from fedasr.privacy.ledger import Ledger
from fedasr.protocol import Record

from .edge_devices import OPEN, record
from .edge_devices import manifest as write_manifest

GOOD = {
    "privacy": {"unit": "example", "noise_multiplier": 1.0, "secret_noise": True},
    "client": {"optimizer": "sgd", "steps": 1},
    "model": {"encoder": "lstm", "channels": [8, 8], "hidden": 8},
    "runtime": {"name": "deployment"},
}
"""What an edge device with safe rules takes part in."""
PLAIN: dict[str, Any] = {**GOOD, "privacy": {}}
VOTES = {
    "strategy": {"name": "pate"},
    "client": {"optimizer": "sgd"},
    "privacy": {"unit": "teacher", "secret_noise": True},
    "pate": {"mechanism": "gnmax", "scale": 10.0, "candidates": ["one", "two"]},
}
SHARES = {
    "privacy": {"unit": "user", "noise_at": "shares", "noise_multiplier": 2.0, "secret_noise": True},
    "secure_aggregation": {"mode": "protocol"},
    "strategy": {"weighting": "uniform"},
    "runtime": {},  # with edge devices it is refused, and what is sent says nothing of it
}


@pytest.fixture
def edge_device(tmp_path: Path) -> EdgeDevice:
    """An edge device with three recordings and no policy: the safe rules hold."""
    folder = tmp_path / "box"
    write_manifest(folder / "manifest.csv", record(folder, range(3), 0), ("path", "speaker", "text"))
    return EdgeDevice("ben", folder, folder / "manifest.csv")


def allow(edge_device: EdgeDevice, **rules: Any) -> None:
    edge_device.policy.write_text(json.dumps(rules))


def tree(**changes: Any) -> dict[str, Any]:
    """Return a sound config as the server sends it, sections replaced, keys of a dotted name changed."""
    sections = {name: value for name, value in changes.items() if "__" not in name}
    result = to_dict(load({**GOOD, **sections}))
    for name, value in changes.items():
        if "__" in name:
            node = result
            *path, last = name.split("__")
            for step in path:
                node = node[step]
            node[last] = value
    return result


def ask(
    edge_device: EdgeDevice, kind: str, sent: dict[str, Any] | str, arrays: dict[str, Any] | None = None, **order: Any
) -> Message:
    """Let an edge device answer a message and return the reply."""
    assume_identity()
    text = sent if isinstance(sent, str) else json.dumps(sent)
    content = RecordDict({"config": ConfigRecord({"round": 1, "experiment": text, **order})})
    content[Record.ADDRESS] = ConfigRecord({"client": 0, "name": "ben"})
    for name, held in (arrays or {}).items():
        content[name] = ArrayRecord({key: Array(np.asarray(value)) for key, value in held.items()})
    return flower_app(
        Message(content, 5, kind), Context(RUN_ID, 5, {"name": "ben", "data": str(edge_device.data)}, RecordDict(), {})
    )


def refusal(reply: Message) -> str:
    """Return what the server is told of a refusal."""
    assert reply.has_error(), "the edge device has answered"
    assert reply.error.reason.startswith(REFUSES), reply.error.reason
    return str(reply.error.reason).removeprefix(REFUSES)


@pytest.mark.thorough
def test_a_private_run_is_answered(edge_device: EdgeDevice) -> None:
    assert values_of(ask(edge_device, "query.describe", tree()), "node")["utterances"] == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"privacy": {}}, "unit is none; allowed is a run with noise that this edge device adds (privacy: device)"),
        ({"privacy__noise_multiplier": 1e-5}, "privacy.noise_multiplier is 1e-05; allowed is at least 0.5"),
        ({"privacy__noise_multiplier": 1e-10}, "the run's config is wrong: config: 'privacy.noise_multiplier' is"),
        ({"privacy__secret_noise": False}, "privacy.secret_noise is false; allowed is true"),
        ({"privacy__delta": 0.09}, "privacy.delta is 0.09; allowed is at most 1e-05"),
        ({"privacy__epsilon": 523.0}, "privacy.epsilon is 523.0; allowed is at most 8"),
        ({"privacy__clip_norm": 1e-30}, "privacy.clip_norm is 1e-30; allowed is 1e-06 to 1e+06"),
        ({"privacy__clip_norm": 1e30}, "privacy.clip_norm is 1e+30"),
        ({"client__steps": 10**9}, "client.steps is 1e+09; allowed is at most 5000"),
        ({"client__epochs": 10**9}, "client.epochs is 1e+09; allowed is at most 20"),
        ({"client__batch_size": 10**9}, "client.batch_size is 1e+09; allowed is at most 128"),
        ({"evaluate__beam": 10**9}, "evaluate.beam is 1e+09"),
        ({"model__hidden": 10**6}, "parameters; allowed is at most 30,000,000"),
        ({"model__hidden": 10**12}, "the model is "),
        ({"model__layers": 10**9}, "model.layers is 1e+09"),
        ({"model__channels": [8] * 500, "model__strides": [1] * 500}, "model.channels is 500"),
        ({"data__augment__time_masks": 10**15}, "data.augment.time_masks is 1e+15"),
        ({"privacy": {"unit": "user", "noise_multiplier": 2.0, "secret_noise": True},
          "strategy": {"weighting": "uniform"}, "selection": {"name": "poisson"}},
         "privacy.unit is user with noise at the server"),
        (SHARES, "privacy.unit is user with noise at the shares; allowed is a run with noise that this edge"),
        (VOTES, "privacy.unit is teacher; allowed is a run with noise that this edge device adds"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ",
)  # fmt: skip
def test_what_asks_for_too_much_is_refused_by_safe_rules(
    changes: dict[str, Any], said: str, edge_device: EdgeDevice, capfd: pytest.CaptureFixture[str]
) -> None:
    edge_device.manifest.unlink()  # nothing private is read before
    reply = ask(edge_device, "train", tree(**changes))
    assert said in refusal(reply)
    assert capfd.readouterr().err.splitlines() == [f"train: {REFUSES}{refusal(reply)}"]


def test_a_run_is_refused_before_the_edge_device_says_what_it_holds(edge_device: EdgeDevice) -> None:
    assert "privacy.unit is none" in refusal(ask(edge_device, "query.describe", tree(privacy={})))


@pytest.mark.thorough
def test_one_round_that_costs_too_much_is_refused(edge_device: EdgeDevice) -> None:
    """ε is in the hundreds with much noise too, if there are steps enough and every utterance is in each."""
    costly = tree(client__steps=5000, client__batch_size=3, privacy__noise_multiplier=0.5)
    said = refusal(ask(edge_device, "query.describe", costly))
    assert said.endswith("after this round; allowed is at most 8 (epsilon_per_run)")
    assert float(said.split()[2]) > 500


@pytest.mark.parametrize("kind", ["query.keys", "query.shares", "query.unmask"])
def test_an_owner_may_take_no_part_in_secure_aggregation(kind: str, edge_device: EdgeDevice) -> None:
    allow(edge_device, privacy="server", messages=["query.describe", "train"])
    assert f"a message '{kind}' is asked" in refusal(ask(edge_device, kind, tree(**SHARES)))
    allow(edge_device, privacy="server")
    assert ask(edge_device, kind, tree(**SHARES)).has_error(), "it knows no other device"


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["evaluate", "query.loss"])
def test_transcripts_are_no_oracle(kind: str, edge_device: EdgeDevice) -> None:
    """By `evaluate` with a vocabulary of guesses a server reads what was said; safe rules answer neither."""
    assert f"a message '{kind}' is asked" in refusal(ask(edge_device, kind, tree(), batch=True))
    allow(edge_device, **OPEN)
    assert "asked in a run of privacy.unit=example" in refusal(ask(edge_device, kind, tree(), batch=True))


@pytest.mark.slow
def test_counts_by_alphabets_of_the_servers_choice_come_to_an_end(edge_device: EdgeDevice) -> None:
    """How many transcripts fit an alphabet tells of their letters: a server may try a few, then no more."""
    allow(edge_device, filters=2)
    for alphabet in ("latin", "chars:abcdefghijklmnopqrstuvwxyz ", "latin"):
        assert not ask(edge_device, "query.describe", tree(model__alphabet=alphabet)).has_error()
    assert "at most 2 different ones" in refusal(ask(edge_device, "query.describe", tree(model__alphabet="chars:ewt ")))
    assert "at most 2 different ones" in refusal(ask(edge_device, "query.describe", tree(data__min_seconds=0.4)))


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["train", "train.other", "query", "query.votes.more", "system"])
def test_a_kind_that_is_not_allowed_is_refused(kind: str, edge_device: EdgeDevice) -> None:
    allow(edge_device, messages=["query.describe"])
    try:
        reply = ask(edge_device, kind, tree())
    except ValueError:  # Flower's own
        return
    assert "allowed is query.describe" in refusal(reply)


@pytest.mark.thorough
def test_a_teacher_is_not_trained_under_another_name(edge_device: EdgeDevice) -> None:
    """`train` in a run of PATE would send the teacher's weights, without noise."""
    allow(edge_device, privacy="server")
    assert "privacy.unit is teacher; allowed" in refusal(ask(edge_device, "train", tree(**VOTES)))
    assert "privacy.unit is example; allowed" in refusal(ask(edge_device, "query.votes", tree()))


def speech(questions: int) -> dict[str, Any]:
    lengths = np.full(questions, 4, np.int64)
    return {
        "speech": {"lengths": lengths, "frames": np.zeros((4 * questions, 40), np.float32)},
        "questions": {"tokens": np.array([1, 2]), "lengths": np.array([1, 1])},
    }


def asked(unit: str = "utterance", **more: Any) -> dict[str, Any]:
    return {"unit": unit, "start": "a", "classes": 2, "number": 0, "teachers": 3, "internal_lm": 0.0, **more}


@pytest.mark.thorough
def test_votes_are_counted_for_life(edge_device: EdgeDevice) -> None:
    allow(edge_device, privacy="server", pate_queries=5)
    sent = tree(**VOTES)
    first = ask(edge_device, "query.votes", sent, speech(3), **asked())
    assert first.error.reason == UNTOLD  # it has no teacher; the question counts
    assert "votes is 3 more after 3; allowed is at most 5" in refusal(
        ask(edge_device, "query.votes", sent, speech(3), **asked())
    )
    other = tree(**{**VOTES, "seed": 7})
    assert "votes is 3 more after 3" in refusal(ask(edge_device, "query.votes", other, speech(3), **asked()))


@pytest.mark.thorough
def test_votes_other_than_the_run_has_them_are_refused(edge_device: EdgeDevice) -> None:
    allow(edge_device, privacy="server")
    pate = VOTES["pate"]
    assert isinstance(pate, dict)
    soft = tree(**{**VOTES, "pate": {**pate, "mechanism": "soft-gaussian"}})
    assert "pate.mechanism is soft-gaussian" in refusal(ask(edge_device, "query.votes", soft, speech(1), **asked()))
    faint = tree(**{**VOTES, "pate": {**pate, "scale": 1e-6}})
    assert "pate.scale is 1e-06" in refusal(ask(edge_device, "query.votes", faint, speech(1), **asked()))
    sent = tree(**VOTES)
    assert "the unit of a vote is frame" in refusal(ask(edge_device, "query.votes", sent, speech(1), **asked("frame")))
    huge = asked(classes=10**12)
    assert "the number of answers" in refusal(ask(edge_device, "query.votes", sent, speech(1), **huge))


@pytest.mark.thorough
@pytest.mark.parametrize(
    "told",
    [
        '"${oc.env:HOME}"',
        '"\\u0024{oc.env:HOME}"',
        '"\\u0024\\u007boc.env:HOME}"',
        '"chars:\\u0024{data.manifest}"',
        '["latin", "\\u0024{oc.env:HOME}"]',
        '{"\\u0024{oc.env:HOME}": 1}',
    ],
)
def test_an_edge_device_resolves_nothing_for_its_server_whatever_the_escapes(
    told: str, edge_device: EdgeDevice, capfd: pytest.CaptureFixture[str]
) -> None:
    sent = json.dumps(tree(model__alphabet="HERE")).replace('"HERE"', told)
    assert ask(edge_device, "query.describe", sent).error.reason == UNTOLD
    assert "has an interpolation" in capfd.readouterr().err


@pytest.mark.thorough
def test_no_code_of_the_server_is_loaded(edge_device: EdgeDevice) -> None:
    """Its selector stays with it; every other reference is dropped or refused."""
    sent = tree(selection__name="os:getcwd", data__partition__name="os:getcwd", pate__public__corpus="os:getcwd")
    assert "os:getcwd" not in edge_device.config(json.dumps(sent))
    assert not ask(edge_device, "query.describe", sent).has_error()


def test_work_that_takes_too_long_is_ended(edge_device: EdgeDevice) -> None:
    def work(seconds: float) -> None:
        with in_time(seconds):
            time.sleep(0.2)

    with pytest.raises(PolicyRefused, match=r"longer than 0\.05 s"):
        work(0.05)
    work(30)


def test_a_damaged_policy_answers_nothing(edge_device: EdgeDevice, capfd: pytest.CaptureFixture[str]) -> None:
    edge_device.policy.write_text("privcy: none\n")
    assert ask(edge_device, "query.describe", tree()).error.reason == UNTOLD
    assert "unknown rule 'privcy' (did you mean 'privacy'?)" in capfd.readouterr().err


def test_what_came_to_a_ledger_is_told_apart() -> None:
    def event(steps: int) -> PoissonGaussian:
        return PoissonGaussian(unit="example", noise_multiplier=1.0, sampling_probability=0.5, steps=steps)

    ledger = Ledger("rdp")
    ledger.charge(event(3), released="update", population=5, round=1, seen_by="server")
    before = ledger.state_dict()
    ledger.charge(event(4), released="update", population=5, round=2, seen_by="server")
    ledger.charge(event(4), released="update", population=6, round=3, seen_by="server")
    assert [entry.event.steps for entry in charged_since(before, ledger)] == [4, 4]
    assert [entry.event.steps for entry in charged_since(None, ledger)] == [7, 4]


def test_a_config_without_end_is_refused(edge_device: EdgeDevice) -> None:
    with pytest.raises(InputError, match="more than 20,000 values"):
        edge_device.config(json.dumps({"model": {"channels": [8] * 30_000}}))
    with pytest.raises(InputError, match="more than 1,000,000 characters"):
        edge_device.config(json.dumps({"name": "a" * 10**6}))


@pytest.mark.parametrize("text", ["3", "null", "[]", '"a"', "", "{" * 100_000])
def test_what_is_no_config_is_refused(text: str, edge_device: EdgeDevice) -> None:
    with pytest.raises(InputError, match="the server sent no config"):
        edge_device.config(text)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which packages are installed, with one that has a model, and has imported something for itself."""
    folder = tmp_path / "site-packages"
    (folder / "speechlab").mkdir(parents=True)
    (folder / "speechlab" / "__init__.py").write_text("")
    (folder / "speechlab" / "models.py").write_text(OWN_MODEL)
    monkeypatch.setattr(site, "USER_SITE", str(folder))
    monkeypatch.syspath_prepend(folder)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "speechlab"]:
        del sys.modules[name]


OWN_MODEL = """\
from os import system

from torch import nn


class Linear(nn.Module):
    def __init__(self, mel_bins, vocabulary_size, width=4):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(mel_bins, width), nn.Linear(width, vocabulary_size))

    def forward(self, features, lengths):
        return self.layers(features).log_softmax(2), lengths
"""
OWN = {"model__name": "speechlab.models:Linear", "model__options": {"width": 8}}


@pytest.mark.thorough
def test_a_part_of_an_installed_module_that_its_owner_lists_is_run(edge_device: EdgeDevice, installed: Path) -> None:
    allow(edge_device, modules=["speechlab.models"])
    assert values_of(ask(edge_device, "query.describe", tree(**OWN)), "node")["utterances"] == 3


def test_nothing_is_imported_that_its_owner_does_not_list(edge_device: EdgeDevice, installed: Path) -> None:
    said = (
        "model.name is speechlab.models:Linear; allowed is what FedASR has: an edge device loads no code for its server"
    )
    assert refusal(ask(edge_device, "query.describe", tree(**OWN))) == said
    allow(edge_device, modules=["speechlab", "elsewhere"])
    assert "allowed is a part of speechlab, elsewhere (modules)" in refusal(
        ask(edge_device, "query.describe", tree(**OWN))
    )
    assert "speechlab" not in sys.modules


@pytest.mark.parametrize("name", ["system", "nn.Linear", "nn.functional.relu"])
def test_what_a_listed_module_has_imported_is_none_of_its_parts(
    name: str, edge_device: EdgeDevice, installed: Path
) -> None:
    allow(edge_device, modules=["speechlab.models"])
    sent = tree(
        model__name=f"speechlab.models:{name}", model__options={"command": f"touch {edge_device.data / 'taken'}"}
    )
    assert refusal(ask(edge_device, "query.describe", sent)).endswith(
        "allowed is a class or function that speechlab.models defines"
    )
    assert not (edge_device.data / "taken").exists()


def test_a_listed_module_that_is_not_installed_is_refused(
    edge_device: EdgeDevice, installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever lies on the path, such as an app that a server has sent."""
    installed.rename(tmp_path / "app")
    monkeypatch.syspath_prepend(tmp_path / "app")
    allow(edge_device, modules=["speechlab.models"])
    said = refusal(ask(edge_device, "query.describe", tree(**OWN)))
    assert said.endswith("allowed is a part of a package that is installed on the edge device")


@pytest.mark.thorough
@pytest.mark.parametrize("key", ["client_app", "strategy__name", "strategy__aggregation"])
def test_parts_that_are_not_of_an_edge_device_are_dropped_or_refused(
    key: str, edge_device: EdgeDevice, installed: Path
) -> None:
    allow(edge_device, modules=["speechlab.models"])
    sent = tree()
    section, _, name = key.rpartition("__")
    (sent[section] if section else sent)[name] = "speechlab.models:Linear"
    reply = ask(edge_device, "query.describe", sent)
    if key == "client_app":
        assert refusal(reply).startswith("client_app is speechlab.models:Linear; allowed is what FedASR has")
    else:
        assert not reply.has_error()
    assert "speechlab" not in sys.modules


@pytest.mark.slow
def test_another_model_of_ones_own_is_another_choice_of_usable_speech(edge_device: EdgeDevice, installed: Path) -> None:
    """How many frames a model makes of speech decides which recordings are long enough."""
    allow(edge_device, modules=["speechlab.models"], filters=2)
    assert not ask(edge_device, "query.describe", tree(**OWN)).has_error()
    assert not ask(edge_device, "query.describe", tree(**{**OWN, "model__options": {"width": 9}})).has_error()
    assert "filters" in refusal(ask(edge_device, "query.describe", tree(**{**OWN, "model__options": {"width": 10}})))


def test_modules_of_a_policy_are_names(edge_device: EdgeDevice, capfd: pytest.CaptureFixture[str]) -> None:
    allow(edge_device, modules=["../models.py"])
    assert ask(edge_device, "query.describe", tree()).error.reason == UNTOLD
    assert (
        "'modules' is ['../models.py']; expected a list of modules, such as speechlab.models" in capfd.readouterr().err
    )
