"""What people write in YAML is what the config has."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedasr.config import load, to_dict, to_yaml
from fedasr.config.scalars import as_written
from fedasr.errors import InputError
from fedasr.models.tokenizer import build_tokenizer


@pytest.mark.slow
@pytest.mark.parametrize("word", ["no", "No", "NO", "yes", "on", "off", "y", "n", "012", "0755", "12:30", "1:02:03"])
def test_words_of_yaml_1_1_stay_words(tmp_path: Path, word: str) -> None:
    (tmp_path / "c.yaml").write_text(f"rounds: 1\ndata: {{where: {{lang: {word}, others: [{word}, de]}}}}\n")
    config = load(tmp_path / "c.yaml", [f"data.where.argument={word}"])
    assert config.data.where == {"lang": word, "others": [word, "de"], "argument": word}
    (tmp_path / "again.yaml").write_text(to_yaml(config))
    assert load(tmp_path / "again.yaml").data.where == config.data.where


def test_a_vocabulary_of_yes_and_no(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("evaluate: {vocabulary: [yes, no, on, off]}\n")
    assert load(tmp_path / "c.yaml").evaluate.vocabulary == ["yes", "no", "on", "off"]
    assert load({}, ["evaluate.vocabulary=[yes, no]"]).evaluate.vocabulary == ["yes", "no"]


def test_yes_is_still_true_where_true_or_false_belongs(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("model: {lowercase: no}\nrounds: 010\ndata: {download: on}\n")
    config = load(tmp_path / "c.yaml")
    assert (config.model.lowercase, config.data.download, config.rounds) == (False, True, 10)


@pytest.mark.slow
@pytest.mark.parametrize("line", ["model: {alphabet: 'chars:ab '}", "model:\n  alphabet: chars:ab  \n"])
def test_a_trailing_space_of_an_alphabet_stays(tmp_path: Path, line: str) -> None:
    (tmp_path / "c.yaml").write_text(line)
    for config in (
        load(tmp_path / "c.yaml"),
        load({}, ["model.alphabet=chars:ab "]),
        load({}, ["model.alphabet='chars:ab '"]),
    ):
        assert config.model.alphabet == "chars:ab "
        assert build_tokenizer(config.model.alphabet).characters == ("a", "b", " ")
        (tmp_path / "again.yaml").write_text(to_yaml(config))
        assert load(tmp_path / "again.yaml").model.alphabet == "chars:ab "
        assert load(to_dict(config)).model.alphabet == "chars:ab "


def test_other_yaml_is_left_alone() -> None:
    text = 'a: {b: [1, 2.5, true, null, "no"]} # no\nc: |\n  no\nd: no way\ne: 0.5\nf: 10\n'
    assert as_written(text) == text


def test_names_are_in_one_unicode_form(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "data: {where: {speaker: Zoe\u0301}, train_split: e\u0301t\u0301}\n", encoding="utf-8"
    )
    config = load(tmp_path / "c.yaml", {"data.where.accent": "e\u0301"})
    assert config.data.where == {"speaker": "Zo\u00e9", "accent": "\u00e9"}
    assert config.data.train_split.startswith("\u00e9")


def test_a_config_is_checked_with_its_overrides(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("rounds: ???\ndata: {corpus: manifest}\nmodel: {kernel: 4}\n")
    changes = {"rounds": 3, "data.manifest": "m.csv", "model.kernel": 5}
    expected = load(tmp_path / "c.yaml", changes)
    assert load(tmp_path / "c.yaml", [f"{name}={value}" for name, value in changes.items()]) == expected
    assert (expected.rounds, expected.model.kernel) == (3, 5)
    with pytest.raises(InputError, match=r"'rounds' is \?\?\?; expected an integer: add rounds=VALUE"):
        load(tmp_path / "c.yaml", {"model.kernel": 5, "data.manifest": "m.csv"})
    with pytest.raises(InputError, match=r"override 'model\.kernel_size': unknown key"):
        load(tmp_path / "c.yaml", {**changes, "model.kernel_size": 5})
