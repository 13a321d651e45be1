"""Which rounds make a stage, and what a student labels by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedasr.config import load
from fedasr.data.ctc_frames import frames_needed
from fedasr.errors import InputError
from fedasr.experiment import as_json, experiment
from fedasr.models.confidence import of_transcripts
from fedasr.strategies.pate.public import PublicSpeech
from fedasr.strategies.pate.self_training import own_labels
from fedasr.training.self_labels import stage_of


@given(data=st.data())
def test_stages_share_out_the_rounds(data: st.DataObject) -> None:
    """Each round has one stage, in order; stages are of equal length but for one round; shares rise by the same."""
    rounds = data.draw(st.integers(1, 60))
    stages = data.draw(st.integers(1, rounds))
    left_out = data.draw(st.integers(0, min(1, stages - 1)))
    result = [stage_of(round, rounds, stages, left_out) for round in range(1, rounds + 1)]
    assert sorted({stage.number for stage in result}) == list(range(left_out, stages))
    for round, stage in enumerate(result, 1):
        assert stage.before < round <= stage.before + stage.rounds
        assert sum(other.number == stage.number for other in result) == stage.rounds
    lengths = {stage.rounds for stage in result}
    assert max(lengths) - min(lengths) <= 1
    assert sorted({stage.share for stage in result}) == [number / stages for number in range(left_out, stages)]


def test_stages_by_hand() -> None:
    assert [stage_of(round, 7, 3).number for round in range(1, 8)] == [0, 0, 1, 1, 2, 2, 2]
    assert [stage_of(round, 7, 3).share for round in (1, 3, 7)] == [0, 1 / 3, 2 / 3]
    assert [stage_of(round, 7, 3, 1).number for round in range(1, 8)] == [1, 1, 1, 2, 2, 2, 2]
    assert [stage_of(round, 7, 3, 1).share for round in (3, 4)] == [1 / 3, 2 / 3]


def config(family: str, **pate: Any) -> dict[str, Any]:
    small = {"grammar": "home", "activity": "constant", "test_speakers": 1}
    public = {"synthetic": {**small, "speakers": 6, "utterances_per_speaker": 3}}
    return {
        "strategy": {"name": "pate"},
        "data": {"corpus": "synthetic", "synthetic": {**small, "speakers": 2, "utterances_per_speaker": 2}},
        "model": {"name": family, "encoder": "blstm", "channels": [8, 8], "hidden": 8},
        "pate": {"public": public, "queries": 5, **pate},
    }


@pytest.mark.thorough
@pytest.mark.parametrize(("family", "unit"), [("ctc", "utterance"), ("rnnt", "utterance"), ("ctc", "frame")])
def test_the_surest_are_kept_and_fit(family: str, unit: str) -> None:
    run = experiment(as_json(load(config(family, unit=unit))))
    public, model = PublicSpeech(run), run.model()
    if unit == "frame":
        # An untrained model hears blanks alone.
        with torch.no_grad():
            model.get_parameter("head.bias")[0] -= 3
    rows = public.unlabelled([0, 2])
    assert len(public) == 5
    # All the rest of the corpus, of which five utterances may be asked about.
    assert len(rows) == 16
    assert not set(rows.tolist()) & set(public.rows[[0, 2]].tolist())
    assert rows[:3].tolist() == public.rows[[1, 3, 4]].tolist()
    assert public.unlabelled([0, 2], 4).tolist() == rows[:4].tolist()

    everything = own_labels(public, model, rows, 1.0)
    half = own_labels(public, model, rows, 0.5)
    assert half.items() <= everything.items()
    assert len(half) == int(np.ceil(len(everything) / 2))
    assert 0 < len(everything) <= 16
    sure = {}
    for row, text in everything.items():
        batch = public.whole.batch([row])
        with model.as_it_decodes():
            encoded = model.encode(batch)
            sure[row] = of_transcripts(model, encoded, [run.tokenizer.encode(text)])[0]
        assert frames_needed(run.tokenizer.encode(text)) <= int(encoded.lengths[0])
        if unit == "utterance":
            assert text in public.candidates
    assert min(sure[row] for row in half) >= max([sure[row] for row in everything if row not in half], default=0) - 1e-6


def test_a_larger_share_of_own_labels_follows_the_released_ones() -> None:
    run = experiment(as_json(load(config("ctc"))))
    public = PublicSpeech(run)
    row = int(public.unlabelled([1, 4])[0])
    speech = public.labelled({4: "stop", 1: "go"}, {row: "no"})
    assert speech.corpus.columns["text"].tolist() == ["go", "stop", "no"]
    kept = [speech.corpus.content_key(place) for place in range(3)]
    assert kept == [public.corpus.content_key(1), public.corpus.content_key(4), public.all.content_key(row)]


def test_confidence_is_a_geometric_mean_over_tokens_and_end() -> None:
    run = experiment(as_json(load(config("las", unit="token"))))
    public, model = PublicSpeech(run), run.model()
    batch = public.speech.batch([0])
    tokens = run.tokenizer.encode("no")
    with model.as_it_decodes():
        steps = [model.next_token_log_posteriors(batch, [tokens[:end]])[0] for end in range(3)]
        chain = steps[0][tokens[0]] + steps[1][tokens[1]] + steps[2][0]
        result = of_transcripts(model, model.encode(batch), [tokens])
    assert result[0] == pytest.approx(np.exp(float(chain) / 3), rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pate": {"student": {"self_training": 3}}, "rounds": 3}, "which makes 4 stages, but 'rounds' is 3"),
        ({"pate": {"student": {"unlabelled": 3}}}, "'pate.student.unlabelled' is set but"),
        ({"pate": {"student": {"least_labels": 3}}}, "'pate.student.least_labels' is set but"),
        ({"client": {"steps": 3}}, "teachers of 'pate' train by epochs"),
    ],
)
def test_stages_that_cannot_be_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        load({"strategy": {"name": "pate"}, **changes})
