"""Labels of the devices' own that cannot be, each with a line that names the key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fedasr.config import load
from fedasr.errors import InputError
from fedasr.experiment import as_json

DEPLOYED = {"runtime.name": "deployment", "model.alphabet": "latin"}
EXAMPLE = {
    "privacy.unit": "example",
    "privacy.noise_multiplier": 1.0,
    "model.alphabet": "latin",
    "self_labels.guard": ["empty", "repeated"],
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"self_labels.teacher": "frozen"}, "'self_labels.teacher' is set but 'client.labels' is 'truth'"),
        ({"client.labelled_share": 0.5}, "'client.labelled_share' is set but 'client.labels' is 'truth'"),
        ({"self_labels.public_split": "open"}, "'self_labels.public_split' is set but 'self_labels.server_steps' is 0"),
        ({"client.labels": "none", "self_labels.keep_share": 0.5}, "'self_labels.keep_share' is set but"),
        ({"client.labels": "self", "self_labels.feedback_right": 0.5}, "'self_labels.feedback_right' is set but"),
        ({"client.labels": "self", "self_labels.teacher": "global", "self_labels.decay": 0.5}, "decay' is set but"),
        ({"client.labels": "self", "self_labels.threshold": [0.5]}, "expected two numbers of at least 0"),
        ({"client.labels": "self", "self_labels.threshold": [0.5, -1.0]}, "expected two numbers of at least 0"),
        ({"client.labels": "self", "self_labels.threshold": [0.5, float("nan")]}, "expected two numbers"),
        ({"client.labels": "self", "self_labels.guard": ["emty"]}, "has 'emty' (did you mean 'empty'?)"),
        (
            {"client.labels": "feedback", "self_labels.feedback_right": 0.7, "self_labels.feedback_wrong": 0.4},
            "add up to more than 1",
        ),
        ({"client.labels": "self", "selection.name": "power-of-choice"}, "which chooses by losses"),
        ({"client.labels": "self", "selection.name": "oort"}, "which chooses by losses"),
        ({"client.labels": "self", "strategy.fairness": "q"}, "losses on a device's own labels are small"),
        ({"client.labels": "self", "evaluate.decoder": "vocabulary"}, "list the phrases"),
        ({"self_labels.server_steps": 2, "self_labels.public_split": "train"}, "choose another split"),
        ({"client.labels": "self", "strategy.name": "central"}, "'client.labels' is set but 'strategy.name'"),
        ({"client.labels": "self", "strategy.name": "pate"}, "'client.labels' is set but 'strategy.name'"),
        ({"self_labels.server_steps": 2, "strategy.name": "central"}, "'self_labels.server_steps' is set but"),
        ({**DEPLOYED, "client.labels": "feedback"}, "which simulates users"),
        ({**DEPLOYED, "client.labels": "self", "client.labelled_share": 0.5}, "only a device knows"),
        ({**DEPLOYED, "client.labels": "self", "evaluate.client_side": 1}, "for which devices need transcripts"),
        ({**EXAMPLE, "client.labels": "self", "self_labels.keep_share": 0.5}, "'privacy.unit: example' does not allow"),
        ({**EXAMPLE, "client.labels": "self", "self_labels.guard": ["same"]}, "'self_labels.guard' has 'same'"),
        ({**EXAMPLE, "client.labels": "feedback", "self_labels.feedback_wrong": 0.1}, "feedback_wrong' is 0.1"),
        ({"client.labels": "none", "privacy.unit": "user", "privacy.noise_multiplier": 1.0}, "counts on every device"),
    ],
)
def test_what_cannot_be_is_a_line(changes: dict[str, Any], words: str) -> None:
    base: dict[str, Any] = {"strategy.weighting": "uniform"} if changes.get("privacy.unit") == "user" else {}
    if changes.get("client.labels") == "none" and "privacy.unit" in changes:
        base["model.alphabet"] = "latin"
    with pytest.raises(InputError) as caught:
        load({}, {**base, **changes})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"client.labels": "self", "self_labels.threshold": [2.0, 2.0]},
        {"client.labels": "feedback", "self_labels.feedback_right": 1.0},
        {"client.labels": "none"},
        {"self_labels.server_steps": 3},
        {**DEPLOYED, "client.labels": "self"},
        {**EXAMPLE, "client.labels": "self"},
    ],
)
def test_what_can_be(changes: dict[str, Any]) -> None:
    load({}, changes)


def test_a_run_on_transcripts_sends_nothing_of_labels() -> None:
    """What is sent to every client has not become longer."""
    sent = json.loads(as_json(load({})))
    assert "self_labels" not in sent
    assert not {"labels", "labelled_share"} & set(sent["client"])
    assert json.loads(as_json(load({"client": {"labels": "self"}})))["client"]["labels"] == "self"
