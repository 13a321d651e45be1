"""The server as a PATE aggregator, end to end: the same labels and the same ledger however it is run."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

import fedasr
from clients.client_app import app as client_app
from fedasr.config import load
from fedasr.errors import InputError, RunFailed
from fedasr.experiment import as_json, experiment
from fedasr.privacy.pate.analysis import Mechanism, analyse
from fedasr.runtime.executors import SerialExecutor
from fedasr.runtime.flower_compat import RUN_ID
from fedasr.runtime.grid import LocalGrid
from fedasr.runtime.launch import launch
from fedasr.runtime.session import Silent, current
from strategies.pate import questions, teachers
from strategies.server_app import app as server_app

from .tiny import tiny

WORDS = ["yes", "no", "stop"]
PUBLIC = {
    "synthetic": {
        "grammar": "words",
        "words": WORDS,
        "speakers": 5,
        "utterances_per_speaker": 4,
        "activity": "constant",
        "test_speakers": 1,
    }
}
CHANGES: dict[str, Any] = {
    "data__synthetic__grammar": "words",
    "data__synthetic__words": WORDS,
    "model": {"encoder": "blstm", "channels": [8, 8], "hidden": 8, "dropout": 0.1},
    "client__epochs": 6,
    "client__learning_rate": 0.01,
    "strategy": {"name": "pate"},
    "privacy": {"unit": "teacher", "delta": 1e-4},
    "pate": {"scale": 2.0, "public": PUBLIC, "student": {"batch_size": 4}},
}
RESULTS = ["round", "loss", "wer", "cer", "train_loss", "clients_replied", "examples", "bytes_up"]


def pate(**changes: Any) -> dict[str, Any]:
    """Return the tiny PATE config: 12 teachers, 20 public utterances of three words."""
    return tiny(**deepcopy({**CHANGES, **changes}))


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(questions, "BLOCK", 8)
        patch.setattr(teachers, "AT_A_TIME", 5)
        yield


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> fedasr.Run:
    return fedasr.run(pate(), out=tmp_path_factory.mktemp("runs") / "serial")


def queries(run: fedasr.Run) -> pd.DataFrame:
    return pd.read_parquet(run.path / "queries.parquet")


def same(run: fedasr.Run, reference: fedasr.Run) -> None:
    assert run.summary["model_sha256"] == reference.summary["model_sha256"]
    assert run.privacy == reference.privacy
    assert run.summary["epsilon"] == reference.summary["epsilon"]
    pd.testing.assert_frame_equal(run.rounds[RESULTS], reference.rounds[RESULTS])
    pd.testing.assert_frame_equal(queries(run), queries(reference))
    columns = ["round", "client", "examples", "status"]
    pd.testing.assert_frame_equal(run.clients[columns], reference.clients[columns])


def test_what_a_run_leaves_behind(reference: fedasr.Run) -> None:
    summary, table, privacy = reference.summary, queries(reference), reference.privacy
    assert (summary["status"], summary["rounds"], summary["clients"], summary["updates"]) == ("done", 3, 12, 12)
    assert summary["queries"] == summary["labels"] == len(table) == 20
    assert summary["label_accuracy"] == pytest.approx(table["correct"].mean())
    assert set(table["label"]) <= set(WORDS)
    assert table["utterance"].tolist() == list(range(20))
    assert (table["votes"] <= 12).all()
    assert privacy is not None
    assert (privacy["unit"], privacy["population"], privacy["adjacency"]) == ("teacher", 12, "replace-one")
    assert privacy["epsilon"] == summary["epsilon"] <= summary["epsilon_data_independent"]
    assert reference.clients["status"].eq("ok").all()
    assert reference.clients["train_loss"].isna().all()
    assert not (reference.path / "checkpoint" / "clients").exists()
    # What `fedasr privacy pate` says of the saved votes is what the ledger says.
    votes = np.load(reference.path / "votes.npy")
    assert votes.shape == (20, 3)
    assert (votes.sum(axis=1) <= 12).all()
    alone = analyse(votes, Mechanism("gnmax", 2.0), 1e-4, conversion="improved")
    assert alone.best[0] == pytest.approx(summary["epsilon"])
    assert alone.best_data_independent[0] == pytest.approx(summary["epsilon_data_independent"])


def test_reports_and_comparisons_read_it(reference: fedasr.Run) -> None:
    from fedasr.results.report import write_report

    write_report(reference.path)
    assert (reference.path / "report.html").stat().st_size > 1000
    assert len(fedasr.compare([reference]))


def test_workers_change_nothing(reference: fedasr.Run, tmp_path: Path) -> None:
    same(
        fedasr.run(pate(), out=tmp_path / "run", overrides={"runtime.executor": "pool", "runtime.workers": 3}),
        reference,
    )


class Shuffled(LocalGrid):
    """A grid whose replies arrive in any order."""

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Yield the replies shuffled."""
        replies = list(super().send_and_receive(messages, timeout=timeout))
        random.Random(len(replies)).shuffle(replies)
        yield from replies


@pytest.mark.parametrize("noise_at", ["server", "teachers"])
def test_the_order_of_the_answers_changes_nothing(noise_at: str, tmp_path: Path) -> None:
    config = load(pate(pate__noise_at=noise_at, pate__store=str(tmp_path / "store"), rounds=0))
    found = []
    for name, kind in (("straight", LocalGrid), ("shuffled", Shuffled)):
        out = tmp_path / name
        (out / "checkpoint").mkdir(parents=True)
        settings = {"experiment": as_json(config), "out": str(out), "resume": False}
        grid = kind(
            SerialExecutor(client_app), len(experiment(as_json(config)).partition), {"client-store": str(tmp_path)}
        )
        server_app(grid, Context(RUN_ID, 0, {}, RecordDict(), settings))
        found.append((pd.read_parquet(out / "queries.parquet"), json.loads((out / "privacy.json").read_text())))
    pd.testing.assert_frame_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]
    if noise_at == "teachers":
        assert found[0][0]["votes"].isna().all()
        assert not (tmp_path / "straight" / "votes.npy").exists()
        assert "epsilon_data_independent" not in found[0][1]


@pytest.mark.parametrize("kind", ["train.teacher", "query.votes"], ids=["learning", "voting"])
def test_a_teacher_that_fails_votes_for_nothing(kind: str, tmp_path: Path) -> None:
    """One of twelve is counted as failed where it did not learn, and the labels come without it."""
    broken: set[int] = {3}
    breaking = ClientApp()

    @breaking.train("teacher")
    @breaking.query("votes")
    def answer(message: Message, context: Context) -> Message:
        if message.metadata.message_type == kind and context.node_config["partition-id"] in broken:
            raise RuntimeError("no battery")
        return client_app(message, context)

    def outcome(name: str) -> Path:
        config = load(pate(rounds=0))
        out = tmp_path / name
        (out / "checkpoint").mkdir(parents=True)
        settings = {"experiment": as_json(config), "out": str(out), "resume": False}
        grid = LocalGrid(SerialExecutor(breaking), 12, {"client-store": str(tmp_path / "store")})
        server_app(grid, Context(RUN_ID, 0, {}, RecordDict(), settings))
        return out

    out = outcome("one")
    clients = pd.read_parquet(out / "clients.parquet")
    assert (clients["status"] == "failed").sum() == (1 if kind == "train.teacher" else 0)
    assert np.load(out / "votes.npy").sum(axis=1).max() == 11
    assert json.loads((out / "privacy.json").read_text())["population"] == 12
    broken.update(range(7))
    with pytest.raises(RunFailed, match=r"7 of 12 teachers failed .* no battery"):
        outcome("many")


class StopAt(Silent):
    """Asks the run to stop when it says something, or after a round."""

    def __init__(self, sign: str) -> None:
        self.sign = sign

    def note(self, text: str) -> None:
        """Ask to stop at a note."""
        if text.startswith(self.sign):
            current().stop.set()

    def round(self, row: Any) -> None:
        """Ask to stop after a round."""
        self.note(f"round {row['round']}")


@pytest.mark.parametrize(
    "sign",
    ["teachers: 5 of 12", "teachers: 12 of 12", "votes: 8", "votes: 20", "round 1"],
    ids=["learning", "learnt", "voting", "labelled", "student"],
)
def test_stopped_and_resumed(reference: fedasr.Run, sign: str, tmp_path: Path) -> None:
    config = load(pate())
    launch(config, tmp_path / "run", watcher=StopAt(sign))
    assert fedasr.load_run(tmp_path / "run").status == "interrupted"
    assert (tmp_path / "run" / "checkpoint" / "clients").exists()
    launch(config, tmp_path / "run", resume=True)
    same(fedasr.load_run(tmp_path / "run"), reference)


def test_teachers_that_are_gone_learn_the_same_again(reference: fedasr.Run, tmp_path: Path) -> None:
    config = load(pate())
    launch(config, tmp_path / "run", watcher=StopAt("votes: 8"))
    for file in sorted((tmp_path / "run" / "checkpoint" / "clients").iterdir())[::2]:
        file.unlink()
    launch(config, tmp_path / "run", resume=True)
    same(fedasr.load_run(tmp_path / "run"), reference)


def test_runs_that_differ_in_the_votes_share_their_teachers(tmp_path: Path) -> None:
    store = tmp_path / "teachers"
    fedasr.run(pate(pate__store=str(store), rounds=0), out=tmp_path / "a")
    before = {path.name: path.stat().st_mtime_ns for path in store.iterdir()}
    assert len(before) == 12
    changes = {"mechanism": "lnmax", "scale": 3.0}
    fedasr.run(pate(pate={**CHANGES["pate"], **changes, "store": str(store)}, rounds=0), out=tmp_path / "b")
    assert {path.name: path.stat().st_mtime_ns for path in store.iterdir()} == before


@pytest.mark.parametrize("budget", ["data-independent", "data-dependent"])
def test_labelling_ends_at_the_budget(budget: str, tmp_path: Path) -> None:
    changes = {"privacy": {"unit": "teacher", "epsilon": 9.0, "delta": 1e-4}, "pate__budget": budget, "rounds": 0}
    run = fedasr.run(pate(**changes), out=tmp_path / "run")
    assert run.status == "done"
    assert 0 < run.summary["queries"] < 20
    assert "would exceed ε = 9" in run.summary["stopped"]
    name = "epsilon_data_independent" if budget == "data-independent" else "epsilon"
    assert run.summary[name] <= 9.0 + 1e-9
    assert run.privacy is not None
    assert run.privacy["budget_epsilon"] == 9.0


def test_tokens_with_a_check_for_consensus(tmp_path: Path) -> None:
    changes = {
        "mechanism": "confident-gnmax",
        "scale": 1.0,
        "threshold": 4.0,
        "threshold_scale": 1.0,
        "unit": "token",
        "queries": 10,
    }
    run = fedasr.run(pate(pate={**CHANGES["pate"], **changes}, rounds=1), out=tmp_path / "run")
    table, summary = queries(run), run.summary
    assert len(table) == summary["queries"] >= 10
    assert table["answered"].sum() == summary["answered"]
    # An utterance is asked about until its end, or until there is no consensus.
    for _, asked in table.groupby("utterance"):
        assert not (asked["label"].iloc[:-1] == "(end)").any()
        assert asked["answered"].iloc[:-1].all()
    mechanism = Mechanism("confident-gnmax", 1.0, 4.0, 1.0)
    votes, answered = (np.load(run.path / f"{name}.npy") for name in ("votes", "answered"))
    alone = analyse(votes, mechanism, 1e-4, answered=answered.astype(bool), conversion="improved")
    assert alone.best[0] == pytest.approx(summary["epsilon"])


def test_the_student_hears_public_speakers_with_released_labels_alone() -> None:
    from strategies.pate.public import PublicSpeech

    run = experiment(as_json(load(pate())))
    public = PublicSpeech(run)
    speech = public.labelled({3: "no", 0: "stop"})
    assert speech.corpus.columns["text"].tolist() == ["stop", "no"]
    assert speech.corpus.content_key(1) == public.corpus.content_key(3)
    private = {run.corpus.content_key(row) for row in range(len(run.corpus))}
    assert not private & {public.corpus.content_key(row) for row in range(len(public))}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another-strategy": ({"strategy__name": "fedavg"}, "'pate.scale' is set but 'strategy.name' is 'fedavg'"),
    "threshold-missing": ({"pate__mechanism": "confident-gnmax"}, "'pate.threshold' is not set"),
    "threshold-unread": ({"pate__threshold": 3.0}, "'pate.threshold' is set but 'pate.mechanism' is 'gnmax'"),
    "unit-of-privacy": ({"privacy__unit": "user"}, "set privacy.unit=teacher"),
    "noise-key": ({"privacy__noise_multiplier": 1.0}, "'privacy.noise_multiplier' is set but 'privacy.unit' is 'teach"),
    "no-budget": ({"pate__budget": "data-dependent"}, "'privacy.epsilon' is not set; give a budget"),
    "one-candidate": ({"pate__candidates": ["yes"]}, "a vote needs at least two"),
    "unknown-candidate": ({"pate__candidates": ["yes", "42"]}, "'pate.candidates' has '42'"),
    "steps": ({"client__steps": 3}, "'client.steps' is set"),
    "clock": ({"devices": {"clock": True}}, "'devices.clock' is true"),
    "manifest": ({"pate__public": {"corpus": "manifest"}}, "'pate.public.manifest' is not set"),
    "split": ({"pate__public": {**PUBLIC, "split": "dev"}}, "'pate.public.split' is 'dev'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_before_anything_is_written(case: str, tmp_path: Path) -> None:
    changes, words = REFUSED[case]
    tree = json.loads(json.dumps(pate()))
    for name, value in changes.items():
        *path, last = name.split("__")
        node = tree
        for step in path:
            node = node.setdefault(step, {})
        node[last] = value
    with pytest.raises(InputError) as caught:
        fedasr.run(tree, out=tmp_path / "run")
    assert words in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_public_speech_of_a_private_speaker_is_refused(tmp_path: Path) -> None:
    """The same people in another table: the file names differ, the speakers do not."""
    from fedasr.data.synthetic import synthesize

    synthesize(tmp_path / "speech", 3, 2, 0, "digits")
    table = pd.read_csv(tmp_path / "speech" / "manifest.csv")
    table.to_csv(tmp_path / "speech" / "other.csv", index=False)
    data = {"corpus": "manifest", "manifest": str(tmp_path / "speech" / "manifest.csv")}
    tree = {**pate(), "data": data}
    same_table = {"corpus": "manifest", "manifest": data["manifest"]}
    other_table = {**same_table, "manifest": str(tmp_path / "speech" / "other.csv")}
    for public, words in (
        (same_table, "'pate.public.split' is 'train' of the corpus that 'data' reads too"),
        (other_table, "of the speakers that the teachers were trained on"),
    ):
        tree["pate"] = {"scale": 2.0, "public": public}
        with pytest.raises(InputError, match=words):
            fedasr.run(tree, out=tmp_path / "run")
