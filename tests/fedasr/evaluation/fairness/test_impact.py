"""What a choice does to each group: by hand, with seeds pooled."""

from __future__ import annotations

import numpy as np
import pytest

from fedasr.errors import InputError
from fedasr.evaluation.fairness.impact import Heard, impact, seed_range

SPEAKERS = np.array(["a", "b", "c", "d"], object)
WORDS = np.full(4, 100)
GENDER = np.array(["f", "f", "m", "m"], object)


def test_groups_gap_and_changes_by_hand() -> None:
    base = Heard("base", [np.array([10, 10, 20, 20]), np.array([10, 10, 20, 24])])
    other = Heard("private", [np.array([14, 14, 40, 38])])
    result = impact("gender", SPEAKERS, WORDS, GENDER, [base, other], 0, 0)
    first, second = result["configs"]
    assert first["groups"]["f"]["wer"] == pytest.approx(0.1)
    assert first["groups"]["m"]["wer"] == pytest.approx(0.21)  # the mean over the seeds
    assert first["groups"]["m"]["seeds"] == pytest.approx([0.2, 0.22])
    assert first["gap"]["difference"] == pytest.approx(0.11)
    assert first["gap"]["seeds"] == pytest.approx([0.1, 0.12])
    assert "change" not in first
    assert "change" not in first["groups"]["f"]
    assert second["wer"] == pytest.approx(0.265)
    assert second["change"]["difference"] == pytest.approx(0.265 - 0.155)
    assert second["groups"]["f"]["change"]["difference"] == pytest.approx(0.04)
    assert second["groups"]["m"]["change"]["difference"] == pytest.approx(0.18)
    change = second["gap"]["change"]
    assert change["difference"] == pytest.approx(0.14)
    assert (change["worst"], change["best"]) == ("m", "f")
    assert change["low"] <= change["difference"] <= change["high"]
    # Both women change alike, so that their change is certain; the gap's is not.
    assert second["groups"]["f"]["change"]["low"] == pytest.approx(0.04)
    assert any("fewer than 10 speakers" in note for note in result["warnings"])


def test_a_model_that_is_the_baseline_again_changes_nothing() -> None:
    errors = np.array([10, 30, 20, 20])
    result = impact("gender", SPEAKERS, WORDS, GENDER, [Heard("a", [errors]), Heard("b", [errors])], 0, 0)
    again = result["configs"][1]
    for given in (again["change"], again["gap"]["change"], *(row["change"] for row in again["groups"].values())):
        assert [given["difference"], given["low"], given["high"]] == [0, 0, 0]


def test_pairing_takes_out_what_makes_a_speaker_hard() -> None:
    rng = np.random.default_rng(0)
    hard = rng.integers(0, 60, 40)
    speakers, groups = np.array([f"s{n:02d}" for n in range(40)], object), np.array(["f", "m"] * 20, object)
    heard = [Heard("a", [hard]), Heard("b", [hard + 5])]
    result = impact("gender", speakers, np.full(40, 100), groups, heard, 0, 0)
    row = result["configs"][1]["groups"]["f"]
    assert row["high"] - row["low"] > 0.1
    assert row["change"]["high"] - row["change"]["low"] == pytest.approx(0, abs=1e-9)


def test_groups_of_one_speaker_cannot_be_compared() -> None:
    heard = [Heard("a", [np.array([1, 1, 1, 1])]), Heard("b", [np.array([2, 1, 1, 1])])]
    with pytest.raises(InputError, match="two test speakers or more"):
        impact("role", SPEAKERS, WORDS, np.array(["x", "y", "y", "y"], object), heard, 0, 0)


def test_one_seed_has_no_range() -> None:
    assert seed_range([0.1, 0.3, 0.2]) == (0.1, 0.3)
    assert np.isnan(seed_range([0.1])).all()
