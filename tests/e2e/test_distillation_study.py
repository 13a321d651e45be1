"""The study of what a teacher gives: its comparison on a tiny case, and a miniature of its runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from studies import distillation
from studies.distillation import ARMS, BESIDE, MINIATURE


@pytest.mark.quick
def test_how_much_lower_is_a_share_of_the_other_rate() -> None:
    assert distillation.lower(np.array([0.3]), np.array([0.4])) == "+25 %"
    # The mean of 25 and 50 %; t(0.975, 1 degree of freedom) × 17.7 / √2 = 158.8.
    assert distillation.lower(np.array([0.3, 0.2]), np.array([0.4, 0.4])) == "+38 % [-121, +196]"


@pytest.mark.quick
def test_every_arm_but_the_baseline_is_beside_another() -> None:
    assert set(BESIDE) == set(ARMS) - {"transcripts alone"}
    assert set(BESIDE.values()) <= set(ARMS)


def test_a_miniature(tmp_path: Path) -> None:
    arms = ["transcripts alone", "with the teacher", "segregated"]
    distillation.run_all(tmp_path, [1], arms, MINIATURE)
    table = distillation.markdown(tmp_path, [1], arms)
    first = [line.split("|")[1].strip() for line in table.splitlines()]
    assert first == ["WER", "---", "the teacher", *arms]
    assert "nan" not in table
