"""What rounds show of canary users, written to a journal and to a table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from fedasr.results.load import read_table
from fedasr.runtime.canary_rows import CanaryRound
from fedasr.runtime.run_folder import CANARY_COLUMNS, RunFolder


def a_round(number: int, noise: float = 0.5) -> CanaryRound:
    return CanaryRound(
        number,
        0.25,
        noise,
        np.array([1, -1], np.int8),
        np.array([True, False, True, False, True]),
        np.array([1.5, -2.0, 0.1, 0.0, number], np.float32),
    )


def test_a_line_of_the_journal_is_read_back_as_it_was() -> None:
    for noise in (0.5, float("nan")):
        before = a_round(3, noise)
        after = CanaryRound.of_row(json.loads(json.dumps({**before.as_row(), "noise_multiplier": noise})))
        for name in ("round", "probability", "signs", "turns", "products"):
            np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
        np.testing.assert_equal(after.noise_multiplier, noise)


def test_the_table_has_a_row_a_round_and_canary_and_is_written_when_the_run_ends(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.create()
    folder.append("canaries", [a_round(1).as_row(), a_round(2, float("nan")).as_row()])
    folder.write_tables(ended=False)
    assert not (tmp_path / "canaries.parquet").exists()
    folder.write_tables()
    table = read_table(tmp_path / "canaries.parquet", CANARY_COLUMNS)
    assert list(table.columns) == list(CANARY_COLUMNS)
    assert table["round"].tolist() == [1] * 5 + [2] * 5
    assert table["canary"].tolist() == [0, 1, 2, 3, 4] * 2
    assert table["inserted"].tolist() == [True, True, False, False, False] * 2
    assert table["sign"].tolist() == [1, -1, 0, 0, 0] * 2
    assert table["turn"].tolist() == [True, False, True, False, True] * 2
    assert table["product"].tolist()[4::5] == [1.0, 2.0]
    assert table["noise_multiplier"].isna().tolist() == [False] * 5 + [True] * 5
