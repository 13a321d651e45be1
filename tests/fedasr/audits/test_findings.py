"""Findings of any quantity: their sentences, their file, the table of them and their section of the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedasr import load_run
from fedasr.audits.file import record, write_findings
from fedasr.audits.finding import Finding, not_attacked, told
from fedasr.errors import InputError

KEYS = (
    *("attack", "observer", "access", "kind", "value", "low", "high", "claim", "delta", "unit", "adjacency", "n"),
    *("method", "sentence", "quantity", "contradiction"),
)
AUC = told(
    Finding(
        attack="LiRA",
        observer="whoever has the model",
        access="the final model",
        knowledge="the utterance",
        kind="estimate",
        quantity="AUC",
        value=0.62,
        low=0.55,
        high=0.7,
        unit="utterance",
        n=40,
        method="16 shadow models",
        confidence=0.95,
        floors={"random": 0.5, "initial model": 0.51},
    )
)
NOTHING = not_attacked(
    "gradient matching", "the device took 4 steps", observer="the server", access="one update", unit="utterance"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a run folder that holds a config alone."""
    (tmp_path / "config.yaml").write_text("name: tiny\nseed: 0\n")
    return tmp_path


def test_a_figure_without_a_ledger_says_so_and_what_it_depends_on() -> None:
    assert AUC.sentence == (
        "LiRA: estimate AUC = 0.62 (0.55 to 0.7) (no ledger covers it) for one utterance; where nothing"
        " leaks: random 0.5, initial model 0.51; observer: whoever has the model, who looks at the final model and"
        " knows the utterance; n = 40, 16 shadow models, confidence 95 %"
    )


def test_a_figure_beside_the_ledgers_ceiling_names_its_epsilon() -> None:
    values = {**AUC.__dict__, "claim": 0.743, "claim_epsilon": 4.0, "delta": 1e-5, "of_ledger": True}
    sentence = told(Finding(**values)).sentence
    assert "beside the ledger's ceiling of 0.743, from ε = 4 at δ = 1e-05, for one utterance" in sentence


def test_what_was_not_attacked_is_not_called_safe() -> None:
    assert (NOTHING.kind, NOTHING.value, NOTHING.contradiction) == ("not attacked", None, False)
    assert "not attacked: the device took 4 steps; that is no statement of safety" in NOTHING.sentence


def test_a_command_replaces_its_own_findings_alone(folder: Path) -> None:
    write_findings(folder, "membership", [AUC, AUC])
    write_findings(folder, "invert", [NOTHING])
    write_findings(folder, "membership", [AUC])
    result = json.loads((folder / "audit.json").read_text())
    assert [(one["command"], one["attack"]) for one in result] == [
        ("invert", "gradient matching"),
        ("membership", "LiRA"),
    ]
    assert all(key in one for one in result for key in KEYS)


def test_the_table_and_the_report_have_them(folder: Path) -> None:
    (folder / "audit_roc_curves.png").write_bytes(b"\x89PNG")
    record(folder, "membership", [AUC, NOTHING])
    audit = load_run(folder).audit
    assert audit["value"].tolist()[0] == 0.62
    assert audit["value"].isna().tolist() == [False, True]
    page = (folder / "report.html").read_text()
    assert "LiRA: estimate AUC = 0.62" in page
    assert "data:image/png;base64," in page
    assert "roc curves" in page


def test_a_run_without_audits_has_an_empty_table(folder: Path) -> None:
    audit = load_run(folder).audit
    assert len(audit) == 0
    assert {"attack", "value", "claim", "sentence"} <= set(audit.columns)


@pytest.mark.parametrize("content", ["{}", "[1]", '[{"attack": "x"}]', "[", "\udcff"])
def test_a_damaged_file_is_named_and_left_alone(folder: Path, content: str) -> None:
    path = folder / "audit.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"audit\.json"):
        write_findings(folder, "membership", [AUC])
    assert path.read_bytes() == before
