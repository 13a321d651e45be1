"""Whole runs through the command line and the Python API, and what they leave behind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf
from safetensors.numpy import load_file

import fedasr
from fedasr.evaluation.wer import error_counts
from fedasr.models.weights import sha256

from .tiny import fedasr as command
from .tiny import tiny

ROUNDS = [
    "round",
    "loss",
    "wer",
    "cer",
    "train_loss",
    "clients_selected",
    "clients_replied",
    "clients_failed",
    "examples",
    "audio_seconds",
    "bytes_up",
    "bytes_down",
    "wall_seconds",
    "simulated_seconds",
]
CLIENTS = ["round", "client", "probability", "examples", "audio_seconds", "train_loss", "bytes_up", "status"]
SUMMARY = [
    "name",
    "status",
    "seed",
    "rounds",
    "wer",
    "cer",
    "loss",
    "updates",
    "updates_per_second",
    "wall_seconds",
    "bytes_up",
    "bytes_down",
    "parameters",
    "model_sha256",
    "epsilon",
    "delta",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A run through the command, with its standard output and error."""
    folder = tmp_path_factory.mktemp("cli")
    changes = {"evaluate__by": ["gender"], "evaluate__client_side": 2, "evaluate__every": 2}
    OmegaConf.save(OmegaConf.create(tiny(**changes)), folder / "tiny.yaml")
    out = command("run", str(folder / "tiny.yaml"), "rounds=4", "--out", str(folder / "run"), "--json")
    assert out.returncode == 0, out.stderr
    return folder / "run", out.stdout, out.stderr


def test_the_run_folder_keeps_the_contract(finished: tuple[Path, str, str]) -> None:
    folder, out, error = finished
    summary = json.loads((folder / "summary.json").read_text())
    assert json.loads(out) == summary
    assert set(SUMMARY) <= set(summary)
    rounds, clients = pd.read_parquet(folder / "rounds.parquet"), pd.read_parquet(folder / "clients.parquet")
    assert set(ROUNDS) <= set(rounds)
    assert set(CLIENTS) <= set(clients)
    assert rounds["round"].tolist() == [1, 2, 3, 4]
    assert rounds["wer"].notna().tolist() == [False, True, False, True]
    assert rounds["client_wer"].notna().tolist() == [False, True, False, True]
    assert len(clients) == rounds["clients_selected"].sum() == summary["updates"]
    assert (clients["status"] == "ok").all()
    assert clients.groupby("round")["bytes_up"].sum().tolist() == rounds["bytes_up"].tolist()
    arrays = load_file(folder / "model.safetensors")
    assert sum(a.size for a in arrays.values()) == summary["parameters"]
    assert sha256(arrays) == summary["model_sha256"]
    for name in ("config.yaml", "tokenizer.json", "report.html"):
        assert (folder / name).stat().st_size > 0
    assert not (folder / "privacy.json").exists()
    assert not list(folder.rglob("*.part"))
    assert "WER" in error
    assert "Traceback" not in error
    assert set(fedasr.load_run(folder).groups["value"]) == {"f", "m"}


def test_the_same_utterances_are_transcribed_at_each_evaluation(finished: tuple[Path, str, str]) -> None:
    run = fedasr.load_run(finished[0])
    assert run.transcripts["round"].unique().tolist() == [2, 4]
    by_round = {at: run.transcripts[run.transcripts["round"] == at] for at in (2, 4)}
    assert by_round[2]["utterance"].tolist() == by_round[4]["utterance"].tolist()
    assert by_round[2]["reference"].tolist() == by_round[4]["reference"].tolist()
    last = by_round[4]  # three speakers of two utterances each: all of them
    assert last["speaker"].nunique() == 3
    assert error_counts(last["reference"].tolist(), last["hypothesis"].tolist()).wer == run.last("wer")
    assert "Sample transcripts" in (finished[0] / "report.html").read_text(encoding="utf-8")


def test_groups_have_an_interval_over_their_speakers(finished: tuple[Path, str, str]) -> None:
    groups = fedasr.load_run(finished[0]).groups
    assert groups["speakers"].between(1, 2).all()
    several = groups[groups["speakers"] > 1]
    assert len(several)
    assert (several["wer_low"] <= several["wer"]).all()
    assert (several["wer"] <= several["wer_high"]).all()
    assert groups.loc[groups["speakers"] == 1, "wer_low"].isna().all()


def test_bytes_are_those_of_flowers_serialisation(finished: tuple[Path, str, str]) -> None:
    folder = finished[0]
    arrays = load_file(folder / "model.safetensors")
    clients = pd.read_parquet(folder / "clients.parquet")
    weights = sum(a.nbytes for a in arrays.values())
    assert (clients["bytes_up"] > weights + 128 * len(arrays)).all()
    assert (clients["bytes_up"] < weights + 256 * len(arrays) + 500).all()


@pytest.mark.slow
def test_the_written_config_repeats_the_run(finished: tuple[Path, str, str], tmp_path: Path) -> None:
    folder = finished[0]
    again = fedasr.run(folder / "config.yaml", out=tmp_path / "again")
    assert again.summary["model_sha256"] == fedasr.load_run(folder).summary["model_sha256"]


@pytest.mark.slow
def test_a_run_starts_from_another(finished: tuple[Path, str, str], tmp_path: Path) -> None:
    """No round changes nothing; the seed's WER is that of the run it comes from."""
    seed = fedasr.load_run(finished[0])
    same = fedasr.run(tiny(rounds=0, init_from=str(finished[0])), out=tmp_path / "same")
    assert same.summary["model_sha256"] == seed.summary["model_sha256"]
    assert same.summary["wer"] == same.summary["initial_wer"] == seed.summary["wer"]
    more = fedasr.run(tiny(rounds=1, init_from=str(finished[0] / "model.safetensors")), out=tmp_path / "more")
    assert more.summary["model_sha256"] != seed.summary["model_sha256"]
    assert more.summary["initial_loss"] == pytest.approx(seed.summary["loss"])


@pytest.mark.slow
def test_evaluate_and_transcribe(finished: tuple[Path, str, str], tmp_path: Path) -> None:
    folder = finished[0]
    made = command(
        "data", "synthesize", "--out", str(tmp_path / "speech"), "--speakers", "3", "--utterances-per-speaker", "2",
        "--grammar", "digits", "--json",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    manifest = tmp_path / "speech" / "manifest.csv"
    assert json.loads(made.stdout)["utterances"] == 6
    for decoder in ("greedy", "beam", "vocabulary"):
        arguments = ["evaluate", str(folder), "--manifest", str(manifest), "--decoder", decoder, "--by", "speaker"]
        found = command(*arguments, "--json")
        assert found.returncode == 0, found.stderr
        result = json.loads(found.stdout)
        assert result["utterances"] == 6
        assert sum(group["utterances"] for group in result["by"].values()) == 6
        assert result["words"] == pd.read_csv(manifest)["text"].str.split().str.len().sum()
    audio = sorted((tmp_path / "speech" / "audio").rglob("*.flac"))[:2]
    text = command("transcribe", str(folder), *map(str, audio), "--decoder", "vocabulary", "--json")
    assert text.returncode == 0, text.stderr
    rows = json.loads(text.stdout)["transcripts"]
    assert [row["path"] for row in rows] == [str(path) for path in audio]
    assert all(row["text"] for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["fedavg", "fedprox", "fedadam", "fedyogi", "fedlamb"])
def test_every_strategy_runs(strategy: str, tmp_path: Path) -> None:
    rate = {"fedadam": 0.01, "fedyogi": 0.01, "fedlamb": 0.01}.get(strategy, 1.0)
    changes = {"strategy__name": strategy, "strategy__learning_rate": rate, "client__proximal": 0.01}
    run = fedasr.run(tiny(rounds=2, strategy__weighting="seconds", **changes), out=tmp_path / "run")
    assert run.rounds["loss"].notna().all()
    assert run.rounds["train_loss"].iloc[-1] < run.rounds["train_loss"].iloc[0]


@pytest.mark.quick
@pytest.mark.parametrize(
    "model",
    [
        {"encoder": "lstm", "channels": [8, 8], "hidden": 8, "norm": "group"},
        {"encoder": "dsconv", "channels": [8, 8], "hidden": 16, "layers": 2},
        {
            "name": "ctc-conformer",
            "channels": [8, 8],
            "hidden": 16,
            "layers": 1,
            "conformer": {"heads": 2, "kernel": 5},
        },
    ],
)
def test_every_model_trains(model: dict[str, object], tmp_path: Path) -> None:
    run = fedasr.run({**tiny(rounds=2), "model": model}, out=tmp_path / "run")
    assert run.rounds["train_loss"].iloc[-1] < run.rounds["train_loss"].iloc[0]


@pytest.mark.slow
def test_longest_clients_first_and_grouped_batches_change_the_cost_not_the_promise(tmp_path: Path) -> None:
    """The start order of clients is free: sums are exact, so it changes no bit."""
    first = fedasr.run(tiny(), out=tmp_path / "a", overrides={"runtime.longest_first": True})
    second = fedasr.run(tiny(), out=tmp_path / "b", overrides={"runtime.longest_first": False})
    assert first.summary["model_sha256"] == second.summary["model_sha256"]


def test_many_clients_cost_a_table(tmp_path: Path) -> None:
    """Five thousand clients: nothing is rendered but what is selected and tested."""
    run = fedasr.run(tiny(rounds=1, data__synthetic__speakers=5000), out=tmp_path / "run")
    assert run.summary["clients"] == 5000
    assert run.summary["updates"] == 5


def test_real_speech_is_learnt(speech: Path, tmp_path: Path) -> None:
    """A few rounds on real digits of five speakers: the loss on other recordings falls clearly."""
    config = {
        "name": "fsdd",
        "rounds": 8,
        "data": {
            "corpus": "manifest",
            "manifest": str(speech / "fsdd_mini" / "manifest.csv"),
            "test_split": "valid",
            "on_bad_audio": "skip",
        },
        "model": {"encoder": "blstm", "channels": [32, 32], "hidden": 48},
        "client": {"optimizer": "adamw", "learning_rate": 0.003, "batch_size": 10},
        "selection": {"clients_per_round": 5},
        "evaluate": {"every": 4, "decoder": "vocabulary", "by": ["accent"]},
        "runtime": {"workers": 2},
    }
    run = fedasr.run(config, out=tmp_path / "run")
    assert run.summary["clients"] == 5
    losses = run.rounds["loss"].dropna().to_numpy()
    assert losses[-1] < 0.75 * run.rounds["train_loss"].iloc[0]
    assert run.summary["wer"] < 0.75, "chance among ten words is 0.9"
    assert np.isfinite(run.rounds["update_norm"]).all()
