"""What cannot be with real edge devices is refused when the config is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedasr.config import load
from fedasr.errors import InputError
from fedasr.experiment import Experiment
from fedasr.runtime.launch import launch


def deployed(**changes: Any) -> dict[str, Any]:
    config: dict[str, Any] = {"runtime": {"name": "deployment"}}
    for name, value in changes.items():
        section, _, key = name.partition("__")
        config.setdefault(section, {})[key] = value
    return config


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"data__partition": {"name": "iid"}}, "'data.partition' is set; every device is a client"),
        ({"stream__arrival": "poisson"}, "'stream.arrival' is 'poisson'; speech comes as devices record it"),
        ({"devices__clock": True}, "'devices.clock' is true; edge devices run in real time"),
        ({"evaluate__held_out": 0.1}, "'evaluate.held_out' is 0.1; the server has no speech of the devices"),
        ({"model__alphabet": "auto"}, "'model.alphabet' is 'auto'; the server sees no transcripts"),
        (
            {"strategy__name": "pate", "pate__store": "teachers"},
            "'pate.store' is set; each device keeps its own teacher",
        ),
        ({"model__frozen": ["head.*"]}, "'model.frozen' is set; edge devices do not hold the initial model"),
        ({"evaluate__decoder": "vocabulary"}, "'evaluate.vocabulary' is empty; the server sees no transcripts"),
    ],
)
def test_what_cannot_be_with_edge_devices(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=r"'runtime\.name' is 'deployment' but ") as caught:
        load(deployed(**changes), [])
    assert says in str(caught.value)


def test_no_model_leaves_before_the_account_is_on_the_disk() -> None:
    private = {
        "privacy__unit": "user",
        "privacy__noise_multiplier": 1.0,
        "privacy__secret_noise": True,
        "strategy__weighting": "uniform",
    }
    load(deployed(**private), [])
    with pytest.raises(InputError, match=r"'evaluate\.client_side' is set in a private run"):
        load(deployed(**private, evaluate__client_side=2), [])


@pytest.mark.parametrize(
    "changes",
    [
        {"privacy__unit": "user", "privacy__noise_multiplier": 1.0, "strategy__weighting": "uniform"},
        {"privacy__unit": "user", "privacy__noise_at": "device", "privacy__noise_multiplier": 1.0,
         "strategy__weighting": "uniform"},
        {"privacy__unit": "example", "privacy__noise_multiplier": 1.0, "client__optimizer": "sgd"},
        {"strategy__name": "pate", "privacy__unit": "teacher"},
        {"strategy__name": "pate", "privacy__unit": "teacher", "pate__noise_at": "teachers"},
    ],
    ids=["server", "device", "dp-sgd", "pate", "teachers"],
)  # fmt: skip
def test_no_private_deployment_draws_its_noise_from_a_seed(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"'privacy\.secret_noise' is not true in a private run"):
        load(deployed(**changes), [])
    load(deployed(**changes, privacy__secret_noise=True), [])


def test_a_deployed_aggregator_is_private_whatever_its_unit_says() -> None:
    with pytest.raises(InputError, match=r"set privacy\.unit=teacher and privacy\.secret_noise=true"):
        load(deployed(strategy__name="pate"), [])


def test_a_deployed_run_is_submitted_to_its_superlink(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="submit the run with 'flwr run'"):
        launch(load(deployed()), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="only it knows how much"):
        len(Experiment(load(deployed())).partition)
