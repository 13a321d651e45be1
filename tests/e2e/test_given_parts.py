"""Parts given to ``fedasr.run`` as objects: from modules, from the script that runs, from a notebook's cell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fedasr
from fedasr.config import load
from fedasr.errors import InputError
from fedasr.evaluation.recognizer import Recognizer
from fedasr.runtime.launch import launch

from . import own_parts
from .pate.world import StopAt
from .tiny import environment, tiny
from .tiny import fedasr as command

SCRIPT = """\
import sys
import torch
from torch import nn
import fedasr

class Recogniser(nn.Module):
    def __init__(self, mel_bins, vocabulary_size, width=8):
        super().__init__()
        self.convolution = nn.Conv1d(mel_bins, width, 3, stride=2, padding=1)
        self.head = nn.Linear(width, vocabulary_size)

    def forward(self, features, lengths):
        return self.head(torch.relu(self.convolution(features.mT)).mT).log_softmax(2), (lengths + 1) // 2

class Mean:
    def __init__(self):
        self.total, self.weight = 0.0, 0

    def accumulate(self, update, weight):
        self.total, self.weight = self.total + weight * update, self.weight + weight

    def result(self):
        return self.total / self.weight
"""
CONFIG = tiny(rounds=1, runtime={"executor": "pool", "workers": 2})
RUN = f"fedasr.run({CONFIG!r}, 'run', model=Recogniser, aggregator=Mean)\n"
NAMES = ("model.name", "strategy.aggregation")


def cell(folder: Path, **changes: Any) -> tuple[dict[str, Any], type]:
    """Return a config, and a class as a notebook defines one: in ``__main__``, where no module has it."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(SCRIPT, names)
    return tiny(name="cell", rounds=2, **changes), names["Recogniser"]


def recorded(folder: Path) -> list[str]:
    config = load(folder / "config.yaml")
    return [config.model.name, config.strategy.aggregation]


def script(folder: Path, text: str, name: str = "experiment_of_mine") -> subprocess.CompletedProcess[str]:
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return subprocess.run(
        [sys.executable, f"{name}.py"], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_classes_of_modules_are_recorded_by_their_place(tmp_path: Path) -> None:
    config = tiny(rounds=1)
    parts = {"model": own_parts.Recogniser, "aggregator": "tests.e2e.own_parts:Geometric"}
    run = fedasr.run(config, tmp_path / "run", ["model.options.width=12"], **parts)  # type: ignore[arg-type]
    assert run.summary["status"] == "done"
    assert recorded(run.path) == ["tests.e2e.own_parts:Recogniser", "tests.e2e.own_parts:Geometric"]
    assert run.config.model.options == {"width": 12}


@pytest.mark.slow
def test_classes_of_a_script_are_found_by_other_processes(tmp_path: Path) -> None:
    done = script(tmp_path, SCRIPT + 'if __name__ == "__main__":\n    ' + RUN)
    assert done.returncode == 0, done.stderr
    assert recorded(tmp_path / "run") == ["experiment_of_mine:Recogniser", "experiment_of_mine:Mean"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = command("transcribe", str(tmp_path / "run"), "nothing.wav", cwd=elsewhere)
    assert "nothing.wav: the audio" in done.stderr, "the model was loaded"


@pytest.mark.slow
def test_a_script_that_runs_at_import_is_a_line(tmp_path: Path) -> None:
    done = script(tmp_path, SCRIPT + RUN)
    assert done.returncode == 0, done.stderr
    done = command("transcribe", str(tmp_path / "run"), "nothing.wav", cwd=tmp_path)
    assert done.returncode == 2
    assert "put the call under: if __name__ == '__main__':" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> tuple[fedasr.Run, fedasr.Run, type]:
    """The run of a cell in this process, and the same in a pool that was broken off and resumed; and their model."""
    folder = tmp_path_factory.mktemp("cell")
    config, model = cell(folder)
    serial = fedasr.run(config, folder / "serial", model=model)
    pool = {"executor": "pool", "workers": 2}
    changed = load(config, {"runtime": pool, "model.name": "__main__:Recogniser"})
    launch(changed, folder / "pool", watcher=StopAt("round 1"))
    assert fedasr.load_run(folder / "pool").summary["status"] == "interrupted"
    return serial, fedasr.run(config, folder / "pool", {"runtime": pool}, resume=True, model=model), model


@pytest.mark.slow
def test_a_class_of_a_notebook_runs_resumes_and_is_loaded_in_its_process(
    notebook: tuple[fedasr.Run, fedasr.Run, type],
) -> None:
    serial, pool, model = notebook
    assert serial.config.model.name == "__main__:Recogniser"
    assert pool.summary["status"] == "done"
    assert pool.summary["model_sha256"] == serial.summary["model_sha256"]
    assert type(Recognizer(pool.path).model.module) is model  # type: ignore[union-attr]


@pytest.mark.slow
def test_another_process_refuses_it(notebook: tuple[fedasr.Run, fedasr.Run, type], tmp_path: Path) -> None:
    serial, *_ = notebook
    done = command("transcribe", str(serial.path), "nothing.wav", cwd=tmp_path)
    assert done.returncode == 2
    assert "'model.name' is '__main__:Recogniser', which was defined in a notebook" in done.stderr
    assert "define it in a module (a .py file)" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    out = ("--out", str(serial.path), "--resume")
    (serial.path / "summary.json").write_text("{}")  # as if it had not ended
    done = command("run", str(serial.path / "config.yaml"), *out, cwd=tmp_path)
    assert done.returncode == 2
    assert "which was defined in a notebook" in done.stderr


@pytest.mark.slow
def test_spawned_workers_are_sent_it(tmp_path: Path) -> None:
    """As on a GPU, and where there is no fork."""
    config, model = cell(tmp_path, runtime={"executor": "pool", "workers": 1, "device": "auto"})
    run = fedasr.run(config, tmp_path / "run", {"rounds": 1}, model=model)
    assert run.summary["status"] == "done"
    assert run.rounds["clients_failed"].tolist() == [0]


@pytest.mark.slow
def test_a_class_that_was_defined_anew_is_the_one_that_runs(tmp_path: Path) -> None:
    used = []
    for number in range(2):
        config, model = cell(tmp_path)
        before = model.forward  # type: ignore[attr-defined]

        def noted(self: Any, *given: Any, number: int = number, before: Any = before) -> Any:
            if self.training:
                used.append(number)
            return before(self, *given)

        model.forward = noted  # type: ignore[attr-defined]
        fedasr.run(config, tmp_path / str(number), {"rounds": 1}, model=model)
    assert set(used) == {0, 1}
    assert used == sorted(used)


@pytest.mark.slow
def test_functions_within_functions_run(tmp_path: Path) -> None:
    def recogniser(mel_bins: int, vocabulary_size: int) -> Any:
        return own_parts.Recogniser(mel_bins, vocabulary_size, 8)

    run = fedasr.run(tiny(rounds=1), tmp_path / "run", model=recogniser)
    assert run.summary["status"] == "done"
    assert run.config.model.name == "__main__:test_functions_within_functions_run.<locals>.recogniser"


def test_an_instance_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'model' is an instance of Recogniser.*overrides=.'model.options'"):
        fedasr.run(tiny(), tmp_path / "run", model=own_parts.Recogniser(40, 30))
    with pytest.raises(InputError, match=r"'aggregator' is an instance of .*'strategy.aggregation_options'"):
        fedasr.run(tiny(), tmp_path / "run", aggregator=own_parts.Geometric().result)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_client_app_of_a_script_is_named_by_the_script(tmp_path: Path) -> None:
    """``multiprocessing`` has a name of its own for the script, by which nobody else finds it."""
    text = (
        "from fedasr.clients.client_app import ClientApp\nfrom fedasr.objects import reference_of\napp = ClientApp()\n"
    )
    done = script(tmp_path, text + "print(reference_of(app, 'client_app', 'client_app', instances=True))\n", "apps")
    assert done.stdout.strip() == "apps:app", done.stderr
