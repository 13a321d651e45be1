"""What a teacher keeps, how it votes, and what leaves the device."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict

import fedasr.experiment
from fedasr.clients.client_app import app
from fedasr.clients.speech import Device, find_device
from fedasr.clients.store import ClientStore, find_store
from fedasr.clients.teacher import ABSTAINS, batches, chosen, most_likely, name_of, sequences, vote
from fedasr.config import load
from fedasr.errors import InputError
from fedasr.experiment import Experiment, as_json
from fedasr.flower.messages import RUN_ID, assume_identity
from fedasr.flower.records import array_record, arrays_of, values_of
from fedasr.models.weights import sha256
from fedasr.privacy.pate.noise import from_fixed

CONFIG: dict[str, Any] = {
    "data": {
        "corpus": "synthetic",
        "synthetic": {
            "grammar": "words",
            "words": ["yes", "no"],
            "speakers": 3,
            "utterances_per_speaker": 3,
            "activity": "constant",
            "test_speakers": 1,
            "test_utterances_per_speaker": 1,
        },
    },
    "model": {"channels": [8, 8], "hidden": 8},
    "client": {"optimizer": "adamw", "learning_rate": 0.01, "epochs": 2, "batch_size": 2},
    "strategy": {"name": "pate"},
    "pate": {"scale": 2.0},
}


@pytest.fixture(scope="module")
def run() -> Experiment:
    return fedasr.experiment.experiment(as_json(load(CONFIG)))


def context(folder: Path, client: int = 0) -> Context:
    return Context(RUN_ID, client, {"partition-id": client}, RecordDict(), {"client-store": str(folder)})


def message(kind: str, run: Experiment, record: dict[str, Any] | None = None, **order: Any) -> Message:
    assume_identity()
    values = {"round": 0, "experiment": as_json(run.config), **order}
    return Message(RecordDict({"config": ConfigRecord(values), **(record or {})}), 0, kind)


def lesson(run: Experiment) -> Message:
    return message("train.teacher", run, {"arrays": array_record(run.first_weights())})


def question(run: Experiment, **order: Any) -> Message:
    batch = run.speech.batch(run.rows("test"))
    frames = np.concatenate([f[:n].numpy() for f, n in zip(batch.features, batch.feature_lengths, strict=True)])
    tokens = [run.tokenizer.encode(text) for text in ("no", "yes")]
    values = {"unit": "utterance", "internal_lm": 0.0, "classes": 2, "number": 0, "teachers": 3} | order
    record = {
        "speech": array_record({"frames": frames, "lengths": batch.feature_lengths.numpy()}),
        "questions": array_record({"tokens": np.concatenate(tokens), "lengths": np.array([2, 3])}),
    }
    return message("query.votes", run, record, start=sha256(run.first_weights()), **values)


def device(run: Experiment, folder: Path, client: int = 0) -> Device:
    return find_device(lesson(run), context(folder, client))


@pytest.mark.thorough
def test_a_teacher_learns_once_and_tells_nothing_of_what_it_learnt(run: Experiment, tmp_path: Path) -> None:
    first = app(lesson(run), context(tmp_path))
    assert set(first.content) == {"metrics"}
    assert not values_of(first, "metrics")
    [kept] = tmp_path.glob("*.safetensors")
    before = kept.read_bytes()
    assert not values_of(app(lesson(run), context(tmp_path)), "metrics")
    assert kept.read_bytes() == before


@pytest.mark.slow
def test_teachers_of_other_devices_seeds_and_settings_do_not_meet(run: Experiment, tmp_path: Path) -> None:
    start = sha256(run.first_weights())
    names = {name_of(device(run, tmp_path, client), start) for client in range(3)}
    other = Experiment(load({**CONFIG, "client": {**CONFIG["client"], "epochs": 3}}))
    names.add(name_of(device(other, tmp_path), start))
    names.add(name_of(device(run, tmp_path), "another start"))
    assert len(names) == 5
    votes_only = Experiment(load({**CONFIG, "pate": {"scale": 9.0}}))
    assert name_of(device(votes_only, tmp_path), start) in names


def test_votes_are_the_likeliest_candidates(run: Experiment, tmp_path: Path) -> None:
    app(lesson(run), context(tmp_path))
    asked = question(run)
    reply = app(asked, context(tmp_path))
    votes = arrays_of(reply, "votes")["votes"]
    model = run.model()
    store = ClientStore(tmp_path)
    name = name_of(device(run, tmp_path), sha256(run.first_weights()))
    with torch.no_grad():
        for parameter, array in zip(
            model.parameters(), store.load(name, tuple(n for n, _ in model.named_parameters())).values(), strict=True
        ):
            parameter.copy_(torch.from_numpy(array))
    batch = run.speech.batch(run.rows("test"))
    result = model.hypotheses(batch, run.tokenizer, "vocabulary", vocabulary=("no", "yes"))
    assert [("no", "yes")[v] for v in votes.tolist()] == result


@pytest.mark.thorough
def test_shares_of_noise_are_on_the_vote_and_differ_between_teachers(run: Experiment, tmp_path: Path) -> None:
    noisy_run = Experiment(load({**CONFIG, "pate": {**CONFIG["pate"], "noise_at": "teachers"}}))
    counts = []
    for client in range(2):
        app(lesson(run), context(tmp_path, client))
        votes = vote(device(run, tmp_path, client), question(run), ClientStore(tmp_path))
        # The config alone decides whether there is noise, which a device checks: nothing beside it in a message.
        noisy = vote(device(noisy_run, tmp_path, client), question(noisy_run, noise="server"), ClientStore(tmp_path))
        assert noisy.dtype == np.int64
        one_hot = np.eye(2)[votes]
        counts.append(from_fixed(noisy) - one_hot)
        assert 0 < np.abs(counts[-1]).max() < 6 * 2.0 / np.sqrt(3)
    assert not np.array_equal(*counts)


@pytest.mark.thorough
def test_secret_noise_is_the_same_when_the_same_is_asked_again(tmp_path: Path) -> None:
    """Else a server that asks twice, as a resumed run does, has two noisy answers for the price of one."""
    secret = {"privacy": {"unit": "teacher", "secret_noise": True}, "pate": {**CONFIG["pate"], "noise_at": "teachers"}}
    run = fedasr.experiment.experiment(as_json(load({**CONFIG, **secret})))

    def noisy(folder: str, **order: Any) -> list[list[float]]:
        asked = question(run, **order)
        answer = app(asked, context(tmp_path / folder, 0))
        return from_fixed(arrays_of(answer, "votes")["votes"]).tolist()

    for folder in ("one", "other"):
        app(lesson(run), context(tmp_path / folder, 0))
    first = noisy("one")
    assert noisy("one") == first
    assert noisy("one", number=3) != first
    assert noisy("one", teachers=4) != first
    assert noisy("other") != first
    kept = tmp_path / "one" / "0-noise.secret"
    assert len(kept.read_bytes()) == 32
    assert kept.stat().st_mode & 0o077 == 0
    kept.write_bytes(b"short")
    with pytest.raises(InputError, match="is damaged: 5 bytes"):
        ClientStore(tmp_path / "one").secret("0-noise")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be kept"):
        ClientStore(tmp_path / "file").secret("noise")


def test_who_asks_at_once_for_a_secret_gets_the_same(tmp_path: Path) -> None:
    for attempt in range(20):
        store, together = ClientStore(tmp_path / str(attempt)), Barrier(8)

        def ask(_: int, store: ClientStore = store, together: Barrier = together) -> bytes:
            together.wait()
            return store.secret("noise")

        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(ask, range(8)))) == 1
        assert [path.name for path in store.folder.iterdir()] == ["noise.secret"]


def test_a_device_without_a_teacher_says_so(run: Experiment, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such weights"):
        vote(device(run, tmp_path), question(run), ClientStore(tmp_path))


def test_who_can_say_nothing_abstains() -> None:
    scores = torch.tensor([[-1.0, -1.0], [-torch.inf, -torch.inf], [torch.nan, -3.0], [torch.nan, torch.nan]])
    assert most_likely(scores).tolist() == [0, ABSTAINS, 1, ABSTAINS]


def test_batches_are_of_similar_length_and_know_their_places() -> None:
    lengths = np.array([4, 1, 3, 2])
    frames = np.repeat(np.arange(4.0, dtype=np.float32), lengths)[:, None] * np.ones((1, 2), np.float32)
    result = list(batches(frames, lengths, 2))
    assert [places.tolist() for places, _ in result] == [[1, 3], [2, 0]]
    assert result[1][1].features[1].tolist() == [[0.0, 0.0]] * 4
    assert result[0][1].feature_lengths.tolist() == [1, 2]


def test_sequences_are_taken_apart() -> None:
    assert sequences(np.array([1, 2, 3]), np.array([2, 0, 1])) == [[1, 2], [], [3]]
    assert sequences(np.array([], np.int64), np.array([0, 0])) == [[], []]


@pytest.mark.parametrize("kind", ["box", "simulation", "elsewhere"])
def test_where_the_store_is(kind: str, tmp_path: Path) -> None:
    node = {"data": str(tmp_path)} if kind == "box" else {}
    settings = {"client-store": str(tmp_path / "clients")} if kind != "elsewhere" else {}
    result = find_store(Context(RUN_ID, 0, node, RecordDict(), settings)).folder
    if kind == "elsewhere":
        assert result.name == "weights"
        assert tmp_path not in result.parents
    else:
        assert result == tmp_path / ("weights" if kind == "box" else "clients")


def test_a_store_keeps_order_and_refuses_what_is_damaged(tmp_path: Path) -> None:
    store = ClientStore(tmp_path / "new")
    assert "a" not in store
    store.save("a", {"w": np.ones(2, np.float32), "b": np.zeros((1, 1), np.float32)})
    assert "a" in store
    assert list(store.load("a", ("w", "b"))) == ["w", "b"]
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.safetensors"]
    store.path("a").write_bytes(b"damaged")
    with pytest.raises(InputError, match="not a readable safetensors file"):
        store.load("a", ("w", "b"))


def test_only_what_is_not_usual_names_a_teacher() -> None:
    """A key that comes with an upgrade, with its default, must not lose an edge device its teacher."""
    before = {"epochs": 2, "batch_size": 8, "noise": {"at": "server", "masks": [1, 2]}}
    after = {**before, "new": 0.0, "noise": {**before["noise"], "more": None}}  # type: ignore[dict-item]
    usual = {"epochs": 1, "batch_size": 8, "new": 0.0, "noise": {"at": "server", "masks": [1], "more": None}}
    assert chosen(before, usual) == chosen(after, usual) == {"epochs": 2, "noise": {"masks": [1, 2]}}
    assert chosen({**after, "new": 1.0}, usual)["new"] == 1.0


def test_weights_that_cannot_be_kept_are_one_line_and_leave_nothing(tmp_path: Path) -> None:
    store = ClientStore(tmp_path)
    store.save("a", {"w": np.ones(3, np.float32)})
    (tmp_path / "b.safetensors").mkdir()  # nothing can take its place
    with pytest.raises(InputError, match=r"b\.safetensors: cannot be written"):
        store.save("b", {"w": np.ones(3, np.float32)})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]
