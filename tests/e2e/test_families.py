"""The families that no other test trains with a federation: in one process, in workers, and by both ways to be private.

Where nothing is clipped and everybody takes part, private training is plain training and noise; with next to none of
it, an update that is lost, scaled or clipped shows.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import fedasr
from fedasr.config import load
from fedasr.models.weights import read_weights
from fedasr.privacy.accountants import epsilon_of
from fedasr.privacy.events import Event, FixedSizeGaussian, PoissonGaussian
from fedasr.runtime.launch import launch

from .tiny import tiny

CLIENTS, STORED, RATE, NOISE = 4, 3, 0.1, 1e-3
FAMILIES: dict[str, dict[str, Any]] = {
    "las": {"layers": 2, "strides": [2, 1], "speller": {"hidden": 8, "heads": 2}},
    "hybrid": {"speller": {"hidden": 8, "heads": 2}},
    "rnnt": {"transducer": {"prediction": 8, "joint": 8}},
}
CHANGES: dict[str, Any] = {
    "data__synthetic": {
        "grammar": "words",
        "words": ["yes", "no"],
        "speakers": CLIENTS,
        "utterances_per_speaker": STORED,
        "activity": "constant",
        "test_speakers": 1,
    },
    "strategy": {"name": "fedavg", "weighting": "uniform"},
    "selection": {"name": "uniform", "clients_per_round": CLIENTS},
}
STEP: dict[str, Any] = {
    "rounds": 1,
    "client": {"optimizer": "sgd", "learning_rate": RATE, "batch_size": STORED, "clip_norm": None},
}
"""One step of plain SGD on all that a client stores."""
USER = FixedSizeGaussian(unit="user", noise_multiplier=NOISE, sampling_probability=1.0)
EXAMPLE = PoissonGaussian(unit="example", noise_multiplier=NOISE, sampling_probability=1.0)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run(family: str, out: Path, dropout: float = 0.0, **changes: Any) -> fedasr.Run:
    """Return a finished run of every client; its report says nothing of a family, so none is written."""
    model = {"name": family, "channels": [8, 8], "hidden": 8, "dropout": dropout, **FAMILIES[family]}
    result = fedasr.load_run(launch(load(tiny(**deepcopy({**CHANGES, "model": model, **changes}))), out))
    assert result.status == "done"
    assert (result.clients["status"] == "ok").all()
    assert len(result.clients) == CLIENTS * len(result.rounds)
    return result


def weights(run: fedasr.Run) -> np.ndarray:
    """Return all weights, shape ``(parameters,)``."""
    return np.concatenate([array.astype(np.float64).reshape(-1) for array in read_weights(run.path)[0].values()])


@pytest.mark.slow
def test_it_learns_and_workers_change_nothing(family: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"rounds": 2, "client__learning_rate": 0.01, "dropout": 0.1}
    serial = run(family, tmp_path / "serial", **changes)
    first, last = serial.rounds["loss"]
    assert last < first
    pool: dict[str, Any] = {"runtime__executor": "pool", "runtime__workers": 2}
    assert run(family, tmp_path / "pool", **changes, **pool).summary["model_sha256"] == serial.summary["model_sha256"]


@pytest.fixture(scope="module")
def plain(family: str, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Return the weights after a step without privacy."""
    return weights(run(family, tmp_path_factory.mktemp("runs") / family, **STEP))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("event", "clip_norm", "deviation"),
    [(USER, 5.0, 5.0 * NOISE / CLIENTS), (EXAMPLE, 50.0, RATE * 50.0 * NOISE / STORED / np.sqrt(CLIENTS))],
    ids=["user", "example"],
)
def test_private_training_adds_its_noise_and_nothing_else(
    family: str, event: Event, clip_norm: float, deviation: float, plain: np.ndarray, tmp_path: Path
) -> None:
    """DP-FedAvg has its noise on the sum of the updates, DP-SGD on the sum of the gradients of each client."""
    privacy = {"unit": event.unit, "noise_multiplier": NOISE, "clip_norm": clip_norm, "accountant": "rdp"}
    result = run(family, tmp_path / "run", **STEP, privacy=privacy)
    noise = (weights(result) - plain) / deviation
    assert noise.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * len(noise)))
    assert stats.kstest(noise, "norm").pvalue > 1e-3
    assert result.privacy is not None
    assert (result.privacy["unit"], result.privacy["sampling"]) == (event.unit, event.sampling)
    assert result.privacy["epsilon"] == pytest.approx(epsilon_of([event], 1e-5, "rdp").epsilon)
