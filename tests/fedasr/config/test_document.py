"""The page about the configuration says what the schema says."""

from __future__ import annotations

from pathlib import Path

from fedasr.config.document import page
from fedasr.config.schema import walk

PAGE = Path(__file__).resolve().parents[3] / "docs" / "configuration.md"


def test_the_committed_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m fedasr.config.document > docs/configuration.md"


def test_every_key_has_one_row_of_four_cells() -> None:
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    assert sorted(row.split("`")[1] for row in rows) == sorted(name for name, _ in walk())
    assert all(row.replace("\\|", "").count("|") == 5 for row in rows)


def test_rows_say_default_values_and_meaning() -> None:
    lines = page().splitlines()
    assert "| `rounds` | `10` | integer ≥ 0 | rounds of federated training |" in lines
    assert "| `client.clip_norm` | `5.0` | number > 0, or `null` |" in "\n".join(lines)
    assert "| `client.optimizer` | `sgd` | `sgd`, `adamw`, *own part* | the local optimiser |" in lines
    assert "| `selection.name` | `uniform` | `uniform`, `poisson`, `activity`," in "\n".join(lines)
    assert "| `data.manifest` | `null` | text, or `null` |" in "\n".join(lines)
