"""The study of how often bounds hold, in miniature."""

from __future__ import annotations

from studies import audit_coverage


def test_every_bound_has_a_row_and_holds_in_nearly_every_seed() -> None:
    rows = list(audit_coverage.bounds(20))
    assert [row[0] for row in rows] == list(audit_coverage.BOUNDS)
    for row in rows:
        hits = [int(cell.split(" of 20")[0]) for cell in (row[1], *row[2::2])]
        assert min(hits) >= 15  # 19 are due; fewer than 15 have a probability of 3e-4 a cell
        medians = [float(cell) for cell in row[3::2]]
        assert medians == sorted(medians)


def test_a_shipped_mechanism_is_not_contradicted_and_a_boast_is() -> None:
    (row,) = audit_coverage.shipped(2, 0.05, ["users, banded"])
    assert row[0] == "users, banded"
    assert row[3].startswith("2 of 2")
    assert row[4] == "2 of 2"


def test_the_page_holds_its_tables() -> None:
    text = audit_coverage.page(2, 0.05, "| first |", "| second |", "| third |")
    assert all(f"| {name} |" in text for name in ("first", "second", "third"))
    assert "--seeds 2 --effort 0.05" in text
