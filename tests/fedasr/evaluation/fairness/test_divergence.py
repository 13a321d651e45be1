"""The divergence of posteriors, by hand, and along transcripts of every family."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fedasr.evaluation.fairness.divergence import jensen_shannon, kullback_leibler, walk
from tests.fedasr.models.families import LABELS, LENGTHS, batch_of, build


def logs(*rows: list[float]) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.array(rows))


def test_two_distributions_by_hand() -> None:
    # Against their mean (.75, .25): ½·(.5·ln(.5/.75) + .5·ln(.5/.25)) + ½·ln(1/.75).
    result = jensen_shannon([logs([0.5, 0.5]), logs([1.0, 0.0])])
    assert result == pytest.approx([0.215762], abs=1e-6)


def test_none_where_all_are_alike_and_the_most_where_none_overlap() -> None:
    alike = logs([0.2, 0.3, 0.5])
    assert jensen_shannon([alike, alike, alike]) == pytest.approx([0], abs=1e-12)
    apart = [logs([1.0, 0.0, 0.0]), logs([0.0, 1.0, 0.0]), logs([0.0, 0.0, 1.0])]
    assert jensen_shannon(apart) == pytest.approx([math.log(3)])


def test_kullback_and_leibler_by_hand() -> None:
    # ½·[.5·ln(.5/.9) + .5·ln(.5/.1)] + ½·[.9·ln(.9/.5) + .1·ln(.1/.5)]
    assert kullback_leibler([logs([0.5, 0.5]), logs([0.9, 0.1])]) == pytest.approx([0.439445], abs=1e-6)
    alike = logs([0.2, 0.8])
    assert kullback_leibler([alike, alike, alike]) == pytest.approx([0], abs=1e-12)
    # What one holds to be impossible has the log-probability −100: the divergence is large, and a number.
    assert kullback_leibler([logs([1.0, 0.0]), logs([0.0, 1.0])]) == pytest.approx([100])


@pytest.mark.parametrize("family", ["ctc", "las", "rnnt"])
def test_posteriors_along_a_transcript_are_those_under_each_of_its_beginnings(family: str) -> None:
    model = build(family)
    batch = batch_of(LENGTHS[:3], LABELS[:3])
    with torch.inference_mode(), model.as_it_decodes():
        result = walk(model.prefixes(model.encode(batch)), LABELS[:3])
    for place in range(4):
        beginnings = [label[: min(place, len(label))] for label in LABELS[:3]]
        expected = model.next_token_log_posteriors(batch, beginnings).numpy()
        for row, beginning in enumerate(beginnings):
            assert result[row][len(beginning)] == pytest.approx(expected[row], abs=1e-4)
    assert [len(one) for one in result] == [len(label) + 1 for label in LABELS[:3]]
