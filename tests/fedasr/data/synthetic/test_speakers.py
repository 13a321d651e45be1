from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from fedasr.config.schema import SyntheticConfig
from fedasr.data.synthetic.speakers import (
    ACCENTS,
    DEVICES,
    FEMALE,
    MALE,
    VARIANTS,
    speaker_table,
    topic_preferences,
)


def columns(table: object) -> dict[str, np.ndarray]:
    return {
        item.name: getattr(table, item.name)
        for item in fields(table)  # type: ignore[arg-type]
        if isinstance(getattr(table, item.name), np.ndarray)
    }


def test_no_test_voice_is_a_training_voice() -> None:
    table = speaker_table(SyntheticConfig(speakers=3000, test_speakers=500), 0)
    training, test = (set(table.variant[part].tolist()) for part in (slice(None, 3000), slice(3000, None)))
    assert not training & test
    assert training | test == set(range(len(VARIANTS)))
    for part, held_out in ((slice(None, 3000), 0), (slice(3000, None), 1)):
        women = {VARIANTS[row] for row in table.variant[part][table.female[part]]}
        men = {VARIANTS[row] for row in table.variant[part][~table.female[part]]}
        assert women == set(FEMALE[held_out])
        assert men == set(MALE[held_out])
    assert 0.45 < table.female.mean() < 0.55


def test_a_speaker_stays_who_they_are_when_others_join() -> None:
    few = speaker_table(SyntheticConfig(speakers=5, test_speakers=3), 4)
    many = speaker_table(SyntheticConfig(speakers=500, test_speakers=40), 4)
    for name, column in columns(few).items():
        np.testing.assert_array_equal(column[:5], columns(many)[name][:5], err_msg=name)
        np.testing.assert_array_equal(column[5:], columns(many)[name][500:503], err_msg=name)
    other = speaker_table(SyntheticConfig(speakers=500, test_speakers=40), 5)
    assert not np.array_equal(other.rate_wpm, many.rate_wpm)


def test_names_voices_and_devices() -> None:
    config = SyntheticConfig(speakers=2, test_speakers=1, min_snr_db=12, max_snr_db=18)
    table = speaker_table(config, 0)
    assert [table.name(row) for row in range(3)] == ["s00000", "s00001", "t00000"]
    for row in range(3):
        voice, device = table.voice(row), table.heard_by(row)
        assert voice.language in ACCENTS.values()
        assert device is not None
        assert 12 <= device.snr_db <= 18
    config.device = False
    assert speaker_table(config, 0).heard_by(0) is None


def test_device_parameters_lie_in_the_range_of_their_kind() -> None:
    table = speaker_table(SyntheticConfig(speakers=2000), 1)
    for row, kind in enumerate(DEVICES.values()):
        mine = table.device == row
        assert mine.sum() > 300
        for name in ("gain_db", "low_hz", "high_hz", "reverb_s", "reverb_db"):
            low, high = getattr(kind, name)
            column = getattr(table, name)[mine]
            assert (column >= np.float32(low)).all()
            assert (column <= np.float32(high)).all()


# The share of the most active tenth: Φ(σ − z) with z the 0.9 quantile (log-normal), 0.1^(1 − 1/exponent) (Pareto).
@pytest.mark.parametrize(
    ("law", "spread", "tenth"), [("constant", 0.8, 0.1), ("lognormal", 0.8, 0.315), ("pareto", 0.4, 0.193)]
)
def test_activity_has_the_asked_mean_and_everybody_speaks(law: str, spread: float, tenth: float) -> None:
    config = SyntheticConfig(speakers=20_000, activity=law, activity_spread=spread, utterances_per_speaker=10)
    table = speaker_table(config, 2)
    counts = table.utterances[:20_000]
    assert counts.min() >= 1
    assert counts.mean() == pytest.approx(10, rel=0.05)
    assert np.sort(counts)[-2000:].sum() / counts.sum() == pytest.approx(tenth, abs=0.01)
    if law == "constant":
        assert set(counts.tolist()) == {10}
    assert set(table.utterances[20_000:].tolist()) == {8}


def test_topic_preferences_are_distributions_and_skewed_by_alpha() -> None:
    def largest(alpha: float) -> float:
        config = SyntheticConfig(speakers=300, test_speakers=20, topic_alpha=alpha)
        blocks = list(topic_preferences(config, 3, 7))
        assert [first for first, _ in blocks] == [0, 300]
        weights = np.concatenate([block for _, block in blocks])
        assert weights.shape == (320, 7)
        np.testing.assert_allclose(weights.sum(axis=1), 1)
        return float(weights.max(axis=1).mean())

    assert largest(100.0) < 0.25 < largest(1.0) < 0.7 < largest(0.05)
    assert largest(1e-6) == pytest.approx(1.0)


def test_blocks_do_not_change_preferences() -> None:
    few = SyntheticConfig(speakers=3, test_speakers=1)
    many = SyntheticConfig(speakers=40, test_speakers=1)
    topics = 1 << 16  # 16 speakers a block
    whole = np.concatenate([block for _, block in topic_preferences(many, 0, topics)])
    part = np.concatenate([block for _, block in topic_preferences(few, 0, topics)])
    np.testing.assert_array_equal(whole[:3], part[:3])
    np.testing.assert_array_equal(whole[40], part[3])


def test_a_hundred_thousand_speakers_are_a_few_megabytes() -> None:
    table = speaker_table(SyntheticConfig(speakers=100_000), 0)
    assert sum(column.nbytes for column in columns(table).values()) < 8e6
