"""The documented trade-off of error rate and ε, in miniature: its sweeps run, and its table and figure come out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import fedasr
from fedasr.results.tables.tradeoff import tradeoff
from studies.private_tables import markdown

from .tiny import ROOT, tiny

SWEEPS = ROOT / "simulations" / "sweeps"
MODEL: dict[str, Any] = {"model__channels": [8, 8], "model__hidden": 8, "model__dropout": 0.0}


def small(folder: Path, unit: str) -> list[str]:
    """Return what makes a study small; its seed model is made first."""
    seed = fedasr.run(tiny(rounds=1, **MODEL), out=folder / "seed")
    return [
        f"init_from={seed.path}",
        "rounds=2",
        "data.synthetic.speakers=12",
        "data.synthetic.utterances_per_speaker=3",
        "data.synthetic.test_speakers=2",
        "data.synthetic.test_utterances_per_speaker=3",
        "model.channels=[8,8]",
        "model.hidden=8",
        f"selection.clients_per_round={6 if unit == 'utterances' else 4}",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["users", "utterances"])
def test_the_study_in_miniature(unit: str, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    only = ["eps1-seed1", "eps8-seed1", "none-seed1"]
    fedasr.sweep(SWEEPS / f"private_home_{unit}.yaml", runs, overrides=small(tmp_path, unit), only=only)
    table = tradeoff(sorted(runs.glob("*-seed*")))
    assert "people of this run" not in str(fedasr.load_run(runs / "eps1-seed1").privacy), (
        "the documented start is public"
    )
    private = table[table["unit"] != ""]
    assert private["epsilon"].round(1).tolist() == [1.0, 8.0]
    assert private["unit"].tolist() == [{"users": "user", "utterances": "example"}[unit]] * 2
    assert table["n"].tolist() == [1, 1, 1]
    assert (private["epsilon"] <= [1.0, 8.0]).all()
    text = markdown([runs], tmp_path / "figure.png")
    assert text.count("\n") == 2 + len(table)
    assert (tmp_path / "figure.png").stat().st_size > 10_000


@pytest.mark.parametrize("name", ["private_keywords_users", "private_keywords_utterances"])
def test_the_sweeps_on_real_speech_ask_for_what_there_is(name: str) -> None:
    from fedasr.sweeps.plan import read_plan

    plan = read_plan(SWEEPS / f"{name}.yaml", [])
    assert {run.seed for run in plan.runs} == {0, 1, 2}
    assert len(plan.runs) == 18
