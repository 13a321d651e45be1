from __future__ import annotations

import pickle
import time

import numpy as np
import pytest

pytest.importorskip("espeakng_loader", reason='needs the espeak-ng wheel: pip install "fedasr[synth]"')

from fedasr.config.schema import SyntheticConfig
from fedasr.data.corpus import BadAudio, Corpus
from fedasr.data.synthetic import SyntheticCorpus
from fedasr.data.synthetic.speakers import VARIANTS
from fedasr.errors import InputError

SMALL = {"speakers": 6, "test_speakers": 2, "utterances_per_speaker": 4.0, "test_utterances_per_speaker": 3}


def rows(corpus: SyntheticCorpus, speaker: str) -> list[int]:
    return np.flatnonzero(corpus.columns["speaker"] == speaker).tolist()


def test_the_table() -> None:
    corpus = SyntheticCorpus(SyntheticConfig(**SMALL), 0)
    assert isinstance(corpus, Corpus)
    names = ["speaker", "text", "split", "duration_s", "gender", "accent", "topic", "device", "activity"]
    assert list(corpus.columns) == names
    assert all(len(corpus.columns[name]) == len(corpus) for name in names)
    assert all(corpus.columns[name].dtype == object for name in ("speaker", "text", "split", "gender", "accent"))
    assert corpus.columns["duration_s"].dtype == np.float32
    assert len(rows(corpus, "t00001")) == 3
    assert set(corpus.columns["split"][rows(corpus, "t00001")]) == {"test"}
    assert set(corpus.columns["split"][rows(corpus, "s00005")]) == {"train"}
    assert set(corpus.columns["gender"]) <= {"f", "m"}
    last = len(corpus) - 1
    assert corpus.where(last) == f"synthetic utterance 2 of speaker t00001 ('{corpus.columns['text'][last]}')"
    with pytest.raises(IndexError):
        corpus.waveform(len(corpus))


@pytest.mark.thorough
def test_an_utterance_is_a_function_of_seed_speaker_and_number() -> None:
    config = SyntheticConfig(**SMALL)
    corpus = SyntheticCorpus(config, 3)
    forwards = [corpus.waveform(index) for index in range(len(corpus))]
    again = SyntheticCorpus(config, 3)
    for index in reversed(range(len(again))):
        np.testing.assert_array_equal(again.waveform(index), forwards[index])
        assert again.content_key(index) == corpus.content_key(index)
    assert len({corpus.content_key(index) for index in range(len(corpus))}) == len(corpus)

    larger = SyntheticCorpus(SyntheticConfig(**{**SMALL, "speakers": 50, "test_speakers": 9}), 3)
    for speaker in ("s00000", "s00005", "t00001"):
        mine, theirs = rows(corpus, speaker), rows(larger, speaker)
        assert [corpus.columns["text"][row] for row in mine] == [larger.columns["text"][row] for row in theirs]
        assert [corpus.content_key(row) for row in mine] == [larger.content_key(row) for row in theirs]
        np.testing.assert_array_equal(larger.waveform(theirs[0]), forwards[mine[0]])


def test_the_key_changes_with_the_waveform() -> None:
    base = SyntheticCorpus(SyntheticConfig(**SMALL), 0).content_key(0)
    assert SyntheticCorpus(SyntheticConfig(**SMALL), 1).content_key(0) != base
    assert SyntheticCorpus(SyntheticConfig(**SMALL, device=False), 0).content_key(0) != base
    assert SyntheticCorpus(SyntheticConfig(**SMALL, max_snr_db=60.0), 0).content_key(0) != base
    assert SyntheticCorpus(SyntheticConfig(**SMALL, grammar="digits"), 0).content_key(0) != base


def test_a_pickled_corpus_is_the_recipe_and_renders_the_same() -> None:
    corpus = SyntheticCorpus(SyntheticConfig(speakers=2000), 0)
    data = pickle.dumps(corpus)
    assert len(data) < 2000
    copy = pickle.loads(data)
    assert copy.content_key(7) == corpus.content_key(7)
    np.testing.assert_array_equal(copy.waveform(7), corpus.waveform(7))


def test_speech_is_sane() -> None:
    corpus = SyntheticCorpus(SyntheticConfig(speakers=60, activity="constant", utterances_per_speaker=1), 0)
    seconds, levels = [], []
    for index in range(60):
        wave = corpus.waveform(index)
        assert wave.dtype == np.float32
        assert wave.ndim == 1
        assert np.abs(wave).max() <= 1
        seconds.append(wave.size / 16_000)
        levels.append(10 * np.log10(np.mean(np.square(wave, dtype=np.float64))))
        # Speech is not stationary: its loud frames stand out from its quiet ones, whatever the device.
        frames = np.square(wave[: wave.size // 160 * 160].reshape(-1, 160)).mean(axis=1)
        assert 10 * np.log10(np.quantile(frames, 0.9) / np.quantile(frames, 0.1)) > 6
    estimate = corpus.columns["duration_s"][:60]
    assert min(seconds) > 0.4
    assert max(seconds) < 4
    assert np.mean(estimate) == pytest.approx(np.mean(seconds), rel=0.1)
    assert np.corrcoef(estimate, seconds)[0, 1] > 0.7
    assert min(levels) > -50
    assert np.ptp(levels) > 6


def test_ten_thousand_speakers_cost_a_table() -> None:
    SyntheticCorpus(SyntheticConfig(**SMALL), 0)
    start = time.perf_counter()
    corpus = SyntheticCorpus(SyntheticConfig(speakers=10_000), 0)
    columns = [corpus.columns[name] for name in corpus.columns]
    assert time.perf_counter() - start < 2
    assert len(corpus) == pytest.approx(100_000, rel=0.1)
    assert sum(column.nbytes for column in columns) < 10e6


def test_a_small_alpha_skews_the_topics_of_a_speaker() -> None:
    def largest_share(alpha: float) -> float:
        config = SyntheticConfig(speakers=50, activity="constant", utterances_per_speaker=40, topic_alpha=alpha)
        topic = SyntheticCorpus(config, 0).columns["topic"][: 50 * 40].reshape(50, 40)
        return float(np.mean([np.unique(mine, return_counts=True)[1].max() / 40 for mine in topic.astype(str)]))

    assert largest_share(100.0) < 0.35 < 0.8 < largest_share(0.05)


def test_topics_follow_the_sentences() -> None:
    corpus = SyntheticCorpus(SyntheticConfig(speakers=200, grammar="digits"), 0)
    pairs = zip(corpus.columns["text"], corpus.columns["topic"], strict=True)
    assert all(text.split()[0] == topic for text, topic in pairs)


def test_arabic_words_sound_different() -> None:
    words = ["نعم", "لا", "توقف", "فتح", "إغلاق", "أعلى", "أسفل", "يمين", "يسار", "ابدأ"]
    config = SyntheticConfig(
        grammar="words", words=words, language="ar", speakers=1, utterances_per_speaker=60, activity="constant",
        device=False, topic_alpha=100.0,
    )  # fmt: skip
    corpus = SyntheticCorpus(config, 0)
    assert set(corpus.columns["accent"]) == {"ar"}
    assert set(corpus.columns["text"][:60]) == set(words)

    def picture(index: int) -> np.ndarray:
        """Return a coarse log spectrogram, stretched to 12 frames."""
        wave = corpus.waveform(index)
        assert 0.2 < wave.size / 16_000 < 2
        frames = np.lib.stride_tricks.sliding_window_view(wave, 512)[::128] * np.hanning(512)
        power = np.abs(np.fft.rfft(frames)) ** 2
        bands = np.log(np.add.reduceat(power[:, 2:], [0, 4, 8, 14, 24, 40, 70, 120], axis=1) + 1e-4)
        return np.asarray([part.mean(axis=0) for part in np.array_split(bands, 12)]).ravel()

    texts = corpus.columns["text"]
    same, other = [], []
    pictures = [picture(index) for index in range(60)]
    for a in range(60):
        for b in range(a):
            (same if texts[a] == texts[b] else other).append(np.linalg.norm(pictures[a] - pictures[b]))
    assert np.mean(other) > 1.5 * np.mean(same)


def test_bad_words_and_languages_are_refused() -> None:
    with pytest.raises(InputError, match=r"^data\.synthetic\.language: espeak-ng has no voice 'xx\+"):
        SyntheticCorpus(SyntheticConfig(grammar="words", words=["yes"], language="xx"), 0)
    with pytest.raises(InputError, match=r"data\.synthetic\.words"):
        SyntheticCorpus(SyntheticConfig(grammar="words"), 0)


def test_a_word_without_sound_is_bad_audio() -> None:
    config = SyntheticConfig(grammar="words", words=["''"], speakers=1)
    with pytest.raises(BadAudio, match=r"synthetic utterance 0 of speaker s00000"):
        SyntheticCorpus(config, 0).waveform(0)


def test_gender_is_that_of_the_voice() -> None:
    corpus = SyntheticCorpus(SyntheticConfig(speakers=40), 0)
    for row in range(0, len(corpus), 7):
        speaker = int(str(corpus.columns["speaker"][row])[1:]) + 40 * (corpus.columns["split"][row] == "test")
        woman = corpus.speakers.voice(speaker).variant in VARIANTS[:17]
        assert corpus.columns["gender"][row] == ("f" if woman else "m")
