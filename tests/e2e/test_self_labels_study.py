"""The studies of labels made on devices, and of estimates from their speech: miniatures of their runs."""

from __future__ import annotations

from pathlib import Path

from studies import self_labels
from studies.estimate_coverage import markdown, richest


def test_a_miniature(tmp_path: Path) -> None:
    arms = ["transcripts", "own labels", "continual, transcripts", "continual, labels on arrival"]
    self_labels.run_all(tmp_path, [1], arms, "serial", miniature=True)
    table = self_labels.markdown(tmp_path, [1], arms)
    first = [line.split("|")[1].strip() for line in table.splitlines()]
    assert first == ["", "---", "the start", *arms]
    rows = markdown(tmp_path / "own_labels-1", tmp_path / "public-1", each=1, panels=(3,)).splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[:2] for row in cells] == [
        ["the run's own test speech", "3"],
        ["its utterances rich in half of the words", "3"],
        ["other test speech", "3"],
    ]
    assert len({row[2] for row in cells}) == 1
    assert all(0 <= float(row[4].removesuffix(" %")) <= 100 for row in cells)


def test_the_utterances_that_are_rich_in_half_of_the_words() -> None:
    """Those with most of ``four`` and ``nine``, the first half of the alphabet; all that tie."""
    texts = ["nine nine", "two six", "nine two", "six", "four", ""]
    assert richest(texts).tolist() == [0, 4]
    assert richest(["two", "six", "nine", "nine"]).tolist() == [2, 3]
