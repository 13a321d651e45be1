from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedasr.config.schema import DataConfig, SyntheticConfig
from fedasr.data.corpus import Column, Corpus, Waveform
from fedasr.data.manifest import ManifestCorpus
from fedasr.data.sources import open_corpus
from fedasr.data.subset import Subset
from fedasr.errors import InputError
from tests.fedasr.data.speech_files import write

TABLE = """path,speaker,text,duration_s,accent,age,split
a.flac,s1,one,0.5,welsh,6,train
b.flac,s1,two,1.0,welsh,7,train
c.flac,s2,three,2.0,scottish,6,test
d.flac,s2,four,,scottish,,test
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    for name, seconds in (("a", 0.5), ("b", 1.0), ("c", 2.0)):
        write(tmp_path / f"{name}.flac", seconds=seconds, seed=ord(name))
    (tmp_path / "m.csv").write_text(TABLE)
    return tmp_path / "m.csv"


def config(manifest: Path, **changes: object) -> DataConfig:
    return DataConfig(corpus="manifest", manifest=str(manifest), **changes)  # type: ignore[arg-type]


def texts(corpus: Corpus) -> list[str]:
    return corpus.columns["text"].tolist()


def test_everything_is_kept_by_default(manifest: Path) -> None:
    corpus = open_corpus(config(manifest), 0)
    assert isinstance(corpus, ManifestCorpus)
    assert texts(corpus) == ["one", "two", "three", "four"]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"accent": "welsh"}, ["one", "two"]),
        ({"age": 6}, ["one", "three"]),
        ({"age": [6, "7"]}, ["one", "two", "three"]),
        ({"age": 6, "accent": ["scottish"]}, ["three"]),
        ({"age": None}, ["four"]),
        ({"duration_s": 2}, ["three"]),
    ],
)
def test_where_keeps_the_rows_that_match(manifest: Path, where: dict[str, object], expected: list[str]) -> None:
    assert texts(open_corpus(config(manifest, where=where), 0)) == expected


def test_exclude_leaves_out_the_rows_that_match(manifest: Path) -> None:
    assert texts(open_corpus(config(manifest, exclude={"accent": "welsh"}), 0)) == ["three", "four"]
    assert texts(open_corpus(config(manifest, exclude={"age": ["6"], "speaker": []}), 0)) == ["two", "four"]
    with pytest.raises(InputError, match=r"nothing remains .* 'data.exclude.age'"):
        open_corpus(config(manifest, where={"accent": "welsh"}, exclude={"age": [6, 7]}), 0)


def test_short_and_long_rows_are_left_out_but_not_bad_ones(manifest: Path) -> None:
    corpus = open_corpus(config(manifest, min_seconds=0.75, max_seconds=1.5), 0)
    assert texts(corpus) == ["two", "four"]
    assert corpus.bad_audio([0, 1]) == [(1, "the audio is missing")]  # type: ignore[attr-defined]


def test_a_subset_is_a_corpus_with_the_same_utterances(manifest: Path) -> None:
    whole = open_corpus(config(manifest), 0)
    part = open_corpus(config(manifest, where={"speaker": "s2"}), 0)
    assert isinstance(part, Subset)
    assert isinstance(part, Corpus)
    assert len(part) == 2
    assert part.waveform(0).tobytes() == whole.waveform(2).tobytes()
    assert part.content_key(0) == whole.content_key(2)
    assert part.where(0) == whole.where(2)
    assert set(part.columns) == set(whole.columns)
    assert not hasattr(part, "features")
    copy = pickle.loads(pickle.dumps(part))
    assert texts(copy) == ["three", "four"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"exclude": {"accent": "welhs"}}, r"'data.exclude.accent' is 'welhs' \(did you mean 'welsh'\?\)"),
        ({"exclude": {"duration_s": "long"}}, "'data.exclude.duration_s' is 'long'; expected a number"),
        ({"exclude": {"speaker": ["s1", "s2"]}}, r"nothing remains .* 'data.exclude.speaker'"),
        ({"where": {"acent": "welsh"}}, r"column 'acent' \(did you mean 'accent'\?\); the corpus has: .*age"),
        ({"where": {"accent": "welhs"}}, r"'data.where.accent' is 'welhs' \(did you mean 'welsh'\?\)"),
        ({"where": {"accent": ["welsh", "irish"]}}, "'irish'"),
        ({"where": {"duration_s": "long"}}, "expected a number"),
        ({"where": {"accent": "welsh", "split": "test"}}, r"nothing remains .* 'data.where.split'"),
        ({"min_seconds": 5.0, "where": {"speaker": "s1"}}, r"nothing remains .* 'data.min_seconds' is 5.0"),
        ({"corpus": "manifets"}, r"'data.corpus' is 'manifets' \(did you mean 'manifest'\?\)"),
        ({"manifest": None}, "'data.manifest' is not set"),
        ({"corpus": "no_such_module:thing"}, "no module 'no_such_module'"),
        ({"corpus": "fedasr.data.corpus:thing"}, "has no 'thing'"),
        ({"corpus": "fedasr.data.corpus:SAMPLE_RATE_HZ"}, "cannot be called"),
        ({"corpus": "tests.fedasr.data.test_sources:no_columns"}, "it has no waveform"),
        ({"corpus": "tests.fedasr.data.test_sources:Tones", "held_out": 0.5}, "it has no column 'split'"),
    ],
)
def test_what_cannot_be_opened_names_the_key(manifest: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_corpus(DataConfig(**{"corpus": "manifest", "manifest": str(manifest), **changes}), 0)  # type: ignore[arg-type]


def no_columns(config: DataConfig, seed: int) -> object:
    return object()


class Tones:
    """A user's own corpus: its features are given."""

    columns: Mapping[str, Column]

    def __init__(self, config: DataConfig, seed: int) -> None:
        names = ["speaker", "text"] if config.held_out == 0.5 else ["speaker", "text", "split"]
        self.columns = {name: np.array(["x", "y"], dtype=object) for name in names}
        self.columns = {**self.columns, "duration_s": np.array([1.0, 50.0], np.float32)}
        self.seed = seed

    def __len__(self) -> int:
        return 2

    def waveform(self, index: int) -> Waveform:
        return np.full(16_000, index / 10, np.float32)

    def content_key(self, index: int) -> bytes:
        return bytes([index])

    def where(self, index: int) -> str:
        return f"tone {index}"

    def features(self, index: int) -> Waveform:
        return np.full((3, 40), index, np.float32)


def test_a_corpus_of_ones_own_is_made_with_config_and_seed() -> None:
    source = DataConfig(corpus="tests.fedasr.data.test_sources:Tones", max_seconds=60)
    corpus = open_corpus(source, 7)
    assert type(corpus).__name__ == "Tones"
    assert corpus.seed == 7  # type: ignore[attr-defined]


def test_a_subset_has_the_features_of_its_corpus() -> None:
    part = Subset(Tones(DataConfig(), 0), np.array([1]))
    assert part.features(0)[0, 0] == 1
    assert not hasattr(part, "bad_audio")
    again = pickle.loads(pickle.dumps(part))
    assert again.features(0)[0, 0] == 1


def test_the_public_corpora_are_reached_by_name(tmp_path: Path) -> None:
    for name in ("librispeech", "speechcommands", "commonvoice"):
        with pytest.raises(InputError, match="holds no"):
            open_corpus(DataConfig(corpus=name, root=str(tmp_path)), 0)


def test_connected_digits_of_speechocean(speech: Path) -> None:
    path = speech / "speechocean762_mini" / "manifest.csv"
    if not path.is_file():
        pytest.skip("no speechocean762_mini among the real speech")
    corpus = open_corpus(config(path, where={"subset": "connected_digits"}), 0)
    assert len(corpus) == 60
    digits = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "oh"}
    assert set(" ".join(texts(corpus)).split()) <= digits


def speakers(corpus: Corpus, split: str) -> set[str]:
    return set(corpus.columns["speaker"][corpus.columns["split"] == split].tolist())


def test_a_share_of_the_training_speakers_is_set_aside(speech: Path) -> None:
    whole = config(speech / "speech_commands_v2_testset_mini" / "manifest.csv")
    given, parts = open_corpus(whole, 0), [open_corpus(replace(whole, public_share=0.25), seed) for seed in (0, 0, 1)]
    for result in parts:
        public = speakers(result, "public")
        assert len(public) == round(0.25 * len(speakers(given, "train")))
        assert speakers(result, "train") == speakers(given, "train") - public
        assert speakers(result, "test") == speakers(given, "test")
        assert texts(result) == texts(given)
    assert speakers(parts[0], "public") == speakers(parts[1], "public") != speakers(parts[2], "public")


def test_a_corpus_with_public_speech_of_its_own_is_not_divided(manifest: Path) -> None:
    manifest.write_text(TABLE.replace("train", "public"))
    with pytest.raises(InputError, match=r"'data\.public_share' is 0\.5, but the corpus has a split 'public' already"):
        open_corpus(config(manifest, public_share=0.5), 0)


def test_synthetic_speech_of_a_seed_of_its_own_is_the_same_in_every_run() -> None:
    pytest.importorskip("espeakng_loader")
    small = SyntheticConfig(speakers=3, test_speakers=1, seed=7)
    data = DataConfig(synthetic=small)
    first, second = open_corpus(data, 0), open_corpus(data, 1)
    assert texts(first) == texts(second)
    assert first.content_key(0) == second.content_key(0)
    assert texts(open_corpus(DataConfig(synthetic=replace(small, seed=None)), 0)) != texts(first)
