"""What a run promises of people, cohorts, models and folders, on the smallest speech."""

from __future__ import annotations

import multiprocessing
import shutil
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import fedasr
from fedasr.cli.main import status
from fedasr.config import load
from fedasr.config.schema import PartitionConfig
from fedasr.data.corpus import Column
from fedasr.data.partition import Partition
from fedasr.errors import InputError, RunFailed
from fedasr.experiment import check_seed_config
from tests.e2e.small_speech import WORDS, small, speech
from tests.fedasr.data.speech_files import write

processes = multiprocessing.get_context("spawn")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with speech and a finished run."""
    folder = tmp_path_factory.mktemp("promises")
    speech(folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    fedasr.run(small(folder / "manifest.csv"), out=folder / "seed")
    assert torch.get_num_threads() == 2, "a run leaves torch its threads"
    torch.set_num_threads(threads)
    return folder


def by_word(
    config: PartitionConfig, columns: dict[str, Column], rows: Any, clients: int | None, seed: int
) -> Partition:
    """Partition by what is said, which spreads every speaker."""
    ids = np.array([WORDS.index(str(text)) for text in columns["text"][rows]])
    return Partition.from_ids(ids, rows, list(WORDS))


@pytest.mark.slow
@pytest.mark.parametrize("partition", ["iid", "quantity-power", f"{__name__}:by_word"])
def test_users_that_are_not_people(place: Path, tmp_path: Path, partition: str) -> None:
    config = small(
        place / "manifest.csv",
        privacy={"unit": "user", "noise_multiplier": 1.0, "delta": 1e-5},
        strategy={"weighting": "uniform"},
        selection={"name": "poisson", "clients_per_round": 2},
        data__partition={"name": partition},
    )
    if partition.startswith("quantity"):
        config["data"]["clients"] = 4
    with pytest.raises(InputError, match="such as 's0', to more than one client"):
        fedasr.run(config, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_cohort_larger_than_the_population(place: Path, tmp_path: Path) -> None:
    config = small(place / "manifest.csv", selection__clients_per_round=999_999_999)
    with pytest.raises(InputError, match="is 999,999,999, but the run has 5 clients; set it to 5 or less"):
        fedasr.run(config, out=tmp_path / "run")


@pytest.mark.slow
def test_the_default_cohort_is_no_wish(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small(place / "manifest.csv", rounds=1)
    config.get("selection", {}).pop("clients_per_round", None)
    run = fedasr.run(config, out=tmp_path / "run", quiet=False)
    assert run.rounds["clients_selected"].tolist() == [5]
    assert "all 5 clients may take part in a round" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "value"),
    [("hop_ms", 20.0), ("window_ms", 32.0), ("normalize", "none")],
)
def test_a_seed_model_of_other_features(place: Path, tmp_path: Path, key: str, value: object) -> None:
    config = small(place / "manifest.csv", init_from=str(place / "seed"), data__features={key: value})
    with pytest.raises(InputError, match=rf"the seed model was trained with 'data\.features\.{key}'"):
        fedasr.run(config, out=tmp_path / "run")
    file = small(place / "manifest.csv", init_from=str(place / "seed" / "model.safetensors"))
    file["data"]["features"] = {key: value}
    with pytest.raises(InputError, match=rf"the seed model was trained with 'data\.features\.{key}'"):
        fedasr.run(file, out=tmp_path / "run")


def test_a_seed_model_may_differ_in_what_the_run_does_not_read(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model: {encoder: dsconv, kernel: 11, channels: [32, 64]}\n")
    there = {"init_from": str(tmp_path), "model.channels": [32, 64]}
    check_seed_config(load("quickstart", {**there, "model.encoder": "dsconv", "model.kernel": 11}))
    with pytest.raises(InputError, match=r"trained with 'model\.kernel' 11, and the run has 9"):
        check_seed_config(load("quickstart", {**there, "model.encoder": "dsconv"}))
    (tmp_path / "config.yaml").write_text("model: {encoder: lstm, kernel: 11, channels: [32, 64]}\n")
    check_seed_config(load("quickstart", {**there, "model.encoder": "lstm"}))


@pytest.mark.parametrize("rate", [1e38, 1e30])
def test_a_model_that_is_not_finite(place: Path, tmp_path: Path, rate: float) -> None:
    config = small(place / "manifest.csv", strategy={"learning_rate": rate}, rounds=1)
    with pytest.raises(
        RunFailed, match=r"'strategy\.learning_rate' \(1e\+3[08]\) or 'client\.learning_rate' \(0\.01\)"
    ):
        fedasr.run(config, out=tmp_path / "run")
    summary = fedasr.load_run(tmp_path / "run").summary
    assert summary["status"] == "failed"
    from fedasr.runtime import checkpoint

    kept = checkpoint.load(tmp_path / "run" / "checkpoint")
    assert kept is not None
    assert kept.round == 0
    assert all(np.isfinite(array).all() for array in kept.weights.values())


def test_every_reply_late(place: Path, tmp_path: Path) -> None:
    config = small(place / "manifest.csv", devices={"clock": True, "deadline_s": 1e-6})
    with pytest.raises(RunFailed, match="5 replies were late"):
        fedasr.run(config, out=tmp_path / "run")


@pytest.mark.slow
def test_rows_left_out_are_counted_by_reason(place: Path, tmp_path: Path) -> None:
    for name in ("s0", "s1", "s2", "s3", "s4", "s5"):
        shutil.copytree(place / name, tmp_path / name)
    text = (place / "manifest.csv").read_text()
    write(tmp_path / "long.wav", 31.0)
    text += "long.wav,s0,one,train,f\ns0/9.wav,s0,one,train,f\n"
    text = text.replace("s1/0.wav,s1,one", "s1/0.wav,s1,").replace("s2/0.wav,s2,one", "s2/0.wav,s2,1!")
    (tmp_path / "manifest.csv").write_text(text)
    config = small(tmp_path / "manifest.csv", data__on_bad_audio="skip")
    run = fedasr.run(config, out=tmp_path / "run")
    assert run.summary["utterances_left_out"] == {
        "longer than data.max_seconds (30 s)": 1,
        "audio that cannot be used": 1,
        "characters outside the alphabet": 1,
        "empty transcript": 1,
    }
    assert "longer than data.max_seconds" in (tmp_path / "run" / "report.html").read_text()


def test_durations_in_milliseconds_are_no_long_speech(place: Path, tmp_path: Path) -> None:
    lines = (place / "manifest.csv").read_text().splitlines()
    timed = [lines[0] + ",duration_s", *(f"{line},500" for line in lines[1:])]
    manifest = place / "milliseconds.csv"
    manifest.write_text("\n".join(timed) + "\n")
    with pytest.raises(InputError, match=r"duration_s is 500\.000, but the audio lasts 0\.500 s"):
        fedasr.run(small(manifest), out=tmp_path / "run")


@pytest.mark.slow
def test_the_api_and_the_command_line_take_the_same_config(place: Path, tmp_path: Path) -> None:
    base = small(place / "manifest.csv")
    base["data"]["manifest"] = "???"
    base["data"]["min_seconds"] = 40.0  # no speech is that long: max_seconds is 30
    file = tmp_path / "base.yaml"
    OmegaConf.save(OmegaConf.create(base), file)
    changes = {"data.manifest": str(place / "manifest.csv"), "data.min_seconds": 0.1, "rounds": 0}
    dots = [f"{name}={value}" for name, value in changes.items()]
    assert status(["run", str(file), *dots, "--out", str(tmp_path / "cli"), "--quiet"]) == 0
    assert fedasr.run(file, out=tmp_path / "mapping", overrides=changes).finished
    assert fedasr.run(str(file), out=tmp_path / "list", overrides=dots).finished
    with pytest.raises(InputError, match=r"'data\.manifest' is \?\?\?; expected text, or null"):
        fedasr.run(file, out=tmp_path / "none", overrides={"data.min_seconds": 0.1})


def test_transcribe_goes_on_after_a_bad_file(place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.wav").write_text("no audio")
    audio = [place / "s0" / "0.wav", tmp_path / "bad.wav", place / "s0" / "1.wav"]
    assert status(["transcribe", str(place / "seed"), *map(str, audio)]) == 2
    result = capfd.readouterr()
    assert [line.split("\t")[0] for line in result.out.splitlines()] == [str(audio[0]), str(audio[2])]
    assert "bad.wav: the audio is not audio" in result.err


def start(manifest: Path, out: Path, seed: int, together: Barrier, answers: Queue[tuple[int, str]]) -> None:
    together.wait(60)
    try:
        fedasr.run(small(manifest, seed=seed, rounds=3), out=out)
    except InputError as error:
        answers.put((seed, str(error)))
    else:
        answers.put((seed, "done"))


@pytest.mark.slow
def test_two_starts_one_folder(place: Path, tmp_path: Path) -> None:
    together, answers = processes.Barrier(2), processes.Queue()
    arguments = [(place / "manifest.csv", tmp_path / "run", seed, together, answers) for seed in (1, 2)]
    starts = [processes.Process(target=start, args=result) for result in arguments]
    for process in starts:
        process.start()
    said = dict(answers.get(timeout=120) for _ in starts)
    for process in starts:
        process.join(30)
    (winner,) = [seed for seed, answer in said.items() if answer == "done"]
    assert "run" in said[3 - winner]
    run = fedasr.load_run(tmp_path / "run")
    assert run.config["seed"] == run.summary["seed"] == winner
