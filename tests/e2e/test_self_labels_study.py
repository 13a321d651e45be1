"""The study of labels made on devices: a miniature of its runs."""

from __future__ import annotations

from pathlib import Path

from studies import self_labels


def test_a_miniature(tmp_path: Path) -> None:
    arms = ["transcripts", "own labels", "continual, transcripts", "continual, labels on arrival"]
    self_labels.run_all(tmp_path, [1], arms, "serial", miniature=True)
    table = self_labels.markdown(tmp_path, [1], arms)
    first = [line.split("|")[1].strip() for line in table.splitlines()]
    assert first == ["", "---", "the start", *arms]
