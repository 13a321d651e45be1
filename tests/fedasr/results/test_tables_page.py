"""The page about the tables names every column of every table, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from fedasr.runtime.run_folder import TABLES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "tables.md"


def test_every_column_of_every_table_is_documented() -> None:
    sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    named = {re.match(r"`(\w+)\.parquet`", section): section for section in sections}
    documented = {match[1]: section for match, section in named.items() if match}
    assert documented.keys() == TABLES.keys()
    for table, columns in TABLES.items():
        cells = [line.split("|")[1] for line in documented[table].splitlines() if line.startswith("| `")]
        assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == columns.keys(), table
