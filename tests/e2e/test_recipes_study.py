"""The study of real sentences: its rates and intervals on tiny cases, and a miniature of its runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from studies import recipe_curves, recipes
from studies.recipes import ARMS, Errors


def errors(wrong: list[int]) -> Errors:
    """Return the errors of speakers a, a, b with ten characters an utterance."""
    return Errors(np.array(["a", "a", "b"], object), np.array([10, 10, 10]), np.array(wrong))


@pytest.mark.quick
def test_the_excess_is_that_of_all_errors() -> None:
    value, low, high = recipes.excess(errors([2, 2, 6]), errors([1, 1, 6]))
    assert value == pytest.approx(10 / 8 - 1)
    assert (low, high) == (0.0, 1.0), "b alone shows none, a alone twice as many"


@pytest.mark.quick
def test_equal_errors_have_no_excess() -> None:
    assert recipes.excess(errors([3, 1, 2]), errors([3, 1, 2])) == (0.0, 0.0, 0.0)


@pytest.mark.quick
def test_seeds_are_pooled() -> None:
    whole = recipes.pooled([errors([2, 2, 6]), errors([0, 0, 2])])
    assert whole.cer == pytest.approx(12 / 60)
    assert len(whole.speakers) == 6


@pytest.mark.quick
def test_each_arm_on_devices_has_one_in_one_place() -> None:
    assert [name for pair in recipes.PAIRS for name in pair] == list(ARMS)


@pytest.mark.slow
def test_a_miniature(speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDASR_DATA", str(speech))
    recipes.run_all(tmp_path, "sentences", [1], list(ARMS), miniature=True)
    table = recipes.markdown(tmp_path, "sentences", [1], list(ARMS))
    first = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")]
    assert first[2:7] == ["the seed model", *ARMS]
    assert "nan" not in table
    curve = recipes.learning(tmp_path, "sentences", [1], list(ARMS))
    assert set(curve["arm"]) == set(ARMS)
    assert curve["cer"].between(0, 2).all()


@pytest.mark.quick
def test_the_curves_are_means_over_the_seeds() -> None:
    rows = [("devices", 1, 10, 0.8), ("devices", 2, 10, 0.6), ("one place", 1, 10, 0.5), ("one place", 1, 20, 0.4)]
    table = pd.DataFrame(rows, columns=["arm", "seed", "round", "cer"]).assign(recipe="sentences")
    (ax,) = recipe_curves.figure([table]).axes
    assert [line.get_ydata().tolist() for line in ax.get_lines()] == [pytest.approx([0.7]), [0.5, 0.4]]
