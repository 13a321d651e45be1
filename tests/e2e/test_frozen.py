"""Runs whose lower layers are frozen: they stay as they were, and nothing of them is trained, sent or accounted for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from flwr.app import RecordDict
from safetensors.numpy import load_file

import fedasr
from fedasr.config import load
from fedasr.errors import InputError, RunFailed
from fedasr.evaluation.recognizer import Recognizer
from fedasr.experiment import Experiment
from fedasr.flower.records import array_record, content_bytes
from fedasr.models.weights import model_arrays, save_weights
from fedasr.protocol import Record
from fedasr.runtime.callbacks import Row
from fedasr.runtime.cost import cost
from fedasr.runtime.launch import launch
from fedasr.runtime.session import Silent

from .pate.world import pate
from .tiny import tiny

FROZEN = ["subsampling.*", "encoder.*"]
HEAD = {"head.weight", "head.bias"}
SMALL = {"model__channels": [8, 8], "model__hidden": 8, "rounds": 2, "data__augment": {"gain_db": 3.0}}
UPPER = "studies.upper_layers:upper_layers"
Weights = dict[str, npt.NDArray[Any]]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that are not those of the runs' seed."""
    file = tmp_path_factory.mktemp("start") / "start.safetensors"
    save_weights(file, model_arrays(Experiment(load(tiny(**SMALL, seed=5))).model()))
    return file


def frozen(start: Path, **changes: Any) -> dict[str, Any]:
    return tiny(**{**SMALL, "init_from": str(start), "model__frozen": FROZEN, **changes})


@pytest.fixture(scope="module")
def reference(start: Path, tmp_path_factory: pytest.TempPathFactory) -> fedasr.Run:
    return fedasr.run(frozen(start), out=tmp_path_factory.mktemp("runs") / "frozen", quiet=True)


def weights(run: fedasr.Run) -> Weights:
    return load_file(run.path / "model.safetensors")


def check(run: fedasr.Run, start: Path) -> None:
    """Check that a run has moved the head and nothing else."""
    before, after = load_file(start), weights(run)
    assert after.keys() == before.keys()
    assert {name for name in before if not np.array_equal(before[name], after[name])} == HEAD


def bytes_of(arrays: Weights) -> int:
    return content_bytes(RecordDict({Record.ARRAYS: array_record(arrays)}))


def test_frozen_tensors_are_those_of_the_start_to_the_bit(reference: fedasr.Run, start: Path) -> None:
    check(reference, start)
    shared = sum(array.size for name, array in load_file(start).items() if name in HEAD)
    assert reference.summary["parameters"] == shared
    assert shared + reference.summary["frozen_parameters"] == sum(array.size for array in load_file(start).values())
    recognizer = Recognizer(reference.path)
    assert all(
        np.array_equal(array, weights(reference)[name]) for name, array in model_arrays(recognizer.model).items()
    )


def test_only_shared_tensors_are_sent(reference: fedasr.Run, start: Path) -> None:
    """But for the frozen ones, which each device takes once."""
    whole = cost(load(frozen(start, model__frozen=[])))["table"]
    rows = reference.rounds
    arrays = load_file(start)
    shared = {name: array for name, array in arrays.items() if name in HEAD}
    saved = bytes_of(arrays) - bytes_of(shared)
    assert [row["bytes_up"] - up for row, up in zip(whole, rows["bytes_up"], strict=True)] == [
        int(saved * replied) for replied in rows["clients_replied"]
    ]
    names = reference.clients
    first = names[names["round"] == 1]["client"]
    later = names[names["round"] == 2]["client"]
    fresh = bytes_of({name: array for name, array in arrays.items() if name not in HEAD})
    down = rows["bytes_down"] - fresh * np.array([len(first), len(set(later) - set(first))])
    assert 0 < down[0] == down[1] < 0.7 * whole[0]["bytes_down"]
    planned = cost(load(frozen(start)))["table"]
    assert [row["bytes_up"] for row in planned] == rows["bytes_up"].tolist()
    assert [row["bytes_down"] for row in planned] == rows["bytes_down"].tolist()


@pytest.mark.parametrize(
    "own",
    [pytest.param(["subsampling", "encoder"], marks=pytest.mark.slow), ["subsampling"]],
    ids=["all", "some"],
)
def test_the_shared_tensors_learn_as_above_constants(
    own: list[str], reference: fedasr.Run, start: Path, tmp_path: Path
) -> None:
    """Of a user's own model, which has constants there; those that it lacks are frozen by the run."""
    options = {"start": str(start), "frozen": own}
    globs = [] if "encoder" in own else ["encoder.*"]
    changes = {"init_from": None, "model__name": UPPER, "model__options": options, "model__frozen": globs}
    config = frozen(start, **changes)
    del config["init_from"]
    run = fedasr.run(config, out=tmp_path / "run", quiet=True)
    columns = ["round", "loss", "wer", "train_loss", "bytes_up", "update_norm"]
    pd.testing.assert_frame_equal(run.rounds[columns], reference.rounds[columns])
    for name in HEAD:
        assert np.array_equal(weights(run)[name], weights(reference)[name])


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers(workers: int, reference: fedasr.Run, start: Path, tmp_path: Path) -> None:
    config = frozen(start, runtime={"executor": "pool", "workers": workers})
    run = fedasr.run(config, out=tmp_path / "run", quiet=True)
    check(run, start)
    assert run.summary["model_sha256"] == reference.summary["model_sha256"]
    assert run.rounds["bytes_up"].tolist() == reference.rounds["bytes_up"].tolist()


class Breaks(fedasr.Callback):
    """Breaks the run off after its first round."""

    def on_round(self, row: Row) -> None:
        """Break off."""
        raise KeyboardInterrupt


@pytest.mark.slow
def test_broken_off_and_resumed(reference: fedasr.Run, start: Path, tmp_path: Path) -> None:
    with pytest.raises((KeyboardInterrupt, RunFailed)):
        fedasr.run(frozen(start), out=tmp_path / "run", quiet=True, callbacks=[Breaks()])
    run = fedasr.run(frozen(start), out=tmp_path / "run", quiet=True, resume=True)
    assert len(run.rounds) == 2
    assert run.summary["model_sha256"] == reference.summary["model_sha256"]
    assert run.rounds["bytes_down"].tolist() == reference.rounds["bytes_down"].tolist()


USER = {"privacy__unit": "user", "privacy__noise_multiplier": 0.5, "privacy__clip_norm": 0.5}
KINDS: dict[str, dict[str, Any]] = {
    "users": {**USER, "strategy__weighting": "uniform", "selection__name": "poisson"},
    "utterances": {"privacy": {"unit": "example", "noise_multiplier": 0.5, "clip_norm": 0.5}},
    "compressed": {"compression": {"up": "int8"}, "strategy__name": "fedadam"},
    "secure": {"secure_aggregation": {"mode": "protocol"}, "strategy__weighting": "uniform"},
    "in silos": {"strategy": {"name": "bmuf"}, "client__steps": 2},
    "central": {"strategy": {"name": "central"}},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_way_to_train_leaves_frozen_tensors_alone(kind: str, start: Path, tmp_path: Path) -> None:
    run = fedasr.run(frozen(start, rounds=1, **KINDS[kind]), out=tmp_path / "run", quiet=True)
    check(run, start)


@pytest.mark.slow
def test_teachers_and_the_student_of_pate_leave_frozen_tensors_alone(tmp_path: Path) -> None:
    changes = {"model": {"encoder": "blstm", "channels": [8, 8], "hidden": 8, "frozen": FROZEN}, "client__epochs": 1}
    config = load(pate(rounds=1, **changes))
    run = fedasr.run(pate(rounds=1, **changes), out=tmp_path / "run", quiet=True)
    experiment = Experiment(config)
    after, before = weights(run), experiment.whole(experiment.first_weights())
    assert {name for name in before if not np.array_equal(before[name], after[name])} == HEAD
    lessons = run.summary["bytes_down"]
    assert lessons > 12 * bytes_of(experiment.frozen)


@pytest.mark.parametrize(
    ("globs", "message"),
    [
        (["encodr.*"], r"'encodr.\*' \(did you mean 'encoder.\*'\?\), which fits no tensor"),
        (["*"], "fits every tensor of the model"),
    ],
)
def test_refused_before_anything_is_written(globs: list[str], message: str, start: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        fedasr.run(frozen(start, model__frozen=globs), out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


class Notes(Silent):
    """Keeps what the run says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """Keep a line."""
        self.lines.append(text)


def test_random_layers_may_be_frozen_and_a_line_says_so(tmp_path: Path) -> None:
    notes = Notes()
    launch(load(tiny(**{**SMALL, "rounds": 0, "model__frozen": FROZEN})), tmp_path / "run", watcher=notes)
    assert "'model.frozen' is set without 'init_from': the frozen layers keep random weights" in notes.lines
