"""The documented comparison of selection strategies, in miniature: its sweeps run, and its table comes out."""

from __future__ import annotations

from pathlib import Path

import pytest

import fedasr
from studies.selection_tables import comparison, table

from .tiny import ROOT

SMALL = [
    "rounds=4",
    "data.synthetic.speakers=30",
    "data.synthetic.utterances_per_speaker=4",
    "data.synthetic.test_speakers=3",
    "data.synthetic.test_utterances_per_speaker=4",
    "model.hidden=16",
    "selection.clients_per_round=4",
    "evaluate.deciles=2",
    "evaluate.every=2",
    "client.epochs=1",
]


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["static", "continual"])
def test_the_study_in_miniature(setting: str, tmp_path: Path) -> None:
    sweep = ROOT / "simulations" / "sweeps" / f"selection_{setting}.yaml"
    only = ["uniform-seed[01]", "oort-seed[01]"]
    fedasr.sweep(sweep, tmp_path, overrides=SMALL, only=only)
    groups = comparison(tmp_path, 1.0, tmp_path / "figure.png")
    assert [group["label"] for group in groups] == ["oort", "uniform"]
    assert all(group["n"] == 2 for group in groups)
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    text = table(groups, 1.0)
    assert text.count("| oort |") == text.count("| uniform |") == (2 if setting == "continual" else 1)
    assert text.splitlines()[2].split("|")[2].strip() != "–", "the error rate is there"


@pytest.mark.parametrize("setting", ["real_static", "real_continual"])
def test_the_sweeps_on_real_speech_ask_for_what_there_is(setting: str) -> None:
    from fedasr.sweeps.plan import read_plan

    plan = read_plan(ROOT / "simulations" / "sweeps" / f"{setting}.yaml", [])
    assert len(plan.runs) == 20
    assert {run.seed for run in plan.runs} == set(range(5))
