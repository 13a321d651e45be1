"""Each utterance in one other voice, and in both by turns."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from fedasr.config.rules.distillation import SAME_TIMES, of_counterfactual
from fedasr.config.schema import SyntheticConfig, walk
from fedasr.data.counterfactual import SHIFTS, VOICES, InTurn, OtherVoice
from fedasr.data.subset import Subset
from fedasr.data.synthetic import SyntheticCorpus
from fedasr.data.synthetic.counterfactual import counterfactuals
from fedasr.data.voice_shift import shift_voice
from fedasr.errors import InputError


@pytest.fixture(scope="module")
def corpus() -> SyntheticCorpus:
    return SyntheticCorpus(SyntheticConfig(speakers=6, test_speakers=2, utterances_per_speaker=2.0), 0)


def test_the_config_knows_all_voices() -> None:
    (choices,) = [field.metadata["choices"] for name, field in walk() if name == "distillation.counterfactual"]
    assert set(choices) == {"none", *VOICES}
    assert {*SHIFTS, "device"} == set(SAME_TIMES)


@pytest.mark.parametrize("attribute", VOICES)
def test_an_utterance_is_never_in_its_own_voice(corpus: SyntheticCorpus, attribute: str) -> None:
    other, again = OtherVoice(corpus, attribute), OtherVoice(corpus, attribute)
    for row in range(0, len(corpus), 3):
        assert other.other(row).content_key(row) != corpus.content_key(row)
        assert other.content_key(row) == again.content_key(row)


def test_another_gender_is_the_other_one_of_a_part_of_a_corpus_too(corpus: SyntheticCorpus) -> None:
    rows = np.arange(len(corpus))[::-1].copy()
    other, levels = OtherVoice(Subset(corpus, rows), "gender"), counterfactuals(corpus, "gender")
    for place, row in enumerate(rows.tolist()):
        level = "f" if corpus.columns["gender"][row] == "m" else "m"
        assert levels[level].content_key(row) in other.content_key(place)


def test_a_pitch_is_raised_or_lowered_and_the_length_stays(corpus: SyntheticCorpus) -> None:
    other = OtherVoice(corpus, "pitch")
    own = corpus.waveform(0)
    shifted = [shift_voice(own, pitch=factor) for factor in (0.8, 1.25)]
    assert any(np.array_equal(other.waveform(0), one) for one in shifted)
    assert len(other.waveform(0)) == len(own)
    assert len({id(other.other(row)) for row in range(len(corpus))}) == 2


def test_by_turns(corpus: SyntheticCorpus) -> None:
    other = OtherVoice(corpus, "pitch")
    voices = InTurn(other)
    heard = []
    for voices.turn in (1, 2, 3):
        heard.append([voices.content_key(row) for row in range(len(corpus))])
    assert heard[0] == heard[2]
    for row in range(len(corpus)):
        assert {heard[0][row], heard[1][row]} == {corpus.content_key(row), other.content_key(row)}
    assert 0 < sum(voices.content_key(row) == corpus.content_key(row) for row in range(len(corpus))) < len(corpus)


def test_speech_that_cannot_be_given_a_voice_is_a_line(corpus: SyntheticCorpus) -> None:
    with_features = Subset(corpus, np.arange(2))
    with_features.features = partial(np.zeros, (1, 40), np.float32)
    recorded = InTurn(OtherVoice(corpus, "pitch"))
    with pytest.raises(InputError, match="'gender', which needs synthetic speech; choose pitch, formant or age"):
        OtherVoice(recorded, "gender")
    with pytest.raises(InputError, match="has features of its own"):
        OtherVoice(with_features, "pitch")


@pytest.mark.parametrize(
    ("targets", "counterfactual", "word"),
    [
        ("lattice", "pitch", "no mean is taken"),
        ("frames", "gender", "takes its own time"),
        ("frames", "rate", "choose pitch, formant, age, device"),
        ("frames", "device", None),
        ("sequence", "rate", None),
        ("lattice", "none", None),
    ],
)
def test_what_has_a_mean(targets: str, counterfactual: str, word: str | None) -> None:
    problem = of_counterfactual(targets, counterfactual)
    assert problem is None if word is None else word in str(problem)
