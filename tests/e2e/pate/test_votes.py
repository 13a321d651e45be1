"""What is asked and how it is answered: units, mechanisms, budgets, votes of earlier runs, filters, weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

import fedasr
from fedasr.clients.client_app import app as client_app
from fedasr.config import load
from fedasr.errors import InputError
from fedasr.experiment import as_json, experiment
from fedasr.flower.messages import RUN_ID
from fedasr.flower.records import arrays_of
from fedasr.privacy.pate.analysis import VoteMechanism, analyse
from fedasr.runtime.executors import SerialExecutor
from fedasr.runtime.grid import LocalGrid
from fedasr.runtime.launch import launch
from fedasr.strategies.server_app import app as server_app

from .world import CHANGES, WORDS, StopAt, pate, queries


@pytest.mark.slow
def test_runs_that_differ_in_the_votes_share_their_teachers(tmp_path: Path) -> None:
    store = tmp_path / "teachers"
    fedasr.run(pate(pate__store=str(store), rounds=0), out=tmp_path / "a")
    before = {path.name: path.stat().st_mtime_ns for path in store.iterdir()}
    assert len(before) == 12
    changes = {"mechanism": "lnmax", "scale": 3.0}
    fedasr.run(pate(pate={**CHANGES["pate"], **changes, "store": str(store)}, rounds=0), out=tmp_path / "b")
    assert {path.name: path.stat().st_mtime_ns for path in store.iterdir()} == before


@pytest.mark.slow
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
    studied = "but where labelling ended followed from these votes, which no ε covers" in run.privacy["guarantee"]
    assert studied == (budget == "data-dependent")


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["utterance", "token", "frame"])
def test_teachers_that_add_the_noise_are_asked_no_more_than_is_paid_for(unit: str, tmp_path: Path) -> None:
    """Their noisy answers are released to the server by being there."""
    counting = ClientApp()
    asked: list[int] = []

    @counting.train("teacher")
    @counting.query("votes")
    def answer(message: Message, context: Context) -> Message:
        reply = client_app(message, context)
        if message.metadata.message_type == "query.votes" and context.node_config["partition-id"] == 3:
            asked.append(len(arrays_of(reply, "votes")["votes"]))
        return reply

    changes = {**CHANGES["pate"], "noise_at": "teachers", "unit": unit, "scale": 6.0 if unit == "utterance" else 20.0}
    config = load(pate(rounds=0, pate=changes, privacy={"unit": "teacher", "epsilon": 3.0, "delta": 1e-4}))
    (tmp_path / "checkpoint").mkdir(parents=True)
    settings = {"experiment": as_json(config), "out": str(tmp_path), "resume": False}
    grid = LocalGrid(SerialExecutor(counting), 12, {"client-store": str(tmp_path / "store")})
    server_app(grid, Context(RUN_ID, 0, {}, RecordDict(), settings))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert sum(asked) == summary["queries"] > 1
    assert "would exceed ε = 3" in summary["stopped"]
    assert summary["epsilon"] <= 3.0


@pytest.mark.slow
def test_a_teacher_may_be_a_group_and_noise_may_be_secret(reference: fedasr.Run, tmp_path: Path) -> None:
    """Four groups of three people; ε is for a group, and secret noise differs from run to run."""
    grouped = {"data__partition": {"name": "grouped"}, "data__clients": 4, "rounds": 0}
    secret = {"unit": "teacher", "delta": 1e-4, "secret_noise": True}
    result = []
    for name in ("one", "other"):
        changes = {"scale": 1.0, "mechanism": "soft-gaussian", "store": str(tmp_path / "store")}
        tree = pate(**grouped, privacy=secret, pate={**CHANGES["pate"], **changes})
        run = fedasr.run(tree, out=tmp_path / name)
        assert run.privacy is not None
        assert (run.privacy["population"], run.privacy["unit"]) == (4, "teacher")
        assert run.clients["examples"].sum() == reference.clients["examples"].sum()
        result.append(np.load(run.path / "posteriors.npy"))
    assert not np.array_equal(*result)


@pytest.mark.slow
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
    mechanism = VoteMechanism("confident-gnmax", 1.0, 4.0, 1.0)
    votes, answered = (np.load(run.path / f"{name}.npy") for name in ("votes", "answered"))
    alone = analyse(votes, mechanism, 1e-4, answered=answered.astype(bool), conversion="improved")
    assert alone.best[0] == pytest.approx(summary["epsilon"])


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
        ({"votes_from": None, "internal_lm": 0.5, "unit": "token"}, "is set but .pate.unit. is .token."),
    ):
        with pytest.raises(InputError, match=words):
            fedasr.run(pate(pate={**settings, **changes}), out=tmp_path / "no")
        assert not (tmp_path / "no").exists()


@pytest.mark.slow
def test_a_teacher_without_weight_is_not_heard(tmp_path: Path) -> None:
    names = [str(name) for name in experiment(as_json(load(pate()))).partition.names]
    settings = {**CHANGES["pate"], "mechanism": "soft-gaussian", "scale": 0.001}
    weights = dict.fromkeys(names[1:], 0.0) | {names[0]: 0.5}
    fedasr.run(pate(pate={**settings, "weights": weights}, rounds=0), out=tmp_path / "run")
    posteriors = np.load(tmp_path / "run" / "posteriors.npy")
    assert posteriors.sum(axis=1) == pytest.approx(np.full(20, 0.5), abs=0.02)


def test_of_another_corpus_all_is_public() -> None:
    """`data.public_share` sets aside speakers of the private one."""
    from fedasr.strategies.pate.public import PublicSpeech

    run = experiment(as_json(load(pate(data__public_share=0.5))))
    assert len(run.partition) == 6
    assert len(PublicSpeech(run)) == 20


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["utterance", "token"])
def test_only_utterances_that_the_start_is_unsure_of_are_asked_about(unit: str, tmp_path: Path) -> None:
    from fedasr.models.weights import load_arrays
    from fedasr.strategies.pate.prefilter import confidences, narrow
    from fedasr.strategies.pate.public import PublicSpeech
    from fedasr.strategies.pate.units import TokenVotes, make_unit

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
    result = fedasr.run(tree, out=tmp_path / "six")
    assert queries(result)["utterance"].unique().tolist() == list(range(6))
    launch(load(tree), tmp_path / "stopped", watcher=StopAt("votes: "))
    launch(load(tree), tmp_path / "stopped", resume=True)
    pd.testing.assert_frame_equal(queries(fedasr.load_run(tmp_path / "stopped")), queries(result))
    with pytest.raises(InputError, match=r"no public utterance passes 'pate\.min_confidence'"):
        fedasr.run(pate(pate={**settings, "min_confidence": 1.0}, rounds=0), out=tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_what_a_teacher_expects_is_taken_off_its_scores(tmp_path: Path) -> None:
    from fedasr.models.weights import load_arrays, read_weights
    from fedasr.strategies.pate.public import PublicSpeech

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
    for share, result in votes.items():
        expected = np.zeros_like(result)
        for file in files:
            arrays, _ = read_weights(file)
            load_arrays(teacher, {name: arrays[name] for name in teacher.state_dict()})
            with teacher.as_it_decodes():
                scores = teacher.phrase_scores(teacher.encode(batch), texts) - share * teacher.internal_lm(texts)
            expected[np.arange(6), scores.argmax(1).numpy()] += 1
        assert (result == expected).all()
