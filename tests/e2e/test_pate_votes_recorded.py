"""The votes in ``docs/results/pate/votes`` give the labels and the ε that the tables beside them tell."""

from __future__ import annotations

import numpy as np
import pytest

from fedasr.privacy.pate.analysis import query_costs
from fedasr.privacy.pate.smooth import release, total_local_sensitivity
from studies.pate_budgets import place_of
from studies.pate_published import published
from studies.pate_recorded import KEYWORDS, SWEEPS, TABLES, labelled, runs_of, votes_of
from studies.pate_records import read

KEPT = {
    "hybrid": ("gnmax", "lnmax"),
    "rnnt": (),
    "las": ("confident", "gnmax", "lnmax"),
    "ctc": ("gnmax-eps0.5", "lnmax-eps0.5"),
    **{f"{KEYWORDS}{family}": ("confident", "gnmax", "lnmax") for family in ("hybrid", "las", "rnnt")},
}
"""Beginnings of the labels of which every seed in the table is of votes that are kept; of the others some were lost."""


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(SWEEPS))
def test_labels_come_out_as_recorded(family: str) -> None:
    if not votes_of(family):
        pytest.skip(f"no votes of {family} are recorded")
    for told in read(TABLES / f"{family}.csv"):
        name, budget = place_of(told)
        # Large budgets take long, and no other path through the code.
        if told.unit != "teacher" or name.startswith("simulated") or budget > 1:
            continue
        runs = [labelled(family, planned) for planned in runs_of(family, told.label)]
        spent = [run.epsilons()[0] or 0.0 for run in runs]
        labels = [int(run.record.answered.sum()) for run in runs]
        assert max(spent) <= budget, told.label
        if told.label.startswith(KEPT[family]):
            assert told.seeds == tuple(sorted(votes_of(family)))
            if told.label.startswith("confident"):
                # Which queries are answered follows from the noise, which had another source when the table was made.
                assert told.epsilon == pytest.approx(max(spent), rel=0.02), told.label
                assert told.labels == pytest.approx(np.mean(labels), abs=1.0), told.label
                continue
            assert max(spent) - 1e-9 <= told.epsilon <= max(spent) + 1.1e-4, told.label
            assert told.labels == pytest.approx(np.mean(labels), rel=1e-4), told.label


def test_something_is_kept() -> None:
    """Else the test above could not fail."""
    assert votes_of("hybrid")
    assert any(told.label.startswith(KEPT["hybrid"]) for told in read(TABLES / "hybrid.csv"))


def test_what_may_be_published_costs_its_own_release() -> None:
    run = labelled("hybrid", runs_of("hybrid", "gnmax-eps1")[0])
    record, order = run.record, 6.0
    rdp = float(query_costs(record.votes, run.mechanism, (order,), record.answered).sum())
    result = published(run, order)
    assert result is not None
    # The release adds β- and σ-dependent RDP of its own: never less than that of the votes at the same order.
    assert result.mean > rdp + np.log(1e5) / (order - 1)
    local = total_local_sensitivity(record.votes, run.mechanism, run.teachers, order, record.answered)
    drawn = [release(rdp, local, order, 1e-5, np.random.default_rng(seed)).epsilon for seed in range(400)]
    assert np.mean(drawn) == pytest.approx(result.mean, abs=4 * result.deviation / 20)
    assert np.std(drawn) == pytest.approx(result.deviation, rel=0.15)
    assert published(run, 200.0) is None
