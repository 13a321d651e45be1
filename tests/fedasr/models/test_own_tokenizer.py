"""A tokenizer of a user's own: checked, written and restored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedasr.config.schema import ModelConfig
from fedasr.errors import InputError
from fedasr.models.own_tokenizer import load_tokenizer, make_tokenizer


class Pairs:
    """A token a letter; the words that it was made of can be restored."""

    def __init__(self, letters: str = "abc", shift: int = 0) -> None:
        self.letters, self.shift = letters, shift
        self.size = len(letters) + 1

    def encode(self, text: str) -> list[int]:
        return [self.letters.index(letter) + 1 + self.shift for letter in text]

    def decode(self, tokens: list[int]) -> str:
        return "".join(self.letters[token - 1] for token in tokens)


class Learned(Pairs):
    """Has learnt something that its options do not tell."""

    def to_dict(self) -> dict[str, Any]:
        return {"letters": self.letters + "d"}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Learned:
        return cls(**content)


def config(name: str, **options: Any) -> ModelConfig:
    return ModelConfig(tokenizer=f"{__name__}:{name}", tokenizer_options=options)


def test_it_is_behind_the_interface() -> None:
    tokenizer = make_tokenizer(config("Pairs", letters="xyz"))
    assert tokenizer.size == 4
    assert tokenizer.encode("zx") == [3, 1]
    assert tokenizer.decode([3, 0, 1]) == "zx"
    assert tokenizer.normalise("z  x") == "z x"


@pytest.mark.parametrize(("name", "size"), [("Pairs", 4), ("Learned", 5)])
def test_it_is_restored_from_its_file(name: str, size: int, tmp_path: Path) -> None:
    made = make_tokenizer(config(name))
    made.save(tmp_path / "tokenizer.json")
    assert load_tokenizer(tmp_path / "tokenizer.json", config(name)).size == size


def test_a_file_says_which_code_is_loaded_only_if_the_config_does(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    make_tokenizer(config("Pairs")).save(file)
    for other in (ModelConfig(), config("Learned"), config("Pairs", letters="xy")):
        with pytest.raises(
            InputError, match=r"tokenizer.json: has another tokenizer, '.*:Pairs' with the options \{\}"
        ):
            load_tokenizer(file, other)
    make_tokenizer(ModelConfig()).save(file)
    with pytest.raises(InputError, match="has another tokenizer, one of characters"):
        load_tokenizer(file, config("Pairs"))
    file.write_text(json.dumps({"format": "fedasr-own-tokenizer", "reference": "os:system", "options": {}}))
    with pytest.raises(InputError, match="'os:system'"):
        load_tokenizer(file, ModelConfig())


def test_what_it_does_wrong_is_a_line() -> None:
    with pytest.raises(InputError, match="which does not encode 'aq': ValueError"):
        make_tokenizer(config("Pairs")).encode("aq")
    with pytest.raises(InputError, match=r"encodes 'c' as \[4\]; expected tokens from 1 to 3"):
        make_tokenizer(config("Pairs", shift=1)).encode("c")
    with pytest.raises(InputError, match="whose 'size' is 1; expected a whole number of tokens"):
        make_tokenizer(config("Pairs", letters=""))
    with pytest.raises(
        InputError, match=r"unknown option 'model.tokenizer_options.leters' \(did you mean 'letters'\?\)"
    ):
        make_tokenizer(config("Pairs", leters="ab"))
