"""Spoken secrets: who says which code, and that nothing but the code tells of it."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("espeakng_loader", reason='needs the espeak-ng wheel: pip install "fedasr[synth]"')

from fedasr.config import load
from fedasr.config.schema import SecretsConfig, SyntheticConfig
from fedasr.data.synthetic import SyntheticCorpus
from fedasr.data.synthetic.secrets import CARRIERS, planted, spoken
from fedasr.errors import InputError
from fedasr.experiment import Experiment
from tests.e2e.tiny import tiny

SMALL = SyntheticConfig(speakers=6, test_speakers=2, utterances_per_speaker=3, activity="constant")


def corpus(**secrets: Any) -> SyntheticCorpus:
    return SyntheticCorpus(SMALL, 0, SecretsConfig(**secrets))


def test_a_code_is_said_digit_by_digit() -> None:
    assert spoken(17, 4) == "zero zero one seven"
    assert spoken(0, 1) == "zero"


@pytest.mark.parametrize("across", ["user", "users"])
def test_each_code_is_said_so_often_and_nothing_else_changes(across: str) -> None:
    plain, secret = SyntheticCorpus(SMALL, 0), corpus(codes=9, digits=3, repeats=4, across=across)
    assert len(secret) == len(plain) + 36
    rows = secret.planted_rows
    assert rows.shape == (9, 4)
    assert len(np.unique(rows)) == 36
    others = np.setdiff1d(np.arange(len(secret)), rows)
    for name in ("speaker", "text", "split"):
        assert secret.columns[name][others].tolist() == plain.columns[name].tolist()
    for code in range(9):
        texts = set(secret.columns["text"][rows[code]])
        assert texts == {f"{CARRIERS[code % 8]} {spoken(int(secret.planted.codes[code]), 3)}"}
        assert len(set(secret.columns["speaker"][rows[code]])) == (1 if across == "user" else 4)
        assert set(secret.columns["split"][rows[code]]) == {"train"}
    assert len({secret.content_key(int(row)) for row in rows[0]}) == 4, "nobody says a word twice in the same way"


def test_what_is_left_unsaid_changes_nothing() -> None:
    assert (
        SyntheticCorpus(SMALL, 0, SecretsConfig()).columns["text"].tolist()
        == SyntheticCorpus(SMALL, 0).columns["text"].tolist()
    )


def test_a_pickled_corpus_keeps_its_secrets() -> None:
    secret = corpus(codes=2, digits=2, repeats=2)
    assert pickle.loads(pickle.dumps(secret)).columns["text"].tolist() == secret.columns["text"].tolist()


def test_codes_are_uniform_and_follow_from_the_seed() -> None:
    drawn = planted(SecretsConfig(codes=20_000, digits=2), 10, 0).codes
    assert np.bincount(drawn, minlength=100).min() > 140
    first = planted(SecretsConfig(codes=5), 10, 0).codes.tolist()
    assert planted(SecretsConfig(codes=5), 99, 0).codes.tolist() == first, "whoever there is to say them"
    assert planted(SecretsConfig(codes=5), 10, 1).codes.tolist() != first


@pytest.mark.parametrize("other", [False, True])
def test_masked_speech_does_not_depend_on_the_code(other: bool) -> None:
    """Neither by its length nor by its noise: the rank of a code that nobody learnt would not be uniform."""
    secret = corpus(codes=2, digits=3)
    before = secret.masked(1, other)
    secret.planted.codes[1] = 777
    assert np.array_equal(secret.masked(1, other), before)
    assert np.abs(before).max() <= 1
    assert before.dtype == np.float32


def test_another_voice_is_another_voice() -> None:
    secret = corpus(codes=1, digits=3)
    assert not np.array_equal(secret.masked(0, True)[:8000], secret.masked(0, False)[:8000])


def test_a_run_hears_its_secrets() -> None:
    config = load(tiny(audit={"secrets": {"codes": 3, "digits": 2, "repeats": 2}}, model__alphabet="latin"))
    experiment = Experiment(config)
    texts = experiment.corpus.columns["text"][experiment.partition.rows]
    assert sum(text.startswith(CARRIERS) for text in texts) == 6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"audit": {"secrets": {"digits": 3}}}, "'audit.secrets.digits' is set"),
        ({"audit": {"secrets": {"codes": 3, "repeats": 99, "across": "users"}}}, "there are 12 speakers"),
        (
            {
                "audit": {"secrets": {"codes": 3}},
                "data__synthetic": {"grammar": "words", "words": ["نعم"], "language": "ar"},
            },
            "codes are said in English",
        ),
        ({"audit": {"secrets": {"codes": 3}}, "data": {"corpus": "manifest", "manifest": "x.csv"}}, "audit.secrets"),
    ],
)
def test_secrets_that_nobody_could_say_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        load(tiny(**changes))
