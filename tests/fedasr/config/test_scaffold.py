"""What SCAFFOLD refuses, a line each that says why and what to change."""

from __future__ import annotations

from typing import Any

import pytest

from fedasr.config import load
from fedasr.errors import InputError

SCAFFOLD = {"data": {"corpus": "synthetic"}, "model": {"alphabet": "latin"}, "strategy": {"name": "scaffold"}}
UNIFORM = {"strategy.weighting": "uniform"}


def loaded(changes: dict[str, Any]) -> Any:
    return load(SCAFFOLD, [f"{key}={value}" for key, value in changes.items()])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"client.optimizer": "adamw"}, "from whose steps no gradient follows; set client.optimizer=sgd"),
        ({"client.optimizer": "mine:Signs"}, "from whose steps no gradient follows"),
        ({"client.momentum": 0.9}, "gradients count beyond their own step; set it to 0"),
        ({"client.proximal": 0.01}, "whose pull would be taken for a gradient"),
        ({"strategy.aggregation": "median", **UNIFORM}, "control variates are of use as a sum alone"),
        ({"strategy.aggregation": "norm-bound", "strategy.norm_bound": 1}, "set strategy.aggregation=mean"),
        ({"strategy.fairness": "q"}, "would have another mean; set strategy.fairness=none"),
        ({"compression.up": "int8"}, "control variates are not encoded"),
        ({"compression.down": "eden"}, "'compression.down' is 'eden', and control variates are not encoded"),
        ({"stream.arrival": "poisson"}, "set strategy.weighting=uniform"),
        ({"client.labels": "none", "client.labelled_share": 0.5}, "set strategy.weighting=uniform"),
        ({"privacy.unit": "example", "privacy.epsilon": 8}, "a mean of gradients, which no accountant here covers"),
        ({"privacy.unit": "user", "privacy.noise_multiplier": 1, **UNIFORM}, "which no accountant here covers"),
        ({"secure_aggregation.mode": "simulate"}, "which masks updates alone; set it to none"),
        ({"audit.canaries": 2}, "canary users keep nothing"),
        ({"attack.name": "sign-flip", "attack.share": 0.2}, "would leave the control variate honest"),
        ({"client_app": "mine:app"}, "a client app of your own keeps none"),
        ({"runtime.name": "deployment"}, "a reply that is lost on the way takes the change of a control variate"),
    ],
)
def test_refused_in_a_line(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError) as caught:
        loaded(changes)
    assert "'strategy.name' is 'scaffold' but" in str(caught.value)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"client.clip_norm": "null", "client.weight_decay": 0.01, "client.schedule": "cosine"},
        {"strategy.weighting": "inverse-probability"},
        {"selection.replacement": True, "selection.name": "activity"},
        {"stream.arrival": "poisson", **UNIFORM},
        {"devices.clock": True},
        {"client.labels": "self"},
        {"model.frozen": "[encoder.*]", "init_from": "seed.safetensors"},
        {"runtime.name": "flower"},
    ],
)
def test_allowed(changes: dict[str, Any]) -> None:
    assert loaded(changes).strategy.name == "scaffold"
