"""The server as a PATE aggregator, end to end: the same labels and the same ledger however it is run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

import fedasr
from clients.client_app import app as client_app
from fedasr.config import load
from fedasr.errors import InputError, RunFailed
from fedasr.experiment import as_json, experiment
from fedasr.privacy.pate.analysis import Mechanism, analyse
from fedasr.runtime.executors import SerialExecutor
from fedasr.runtime.flower_compat import RUN_ID, array_record
from fedasr.runtime.grid import LocalGrid
from fedasr.runtime.launch import launch
from fedasr.runtime.session import Silent, current
from strategies.pate import teachers
from strategies.pate.units import base
from strategies.server_app import app as server_app

from .tiny import ROOT, environment, tiny

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
        patch.setattr(base, "BLOCK", 8)
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


@pytest.mark.parametrize("mechanism", ["gnmax", "soft-gaussian"])
@pytest.mark.parametrize("noise_at", ["server", "teachers"])
def test_the_order_of_the_answers_changes_nothing(noise_at: str, mechanism: str, tmp_path: Path) -> None:
    changes = {"noise_at": noise_at, "mechanism": mechanism, "store": str(tmp_path / "store")}
    config = load(pate(pate={**CHANGES["pate"], **changes}, rounds=0))
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
    if noise_at == "teachers" or mechanism != "gnmax":
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


LIES: dict[str, Any] = {
    "nothing": {},
    "another-kind": {"votes": array_record({"votes": np.zeros(8, np.float32)})},
    "too-few": {"votes": array_record({"votes": np.zeros(1, np.int64)})},
    "too-many": {"votes": array_record({"votes": np.zeros((8, 99), np.int64)})},
    "another-name": {"votes": array_record({"ballots": np.zeros(8, np.int64)})},
    "numbers": {"votes": MetricRecord({"votes": 3})},
}


@pytest.mark.parametrize("lie", LIES)
def test_votes_that_cannot_be_are_not_counted(lie: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lying = ClientApp()

    @lying.train("teacher")
    @lying.query("votes")
    def answer(message: Message, context: Context) -> Message:
        if message.metadata.message_type == "query.votes" and context.node_config["partition-id"] == 3:
            return Message(RecordDict(LIES[lie]), reply_to=message)
        return client_app(message, context)

    config = load(pate(rounds=0, pate__queries=8))
    (tmp_path / "checkpoint").mkdir(parents=True)
    settings = {"experiment": as_json(config), "out": str(tmp_path), "resume": False}
    grid = LocalGrid(SerialExecutor(lying), 12, {"client-store": str(tmp_path / "store")})
    said: list[str] = []
    monkeypatch.setattr(current().watcher, "note", said.append, raising=False)
    server_app(grid, Context(RUN_ID, 0, {}, RecordDict(), settings))
    assert np.load(tmp_path / "votes.npy").sum(axis=1).max() == 11
    assert any("votes" in text and "(" in text for text in said)


@pytest.mark.parametrize("huge", [2**61, -(2**61)], ids=["up", "down"])
def test_shares_that_would_overflow_the_sum_are_refused(huge: int, tmp_path: Path) -> None:
    lying = ClientApp()

    @lying.train("teacher")
    @lying.query("votes")
    def answer(message: Message, context: Context) -> Message:
        if message.metadata.message_type == "query.votes" and context.node_config["partition-id"] == 3:
            return Message(RecordDict({"votes": array_record({"votes": np.full((8, 3), huge)})}), reply_to=message)
        return client_app(message, context)

    config = load(pate(rounds=0, pate={**CHANGES["pate"], "queries": 8, "noise_at": "teachers", "scale": 0.01}))
    (tmp_path / "checkpoint").mkdir(parents=True)
    settings = {"experiment": as_json(config), "out": str(tmp_path), "resume": False}
    grid = LocalGrid(SerialExecutor(lying), 12, {"client-store": str(tmp_path / "store")})
    server_app(grid, Context(RUN_ID, 0, {}, RecordDict(), settings))
    assert set(pd.read_parquet(tmp_path / "queries.parquet")["label"]) <= set(WORDS)


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


def test_frames_of_ctc(tmp_path: Path) -> None:
    """A query a frame; what is released collapses to the labels; an utterance without consensus is given up."""
    changes = {
        "mechanism": "confident-gnmax",
        "scale": 0.5,
        "threshold": 5.0,
        "threshold_scale": 0.5,
        "unit": "frame",
        "queries": 10,
    }
    run = fedasr.run(pate(pate={**CHANGES["pate"], **changes}, rounds=1), out=tmp_path / "run")
    table = queries(run)
    assert table["correct"].isna().all()
    assert len(table) > 100
    asked = table.groupby("utterance")
    assert asked.ngroups == 10
    assert all(rows["answered"].iloc[:-1].all() for _, rows in asked)
    assert (run.summary["labels"] + asked["answered"].min().eq(False).sum()) <= 10
    assert run.summary["queries"] == len(table)


def test_soft_labels_are_released_whole_and_drawn_for_every_pass(reference: fedasr.Run, tmp_path: Path) -> None:
    changes = {"mechanism": "soft-gaussian", "scale": 0.3, "student": {"batch_size": 4, "answers": 3}}
    run = fedasr.run(pate(pate={**CHANGES["pate"], **changes}), out=tmp_path / "run")
    posteriors = np.load(run.path / "posteriors.npy")
    assert posteriors.shape == (20, 3)
    assert posteriors.sum(axis=1) == pytest.approx(np.full(20, 12.0), abs=2.5)
    assert sorted(WORDS)[posteriors[0].argmax()] == queries(run)["label"][0]
    assert run.summary["epsilon"] == run.summary["epsilon_data_independent"]
    assert run.privacy is not None
    assert "soft-gaussian" in json.dumps(run.privacy)
    one = fedasr.run(pate(pate={**CHANGES["pate"], **changes, "student": {"batch_size": 4}}), out=tmp_path / "one")
    assert one.summary["model_sha256"] != run.summary["model_sha256"]
    assert queries(one).equals(queries(run))


def test_votes_of_an_earlier_run_in_the_place_of_teachers(reference: fedasr.Run, tmp_path: Path) -> None:
    """The same votes give the same labels, ledger but for its words, and student; more teachers vote alike."""
    settings = {**CHANGES["pate"], "votes_from": str(reference.path)}
    again = fedasr.run(pate(pate=settings), out=tmp_path / "again")
    pd.testing.assert_frame_equal(queries(again), queries(reference))
    assert again.summary["model_sha256"] == reference.summary["model_sha256"]
    assert again.summary["epsilon"] == reference.summary["epsilon"]
    assert again.summary["clients"] == again.summary["updates"] == 0
    assert again.privacy is not None
    assert again.privacy["population"] == 12
    assert "with the votes of an earlier run" in json.dumps(again.privacy)
    # Without pate.queries, all that there are votes on are taken, of however much public speech.
    fedasr.run(pate(pate__queries=7, rounds=0), out=tmp_path / "few")
    few = fedasr.run(pate(pate={**settings, "votes_from": str(tmp_path / "few")}, rounds=0), out=tmp_path / "seven")
    assert len(queries(few)) == 7
    many = fedasr.run(
        pate(pate={**settings, "simulated_teachers": 1200, "queries": 15}, rounds=0), out=tmp_path / "many"
    )
    votes, before = np.load(many.path / "votes.npy"), np.load(reference.path / "votes.npy")[:15]
    assert np.abs(votes / 100 - before).max() < 12 * 4 * 0.5 / np.sqrt(1200)
    assert many.privacy is not None
    assert many.privacy["population"] == 1200
    assert "simulated after the votes of an earlier run" in json.dumps(many.privacy)
    for changes, words in (
        ({"queries": 21}, "has votes on 20 utterances, but 'pate.queries' is 21"),
        ({"candidates": ["yes", "no", "go"]}, "among other candidates"),
        ({"max_confidence": 0.5, "queries": 1}, "about other speech|no public utterance passes"),
        ({"votes_from": str(tmp_path)}, "has no votes.npy"),
        ({"unit": "token"}, "recorded votes need utterance"),
        ({"votes_from": None, "simulated_teachers": 3}, "'pate.votes_from' is not"),
        ({"votes_from": None, "internal_lm": 0.5, "unit": "token"}, "which has no candidates"),
    ):
        with pytest.raises(InputError, match=words):
            fedasr.run(pate(pate={**settings, **changes}), out=tmp_path / "no")
        assert not (tmp_path / "no").exists()


def test_a_teacher_without_weight_is_not_heard(tmp_path: Path) -> None:
    names = [str(name) for name in experiment(as_json(load(pate()))).partition.names]
    settings = {**CHANGES["pate"], "mechanism": "soft-gaussian", "scale": 0.001}
    weights = dict.fromkeys(names[1:], 0.0) | {names[0]: 0.5}
    fedasr.run(pate(pate={**settings, "weights": weights}, rounds=0), out=tmp_path / "run")
    posteriors = np.load(tmp_path / "run" / "posteriors.npy")
    assert posteriors.sum(axis=1) == pytest.approx(np.full(20, 0.5), abs=0.02)


@pytest.mark.parametrize("unit", ["utterance", "token"])
def test_only_utterances_that_the_start_is_unsure_of_are_asked_about(unit: str, tmp_path: Path) -> None:
    from fedasr.models.weights import load_arrays
    from strategies.pate.prefilter import confidences, narrow
    from strategies.pate.public import PublicSpeech
    from strategies.pate.units import TokenVotes, make_unit

    run = experiment(as_json(load(pate(pate__unit=unit))))
    public = PublicSpeech(run)
    phrases = [run.tokenizer.encode(text) for text in public.candidates]
    model = run.model()
    load_arrays(model, run.first_weights())
    sure = confidences(model, public.speech.batch(np.arange(20)), phrases)
    assert sure.shape == (20,)
    assert ((sure >= 0) & (sure <= 1)).all()
    middle = float(np.median(sure))
    settings = {**CHANGES["pate"], "unit": unit, "scale": 0.1}
    tree = pate(pate={**settings, "max_confidence": middle, "queries": 6}, rounds=0)
    wanted = np.flatnonzero(sure <= middle)[:6]
    expected = [(public.truth[place], public.corpus.content_key(place)) for place in wanted.tolist()]
    # What is learnt of an utterance afterwards is about the one that was asked about.
    narrowed = PublicSpeech(experiment(as_json(load(tree))))
    narrow(narrowed, experiment(as_json(load(tree))), run.first_weights())
    assert [(narrowed.truth[row], narrowed.corpus.content_key(row)) for row in range(6)] == expected
    chosen = make_unit(unit, narrowed, run.tokenizer)
    if isinstance(chosen, TokenVotes):
        assert chosen.references == [run.tokenizer.encode(truth) for truth, _ in expected]
        assert len(chosen.longest) == 6
    found = fedasr.run(tree, out=tmp_path / "six")
    assert queries(found)["utterance"].unique().tolist() == list(range(6))
    launch(load(tree), tmp_path / "stopped", watcher=StopAt("votes: "))
    launch(load(tree), tmp_path / "stopped", resume=True)
    pd.testing.assert_frame_equal(queries(fedasr.load_run(tmp_path / "stopped")), queries(found))
    with pytest.raises(InputError, match=r"no public utterance passes 'pate\.min_confidence'"):
        fedasr.run(pate(pate={**settings, "min_confidence": 1.0}, rounds=0), out=tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("family", "unit"), [("las", "token"), ("hybrid", "utterance"), ("rnnt", "utterance")])
def test_every_family_can_be_teacher_and_student(family: str, unit: str, tmp_path: Path) -> None:
    small = {"speller": {"hidden": 8, "heads": 2}, "transducer": {"prediction": 8, "joint": 8}}
    model = {**CHANGES["model"], "name": family, **small}
    tree = pate(model=model, pate__unit=unit, pate__queries=4, client__epochs=2, rounds=1)
    run = fedasr.run(tree, out=tmp_path / "run")
    assert run.status == "done"
    assert queries(run)["utterance"].nunique() == 4
    assert run.summary["epsilon"] > 0


def test_what_a_teacher_expects_is_taken_off_its_scores(tmp_path: Path) -> None:
    from fedasr.models.weights import load_arrays, read_weights
    from strategies.pate.public import PublicSpeech

    model = {**CHANGES["model"], "name": "rnnt", "transducer": {"prediction": 8, "joint": 8}}
    changes = {"model": model, "pate__queries": 6, "client__epochs": 8, "rounds": 0, "pate__store": str(tmp_path / "s")}
    votes = {}
    for share in (0.0, 1.0):
        run = fedasr.run(pate(**changes, pate__internal_lm=share), out=tmp_path / f"{share}")
        votes[share] = np.load(run.path / "votes.npy")
    assert (votes[0.0] != votes[1.0]).any()

    known = experiment(as_json(load(pate(**changes))))
    public, teacher = PublicSpeech(known), known.model()
    texts = [known.tokenizer.encode(text) for text in public.candidates]
    batch = public.speech.batch(np.arange(6))
    files = sorted((tmp_path / "s").glob("*.safetensors"))
    for share, found in votes.items():
        expected = np.zeros_like(found)
        for file in files:
            arrays, _ = read_weights(file)
            load_arrays(teacher, {name: arrays[name] for name in teacher.state_dict()})
            with teacher.as_it_decodes():
                scores = teacher.phrase_scores(teacher.encode(batch), texts) - share * teacher.internal_lm(texts)
            expected[np.arange(6), scores.argmax(1).numpy()] += 1
        assert (found == expected).all()


@pytest.mark.slow
def test_flowers_engine_gives_the_same_labels_and_leaves_no_teachers(reference: fedasr.Run, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Flower's simulation engine needs Ray: pip install 'fedasr[ray]'")
    run = fedasr.run(pate(), out=tmp_path / "run", overrides={"runtime.name": "flower", "runtime.workers": 2})
    same(run, reference)
    assert not (tmp_path / "run" / "checkpoint" / "clients").exists()
    assert "FEDASR_CLIENT_STORE" not in os.environ


class KillAt(StopAt):
    """Kills its own process where another would ask the run to stop."""

    def note(self, text: str) -> None:
        """Kill at a note."""
        if text.startswith(self.sign):
            os.kill(os.getpid(), signal.SIGKILL)


def run_until_killed(out: str, sign: str) -> None:
    """Run or resume the tiny config in small blocks; what the child process of the next test does."""
    base.BLOCK, teachers.AT_A_TIME = 8, 5
    launch(load(pate()), Path(out), resume=True, watcher=KillAt(sign))


def test_killed_and_resumed(reference: fedasr.Run, tmp_path: Path) -> None:
    """SIGKILL while the teachers learn, while they vote and while the student learns."""
    out = tmp_path / "run"
    program = (
        f"from tests.e2e.test_pate import run_until_killed; import sys; run_until_killed({str(out)!r}, sys.argv[1])"
    )
    for sign in ("teachers: 5", "votes: 8", "round 2"):
        command = [sys.executable, "-c", program, sign]
        killed = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, check=False, timeout=120)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert not (out / "model.safetensors").exists()
    launch(load(pate()), out, resume=True)
    same(fedasr.load_run(out), reference)


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
