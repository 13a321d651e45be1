"""Characters as tokens, Unicode and all."""

from __future__ import annotations

import csv
import json
import pickle
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedasr.errors import InputError
from fedasr.models.tokenizer import ARABIC, BLANK, Tokenizer, UnknownCharacters, build_tokenizer

texts = st.text(max_size=30)


def test_blank_is_zero_and_characters_follow_in_order() -> None:
    tokenizer = Tokenizer(["b", "a", " "])
    assert tokenizer.size == 4
    assert tokenizer.encode("Ab  a ") == [2, 1, 3, 2]
    assert tokenizer.decode([BLANK, 2, 1, BLANK, 3, 2]) == "ab a"


def test_latin_has_a_to_z_apostrophe_and_space() -> None:
    tokenizer = build_tokenizer("latin")
    assert tokenizer.size == 29
    assert tokenizer.decode(tokenizer.encode("Don't  STOP\tnow\n")) == "don't stop now"


def test_latin_with_capitals_keeps_them() -> None:
    tokenizer = build_tokenizer("latin", lowercase=False)
    assert tokenizer.size == 55
    assert tokenizer.decode(tokenizer.encode("Don't STOP")) == "Don't STOP"


def test_arabic_drops_tatweel_and_vowels_and_composes_hamza() -> None:
    tokenizer = build_tokenizer("arabic")
    assert tokenizer.normalise("أَرْبَعَة") == "أربعة"
    assert tokenizer.normalise("نعـــم") == "نعم"
    assert tokenizer.normalise("ا\u0654سفل") == "أسفل"
    assert tokenizer.normalise("ا\u0640\u0654سفل") == "أسفل"
    assert tokenizer.decode(tokenizer.encode("إغلاق")) == "إغلاق"
    assert len(ARABIC) == len(set(ARABIC)) == 37


def test_marks_that_are_characters_are_kept() -> None:
    tokenizer = build_tokenizer("chars:نعم\u064e")
    assert tokenizer.normalise("نَعـم") == "نَعم"


def test_decomposed_accents_are_composed() -> None:
    tokenizer = build_tokenizer("chars:e\u0301f")
    assert tokenizer.characters == ("é", "f")
    assert tokenizer.encode("fe\u0301") == tokenizer.encode("FÉ") == [2, 1]


def test_unknown_characters_are_named() -> None:
    tokenizer = build_tokenizer("latin")
    assert tokenizer.unknown("naïve 7") == {"ï", "7"}
    with pytest.raises(UnknownCharacters, match=r"'7' \(U\+0037\), 'ï' \(U\+00EF\)") as caught:
        tokenizer.encode("naïve 7")
    assert caught.value.characters == {"ï", "7"}
    assert isinstance(caught.value, InputError)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.characters) == (str(caught.value), caught.value.characters)


def test_tokens_outside_are_refused() -> None:
    with pytest.raises(ValueError, match="token 3 is outside"):
        Tokenizer("ab").decode([1, 3])
    with pytest.raises(ValueError, match="token -1 is outside"):
        Tokenizer("ab").decode([-1])


def test_auto_collects_sorted() -> None:
    assert build_tokenizer("auto", True, ["Cab", "a b"]).characters == (" ", "a", "b", "c")
    assert build_tokenizer("auto", True, ["Cab", "a b"]) == build_tokenizer("auto", True, ["a b", "cAB"])
    assert build_tokenizer("auto", False, ["Ca"]).characters == ("C", "a")


@pytest.mark.parametrize(
    ("alphabet", "says"),
    [
        ("auto", "no characters"),
        ("chars:", "at least one"),
        ("chars:aba", "more than once: 'a'"),
        ("chars:aB", "'B', which no normalised text holds; give it in lower case"),
        ("chars:a\t", "no normalised text holds; leave it out"),
        ("latn", "did you mean 'latin'"),
    ],
)
def test_bad_alphabets(alphabet: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        build_tokenizer(alphabet)
    assert "\n" not in str(caught.value)


@given(texts, st.booleans())
def test_auto_knows_its_texts_and_round_trips(text: str, lowercase: bool) -> None:
    if not Tokenizer(" ", lowercase).normalise(text):
        return
    tokenizer = build_tokenizer("auto", lowercase, [text])
    assert tokenizer.unknown(text) == set()
    tokens = tokenizer.encode(text)
    assert BLANK not in tokens
    assert tokenizer.decode(tokens) == tokenizer.normalise(text)
    assert Tokenizer.from_dict(json.loads(json.dumps(tokenizer.to_dict()))) == tokenizer


@given(texts, st.booleans())
def test_normalise_is_idempotent_and_nfc(text: str, lowercase: bool) -> None:
    tokenizer = build_tokenizer("latin", lowercase)
    once = tokenizer.normalise(text)
    assert tokenizer.normalise(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert tokenizer.normalise(unicodedata.normalize("NFD", text)) == once


@given(texts)
def test_encode_raises_exactly_for_the_unknown(text: str) -> None:
    tokenizer = build_tokenizer("arabic")
    unknown = tokenizer.unknown(text)
    if unknown:
        with pytest.raises(UnknownCharacters) as caught:
            tokenizer.encode(text)
        assert caught.value.characters == unknown
    else:
        assert tokenizer.decode(tokenizer.encode(text)) == tokenizer.normalise(text)


@given(st.lists(st.integers(0, 28)))
def test_decoded_text_is_normalised(tokens: list[int]) -> None:
    tokenizer = build_tokenizer("latin")
    text = tokenizer.decode(tokens)
    assert tokenizer.normalise(text) == text


def test_save_and_load(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("old")
    tokenizer = build_tokenizer("arabic", lowercase=False)
    tokenizer.save(path)
    assert Tokenizer.load(path) == tokenizer
    assert Tokenizer.load(path) != build_tokenizer("arabic", lowercase=True)
    assert [p.name for p in tmp_path.iterdir()] == ["tokenizer.json"]
    assert "ا" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "is not JSON"),
        (b"[]", "expected a JSON object"),
        (b"{}", "is not a tokenizer"),
        (b"\xff\xfe", "is not UTF-8"),
        (b'{"format": "fedasr-characters", "version": 2}', "is not a tokenizer"),
        (b'{"format": "fedasr-characters", "version": 1, "characters": "ab", "lowercase": true}', "'characters'"),
        (b'{"format": "fedasr-characters", "version": 1, "characters": ["ab"], "lowercase": true}', "single"),
        (b'{"format": "fedasr-characters", "version": 1, "characters": ["a", "a"], "lowercase": true}', "than once"),
        (b'{"format": "fedasr-characters", "version": 1, "characters": ["a"], "lowercase": 1}', "'lowercase'"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        Tokenizer.load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            Tokenizer.load(path)


@pytest.mark.parametrize(
    ("corpus", "alphabet"), [("arabic_speech_commands_mini", "arabic"), ("speech_commands_v2_testset_mini", "latin")]
)
def test_real_transcripts_fit(speech: Path, corpus: str, alphabet: str) -> None:
    manifest = speech / corpus / "manifest.csv"
    if not manifest.is_file():
        pytest.skip(f"{corpus} is not in the folder of real speech")
    with manifest.open(encoding="utf-8", newline="") as file:
        result = {row["text"] for row in csv.DictReader(file)}
    tokenizer = build_tokenizer(alphabet)
    assert len(result) >= 10
    for text in result:
        assert tokenizer.decode(tokenizer.encode(text)) == tokenizer.normalise(text) == text
