"""Loading takes short cuts: what OmegaConf would make of a config, they make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from fedasr.config import Config, load, override
from fedasr.config.loading import as_tree, is_plain, to_dict, to_yaml
from fedasr.errors import InputError

SHIPPED = sorted((Path(__file__).resolve().parents[3] / "simulations").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED[:3] + SHIPPED[-3:], ids=lambda path: path.stem)
def test_a_config_is_written_as_omegaconf_writes_it(path: Path) -> None:
    config = load(path)
    typed = OmegaConf.structured(config)
    assert repr(to_dict(config)) == repr(OmegaConf.to_container(typed, resolve=True))
    assert to_yaml(config) == OmegaConf.to_yaml(typed, resolve=True)


def test_an_integer_where_a_number_is_expected_is_a_number() -> None:
    config = Config()
    config.client.learning_rate = 1
    assert repr(to_dict(config)["client"]["learning_rate"]) == "1.0"
    assert repr(load({"client": {"learning_rate": 1}}).client.learning_rate) == "1.0"


def test_what_is_read_belongs_to_nobody_else() -> None:
    tree: dict[str, Any] = {"evaluate": {"vocabulary": ["yes"]}, "data": {"where": {"lang": "en"}}}
    first = load(tree)
    first.evaluate.vocabulary.append("no")
    first.data.where["accent"] = "x"
    first.model.channels[0] = 7
    changed = override(first, {"rounds": 7})
    changed.evaluate.vocabulary.clear()
    assert first.evaluate.vocabulary == ["yes", "no"]
    assert tree == {"evaluate": {"vocabulary": ["yes"]}, "data": {"where": {"lang": "en"}}}
    assert load(tree).evaluate.vocabulary == ["yes"]
    assert load({}).model.channels == Config().model.channels


def test_an_override_back_to_the_default_counts() -> None:
    config = override(load({"client": {"epochs": 7}}), {"client.epochs": Config().client.epochs})
    assert config.client.epochs == Config().client.epochs


def test_a_tree_that_is_too_deep_is_refused_in_a_line() -> None:
    deep: dict[str, Any] = {}
    for _ in range(150):  # more than OmegaConf takes, and less than what Python does
        deep = {"a": deep}
    deeper: dict[str, Any] = {}
    deeper["a"] = deeper
    config = Config()
    config.strategy.options = deeper
    for source in ({"strategy": {"options": deep}}, {"strategy": {"options": deeper}}, config):
        with pytest.raises(InputError, match="is nested too deeply"):
            load(source)
        with pytest.raises(InputError, match="is nested too deeply"):
            override(load({}), {"model.options": {"a": deep}})


def test_a_text_of_another_type_is_left_to_omegaconf() -> None:
    class Text(str):
        pass

    assert not is_plain(Text("x"))
    with pytest.raises(InputError, match="'name': Value 'Text' is not a supported"):
        load({"name": Text("x")})


def test_true_is_no_number_though_it_equals_one() -> None:
    default = Config().selection.clients_per_round
    with pytest.raises(InputError, match=r"'client\.epochs' is True; expected an integer"):
        load({"client": {"epochs": True}, "selection": {"clients_per_round": default}})


@pytest.mark.parametrize(
    "tree",
    [{"a": "${b}"}, {"a": ["${oc.env:HOME}"]}, {"a": "???"}, {1: "a"}, {"a": (1,)}, {"a": OmegaConf.create({"b": 1})}],
    ids=["interpolation", "in a list", "missing", "number as a key", "tuple", "node"],
)
def test_what_is_not_plain_is_left_to_omegaconf(tree: dict[Any, Any]) -> None:
    assert not is_plain(tree)


def test_a_plain_tree_is_what_omegaconf_makes_of_it() -> None:
    tree = {"name": "x", "data": {"where": {"lang": "en"}, "synthetic": {"words": ["a", "b"]}}, "rounds": 3}
    assert is_plain(tree)
    assert as_tree(tree) == OmegaConf.to_container(OmegaConf.create(tree), resolve=True) == tree
    assert as_tree(tree) is not tree


def test_interpolations_are_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUNDS", "4")
    assert load({"rounds": "${oc.env:ROUNDS}"}).rounds == 4
    assert load({"rounds": 2}, {"rounds": "${oc.env:ROUNDS}"}).rounds == 4
