"""Combinations of selection keys that cannot be."""

from __future__ import annotations

import pytest

from fedasr.config import load
from fedasr.errors import InputError
from fedasr.strategies.selection import SELECTORS

INVERSE = "strategy.weighting=inverse-probability"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["selection.name=power-of-choice", "selection.candidates=3", "selection.clients_per_round=4"], "candidates"),
        (["selection.name=oort", "selection.oort.exploration=0.1"], "exploration_floor"),
        ([INVERSE, "selection.name=oort"], "no probabilities"),
        ([INVERSE, "selection.name=power-of-choice"], "no probabilities"),
        ([INVERSE, "selection.name=round-robin"], "no probabilities"),
        ([INVERSE, "selection.name=top-activity"], "never chooses some devices"),
        ([INVERSE, "selection.name=threshold"], "never chooses some devices"),
        ([INVERSE, "selection.name=afl", "selection.afl.random_share=0"], "random_share"),
        (
            [
                INVERSE,
                "selection.name=activity",
                "selection.activity=recent-seconds",
                "stream.arrival=poisson",
                "stream.periods=2",
            ],
            "without recent speech",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load({"rounds": 4}, overrides)
    assert "'selection." in str(caught.value)


@pytest.mark.parametrize("name", ["uniform", "poisson", "activity", "mixed", "afl"])
def test_selections_with_known_probabilities_can_be_weighted_by_them(name: str) -> None:
    assert load({}, [INVERSE, f"selection.name={name}"]).selection.name == name


@pytest.mark.parametrize("name", SELECTORS)
def test_every_selection_runs_with_its_defaults(name: str) -> None:
    needed = ["selection.by=gender"] if name in ("balanced", "stratified") else []
    assert load({}, [f"selection.name={name}", *needed]).selection.name == name


@pytest.mark.parametrize("name", ["balanced", "stratified"])
def test_selection_by_groups_needs_to_know_of_which(name: str) -> None:
    with pytest.raises(InputError, match=r"'selection\.by' is not set; name the column"):
        load({}, [f"selection.name={name}"])


def test_as_many_candidates_as_places_are_enough() -> None:
    keys = ["selection.name=power-of-choice", "selection.candidates=10", "selection.clients_per_round=10"]
    assert load({}, keys).selection.candidates == 10
