"""A teacher labels utterances: the same bytes for any number of parts and of interruptions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedasr.config import load
from fedasr.data.posteriors import Header, PosteriorStore
from fedasr.data.posteriors.layout import FRAMES, HYPOTHESES, NODES
from fedasr.data.posteriors.store import keys_of
from fedasr.data.relabelled import untranscribed
from fedasr.data.speech import Speech
from fedasr.errors import InputError
from fedasr.experiment import Experiment, as_json, experiment
from fedasr.models.base import SpeechModel
from fedasr.models.ctc import CTC
from fedasr.models.n_best import n_best
from fedasr.teaching import writing
from fedasr.teaching.asked import answers, hypotheses_of
from fedasr.teaching.teacher import Teacher
from fedasr.teaching.writing import Part, planned, write_part
from tests.e2e.tiny import tiny

WHOLE = Part()
HEADER = Header("frames", 29, "t", "k", "f", {}, {"top_k": 4})


class Untrained(Teacher):
    """A model with its first weights, in the place of a run folder."""

    def __init__(self, made: Experiment) -> None:
        self.config, self.tokenizer, self.model = made.config, made.tokenizer, made.model().eval()


def made(**changes: object) -> Experiment:
    return experiment(as_json(load(tiny(data__cache={"directory": "off"}, **changes))))


def write(folder: Path, run: Experiment, part: Part = WHOLE, batches: int | None = None) -> list[int]:
    """Write a part, or some batches of it; return what was left."""
    left = []
    rows = np.asarray(run.partition.rows)
    for count in write_part(Untrained(run), HEADER, run.corpus, run.config.data, rows, folder, part):
        left.append(count)
        if batches is not None and len(left) > batches:
            break
    return left


def content(folder: Path, run: Experiment) -> list[bytes]:
    """Return the bytes of every utterance."""
    store = PosteriorStore(folder)
    places = store.find(keys_of(run.corpus, np.asarray(run.partition.rows)))
    assert (places >= 0).all()
    return [store.rows(place, FRAMES).tobytes() for place in places.tolist()]


@pytest.mark.thorough
def test_any_number_of_parts_and_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "BATCH", 4)
    run = made()
    assert write(tmp_path / "whole", run)[-1] == 0
    whole = content(tmp_path / "whole", run)
    for number in range(3):
        write(tmp_path / "parts", run, Part(number, 3))
    assert content(tmp_path / "parts", run) == whole
    left = write(tmp_path / "stopped", run, batches=2)
    assert len(PosteriorStore(tmp_path / "stopped")) == 8
    assert left[-1] == left[0] - 8
    write(tmp_path / "stopped", run, Part(0, 2))
    write(tmp_path / "stopped", run, Part(1, 2))
    assert write(tmp_path / "stopped", run) == [0]
    assert content(tmp_path / "stopped", run) == whole


def test_batches_do_not_depend_on_the_order_of_rows() -> None:
    durations = np.array([1.0, 3.0, 2.0, 1.0] * 10, np.float32)
    rows = np.arange(40)
    for one, other in zip(planned(durations, rows), planned(durations, rows[::-1].copy()), strict=True):
        assert one.tolist() == other.tolist()
    assert planned(durations, rows[:0]) == []


@pytest.mark.parametrize("name", ["ctc", "hybrid"])
def test_frames_are_the_models_own(name: str) -> None:
    run = made(model__name=name)
    model = run.model().eval()
    batch = Speech(untranscribed(run.corpus), run.tokenizer, run.config.data).batch([0, 1])
    for rows, length in zip(answers(model, batch, HEADER), model.output_frames(batch.feature_lengths), strict=True):
        assert rows[FRAMES].shape == (int(length),)
        assert rows[FRAMES]["logp"].max() <= 0
    assert np.exp(rows[FRAMES]["logp"].astype(float)).sum(1) + np.exp(rows[FRAMES]["rest"].astype(float)) == (
        pytest.approx(1, abs=5e-3)
    )


def test_a_family_without_the_targets_is_refused() -> None:
    run = made(model__name="las")
    batch = run.speech.batch([0])
    with pytest.raises(InputError, match="has no posteriors of frames"):
        answers(run.model(), batch, HEADER)
    with pytest.raises(InputError, match="has no lattice of nodes"):
        answers(run.model(), batch, replace(HEADER, targets="lattice", asked={}))


def best_by_hand(model: SpeechModel, run: Experiment, row: int) -> float:
    """Return the log-probability of what is heard greedily."""
    with model.as_it_decodes():
        encoded = model.encode(run.speech.batch([row]))
        return float(model.transcript_log_probability(encoded, model.greedy(encoded)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ctc", *(pytest.param(n, marks=pytest.mark.thorough) for n in ("las", "rnnt"))])
def test_transcripts_of_any_family(name: str) -> None:
    """Each with its probability, the likeliest first, none twice; never less likely than the greedy one in a beam."""
    run = made(model__name=name)
    model = run.model().eval()
    labels = answers(model, run.speech.batch([0, 1]), replace(HEADER, targets="labels", asked={}))
    for row, rows in enumerate(labels):
        (result,) = hypotheses_of(rows[HYPOTHESES])
        assert result[1] == pytest.approx(best_by_hand(model, run, row), rel=1e-4)
    with model.as_it_decodes():
        encoded = model.encode(run.speech.batch([0]))
    result = n_best(model, encoded, 4, 3)[0]
    assert len({tuple(tokens) for tokens, _ in result}) == len(result) >= 1
    assert [score for _, score in result] == sorted((score for _, score in result), reverse=True)
    for tokens, score in result:
        assert float(model.transcript_log_probability(encoded, [tokens])) == pytest.approx(score, rel=1e-4)
    stored = answers(model, run.speech.batch([0]), replace(HEADER, targets="sequence", asked={"beam": 4, "n_best": 3}))
    assert [tokens for tokens, _ in hypotheses_of(stored[0][HYPOTHESES])] == [tokens for tokens, _ in result]


def test_lattices_of_a_transducer_have_a_row_a_node() -> None:
    run = made(model__name="rnnt")
    model = run.model().eval()
    assert not isinstance(model, CTC)
    rows = answers(model, run.speech.batch([0, 1]), replace(HEADER, targets="lattice", asked={}))
    for each in rows:
        ((tokens, _),) = hypotheses_of(each[HYPOTHESES])
        assert len(each[NODES]) % (len(tokens) + 1) == 0
        masses = np.exp(each[NODES]["token"].astype(float)) + np.exp(each[NODES]["blank"].astype(float))
        last = np.arange(len(each[NODES])) % (len(tokens) + 1) == len(tokens)
        assert (masses[~last] <= 1.01).all()
