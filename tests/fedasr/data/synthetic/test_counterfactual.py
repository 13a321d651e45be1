"""The same utterances in other voices: one attribute changes, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from fedasr.config.schema import SyntheticConfig
from fedasr.data.synthetic import SyntheticCorpus
from fedasr.data.synthetic.counterfactual import ATTRIBUTES, DEVICE_COLUMNS, counterfactuals
from fedasr.data.synthetic.speakers import FEMALE, MALE, VARIANTS
from fedasr.errors import InputError

COLUMNS = ("client", "variant", "accent", "female", "rate_wpm", "pitch", "pitch_range", *DEVICE_COLUMNS)
MAY_CHANGE = {
    "gender": {"variant", "female"},
    "voice": {"variant"},
    "accent": {"accent"},
    "device": set(DEVICE_COLUMNS),
    "rate": {"rate_wpm"},
}


@pytest.fixture(scope="module")
def corpus() -> SyntheticCorpus:
    return SyntheticCorpus(SyntheticConfig(speakers=30, test_speakers=30, utterances_per_speaker=1.0), 0)


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_nothing_but_the_attribute_changes(corpus: SyntheticCorpus, attribute: str) -> None:
    for changed in counterfactuals(corpus, attribute).values():
        for name in COLUMNS:
            same = np.array_equal(getattr(changed.speakers, name), getattr(corpus.speakers, name))
            assert same or name in MAY_CHANGE[attribute], name
        assert changed.columns["text"][0] == corpus.columns["text"][0]
        assert changed.columns["gender"].tolist() == corpus.columns["gender"].tolist()


def test_all_have_a_voice_of_the_gender_test_speakers_one_of_test_speakers(corpus: SyntheticCorpus) -> None:
    for level, lists in (("f", FEMALE), ("m", MALE)):
        speakers = counterfactuals(corpus, "gender")[level].speakers
        names = [VARIANTS[variant] for variant in speakers.variant]
        assert set(names[: speakers.training]) <= set(lists[0])
        assert set(names[speakers.training :]) <= set(lists[1])
        kept = corpus.speakers.female == (level == "f")
        assert (speakers.variant[kept] == corpus.speakers.variant[kept]).all()


def test_another_voice_is_another_one_of_the_same_gender(corpus: SyntheticCorpus) -> None:
    own, another = (one.speakers for one in counterfactuals(corpus, "voice").values())
    assert (own.variant != another.variant).all()
    for speaker, (before, after) in enumerate(zip(own.variant, another.variant, strict=True)):
        lists = (FEMALE if own.female[speaker] else MALE)[int(speaker >= own.training)]
        assert {VARIANTS[before], VARIANTS[after]} <= set(lists)


def test_who_is_at_the_level_sounds_as_before(corpus: SyntheticCorpus) -> None:
    for level, changed in counterfactuals(corpus, "accent").items():
        own = np.flatnonzero(corpus.columns["accent"] == level)
        others = np.flatnonzero(corpus.columns["accent"] != level)
        assert all(changed.content_key(int(row)) == corpus.content_key(int(row)) for row in own)
        assert all(changed.content_key(int(row)) != corpus.content_key(int(row)) for row in others)
    row = int(np.flatnonzero(corpus.columns["gender"] == "f")[0])
    levels = counterfactuals(corpus, "gender")
    assert np.array_equal(levels["f"].waveform(row), corpus.waveform(row))
    assert not np.array_equal(levels["m"].waveform(row), corpus.waveform(row))


def test_devices_are_those_of_speakers_who_have_them(corpus: SyntheticCorpus) -> None:
    table = corpus.speakers
    real = {tuple(getattr(table, name)[row] for name in DEVICE_COLUMNS) for row in range(len(table))}
    for changed in counterfactuals(corpus, "device").values():
        speakers = changed.speakers
        assert len(set(speakers.device.tolist())) == 1
        assert {tuple(getattr(speakers, name)[row] for name in DEVICE_COLUMNS) for row in range(len(table))} <= real


def test_one_level_is_refused() -> None:
    silent = SyntheticCorpus(SyntheticConfig(speakers=4, test_speakers=4, device=False), 0)
    with pytest.raises(InputError, match="no devices to compare"):
        counterfactuals(silent, "device")
    arabic = SyntheticCorpus(
        SyntheticConfig(grammar="words", words=["نعم"], language="ar", speakers=4, test_speakers=4), 0
    )
    with pytest.raises(InputError, match="no other to compare"):
        counterfactuals(arabic, "accent")
