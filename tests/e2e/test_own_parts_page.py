"""The examples of docs/own-parts.md: short, outside the package, and one run of all of them that is broken off in a
pool, resumed, evaluated and asked for a transcript by other processes."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import fedasr
from fedasr.config import load
from fedasr.references import look_beside
from fedasr.runtime.launch import launch
from tests.fedasr.data.speech_files import write

from .pate.world import StopAt
from .tiny import ROOT, tiny
from .tiny import fedasr as command

PAGE = (ROOT / "docs" / "own-parts.md").read_text(encoding="utf-8")
MODULES = dict(re.findall(r"```python\n# (?!test_)(\w+)\.py\n(.*?)```", PAGE, flags=re.DOTALL))
DIGITS = "zero oh one two three four five six seven eight nine"
LONGEST = 25


@pytest.mark.parametrize("name", MODULES)
def test_an_example_is_short(name: str) -> None:
    assert len(MODULES[name].strip().splitlines()) <= LONGEST


def test_there_is_one_for_each_part() -> None:
    assert set(MODULES) == {"recogniser", "loyal", "median_length", "in_pairs", "signs", "words", "eager"}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config with the modules beside it."""
    folder = tmp_path_factory.mktemp("page")
    for name, text in MODULES.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    changes = {
        "rounds": 2,
        "data__partition": {"name": "in_pairs:in_pairs"},
        "model": {
            "name": "recogniser:Recogniser",
            "options": {"width": 8},
            "tokenizer": "words:Words",
            "tokenizer_options": {"words": DIGITS.split()},
        },
        "selection": {"name": "loyal:Loyal", "clients_per_round": 3},
        "strategy": {"name": "fedavg", "aggregation": "median_length:MedianLength"},
        "evaluate": {"decoder": "eager:Eager", "decoder_options": {"penalty": 0.5}},
        "client": {"learning_rate": 0.01, "batch_size": 2},
        "runtime": {"executor": "pool", "workers": 2},
    }
    tree = tiny(**changes)
    given = re.search(r"```yaml\n(client:.*?)```", PAGE, flags=re.DOTALL)
    assert given is not None
    OmegaConf.save(OmegaConf.merge(tree, OmegaConf.create(given[1])), folder / "config.yaml")
    return folder / "config.yaml"


@pytest.fixture(scope="module")
def resumed(config: Path) -> Iterator[Path]:
    """A run of the pool, broken off after a round in this process, and resumed by another."""
    out = config.parent / "run"
    look_beside(config)
    launch(load(config), out, watcher=StopAt("round 1"))
    assert json.loads((out / "summary.json").read_text())["status"] == "interrupted"
    done = command("run", str(config), "--out", str(out), "--resume", "--quiet", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    yield out
    look_beside()


def test_the_examples_train_and_resume(resumed: Path) -> None:
    run = fedasr.load_run(resumed)
    assert run.summary["status"] == "done"
    assert run.rounds["round"].tolist() == [1, 2]
    assert all("+" in name for name in run.clients["client"])
    assert json.loads((resumed / "tokenizer.json").read_text())["content"] == {"words": DIGITS.split()}


@pytest.mark.slow
def test_other_processes_evaluate_and_transcribe(resumed: Path, tmp_path: Path) -> None:
    audio = write(tmp_path / "noise.wav", 1.0)
    (tmp_path / "manifest.csv").write_text(f"path,speaker,text\n{audio},s,one two\n", encoding="utf-8")
    done = command("evaluate", str(resumed), "--manifest", str(tmp_path / "manifest.csv"), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["words"], result["decoder"]) == (2, "eager:Eager")
    done = command("transcribe", str(resumed), str(audio), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (transcript,) = json.loads(done.stdout)["transcripts"]
    assert set(transcript["text"].split()) <= set(DIGITS.split())


@pytest.mark.slow
def test_without_the_module_a_line_says_so(resumed: Path, tmp_path: Path) -> None:
    shutil.copytree(resumed, tmp_path / "run")
    (tmp_path / "run" / "parts.json").unlink()
    (tmp_path / "manifest.csv").write_text("path,speaker,text\na.wav,s,one\n", encoding="utf-8")
    done = command("evaluate", str(tmp_path / "run"), "--manifest", str(tmp_path / "manifest.csv"), cwd=tmp_path)
    assert done.returncode == 2
    assert "there is no module 'words' on the Python path" in done.stderr
