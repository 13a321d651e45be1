"""A teacher hears each utterance in another voice too: the mean of what it says of both is stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fedasr.data.counterfactual import OtherVoice
from fedasr.data.posteriors import PosteriorStore
from fedasr.data.posteriors.frames import packed, unpacked
from fedasr.data.posteriors.layout import FRAMES, HYPOTHESES
from fedasr.data.posteriors.store import keys_of
from fedasr.data.speech import Speech
from fedasr.errors import InputError
from fedasr.experiment import Experiment
from fedasr.models.ctc import CTCModel
from fedasr.teaching import writing
from fedasr.teaching.asked import answers, frame_log_posteriors, hypotheses_of, likeliest, mean_log
from fedasr.teaching.writing import Part, write_part

from .test_writing import HEADER, Untrained, made

PITCH = replace(HEADER, counterfactual="pitch")
WHOLE = Part()


@pytest.fixture(scope="module")
def run() -> Experiment:
    return made()


@pytest.fixture(scope="module")
def voices(run: Experiment) -> tuple[Speech, Speech]:
    """The speech of the run in its own voices and with another pitch."""
    return run.speech, Speech(OtherVoice(run.corpus, "pitch"), run.tokenizer, run.config.data)


def test_the_mean_of_two_frames_by_hand() -> None:
    """(.5, .3, .1, .1) and (.1, .7, .2, 0): of their mean (.3, .5, .15, .05) two are kept, and .2 is the rest."""
    own, other = (np.log(np.array([p], np.float32)) for p in ((0.5, 0.3, 0.1, 0.1), (0.1, 0.7, 0.2, 1e-30)))
    ids, logp, rest = unpacked(packed(mean_log(own, other), 2))
    assert ids.tolist() == [[1, 0]]
    assert np.exp(logp[0]) == pytest.approx([0.5, 0.3], abs=5e-4)
    assert float(np.exp(rest[0])) == pytest.approx(0.2, abs=5e-4)
    assert mean_log(own, own).astype(np.float32).tobytes() == own.tobytes()
    nothing = np.array([-np.inf])
    assert mean_log(nothing, nothing).tolist() == [-np.inf]


def test_frames_are_those_of_both_voices(run: Experiment, voices: tuple[Speech, Speech]) -> None:
    model = run.model().eval()
    batches = [speech.batch([0, 1]) for speech in voices]
    assert torch.equal(batches[0].feature_lengths, batches[1].feature_lengths)
    everything = replace(PITCH, asked={"top_k": 29})
    with model.as_it_decodes():
        own, other = (frame_log_posteriors(model, batch)[0].exp().numpy() for batch in batches)
    assert np.abs(own - other).max() > 1e-4
    for row, stored in enumerate(answers(model, batches[0], everything, batches[1])):
        mean = (own[row] + other[row])[: len(stored[FRAMES])] / 2
        assert np.exp(stored[FRAMES]["logp"].astype(float)) == pytest.approx(mean, rel=5e-3)


def test_another_grid_is_refused(run: Experiment) -> None:
    with pytest.raises(InputError, match=r"another number of frames .* set distillation\.targets=sequence"):
        answers(run.model().eval(), run.speech.batch([0]), PITCH, run.speech.batch([1]))


def write(folder: Path, teacher: Untrained, run: Experiment, counterfactual: str, part: Part = WHOLE) -> list[bytes]:
    """Write a part; return the bytes of each utterance of the run that is there."""
    rows, header = np.arange(6), replace(HEADER, counterfactual=counterfactual)
    list(write_part(teacher, header, run.corpus, run.config.data, rows, folder, part))
    store = PosteriorStore(folder)
    corpus = run.corpus if counterfactual == "none" else OtherVoice(run.corpus, counterfactual)
    places = store.find(keys_of(corpus, rows)).tolist()
    return [store.rows(place, FRAMES).tobytes() for place in places if place >= 0]


def test_a_teacher_that_ignores_pitch_says_what_it_says_without(
    run: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that does not something else: the same bytes for any number of parts."""
    monkeypatch.setattr(writing, "BATCH", 2)
    teacher = Untrained(run)
    whole = write(tmp_path / "whole", teacher, run, "pitch")
    write(tmp_path / "parts", teacher, run, "pitch", Part(0, 2))
    assert write(tmp_path / "parts", teacher, run, "pitch", Part(1, 2)) == whole
    assert len(whole) == 6
    assert whole != write(tmp_path / "plain", teacher, run, "none")
    with pytest.raises(InputError, match="of another counterfactual"):
        write(tmp_path / "plain", teacher, run, "pitch")
    assert isinstance(teacher.model, CTCModel)
    with torch.no_grad():
        teacher.model.head.weight.zero_()
    assert write(tmp_path / "deaf", teacher, run, "pitch") == write(tmp_path / "deaf_plain", teacher, run, "none")


@pytest.mark.parametrize("targets", ["labels", "sequence"])
def test_transcripts_of_both_voices_are_merged(targets: str, run: Experiment, voices: tuple[Speech, Speech]) -> None:
    """Each with the mean of its probability in both, the likeliest first, none twice."""
    model = run.model().eval()
    batches = [speech.batch([0, 1]) for speech in voices]
    asked = {"beam": 3, "n_best": 3} if targets == "sequence" else {}
    header = replace(PITCH, targets=targets, asked=asked)
    with model.as_it_decodes():
        encoded = [model.encode(batch) for batch in batches]
        heard = [likeliest(model, one) for one in encoded]
    stored = answers(model, batches[0], header, batches[1])
    for row, rows in enumerate(stored):
        result = hypotheses_of(rows[HYPOTHESES])
        assert len(result) == (3 if asked else 1)
        assert len({tuple(tokens) for tokens, _ in result}) == len(result)
        assert [score for _, score in result] == sorted((score for _, score in result), reverse=True)
        for tokens, score in result:
            each = [float(model.transcript_log_probability(one.utterance(row), [tokens])) for one in encoded]
            assert score == pytest.approx(float(np.logaddexp(*each) - np.log(2)), rel=1e-4)
        if not asked:
            assert result[0][0] in [one[row][0] for one in heard]
