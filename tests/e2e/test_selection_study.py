"""The documented comparison of selection strategies, in miniature: its sweeps run, and its table comes out."""

from __future__ import annotations

from pathlib import Path

import pytest

import fedasr
from fedasr.config import load
from studies.reading_order import in_order
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


def test_utterances_come_in_the_order_in_which_they_were_read(tmp_path: Path) -> None:
    """Numbers, not texts: chapter 2 before 10; both readers begin and end together."""
    names = ["7/10/7-10-0000", "7/2/7-2-0001", "8/1/8-1-0000", "7/2/7-2-0000", "7/10/7-10-0001"]
    lines = [f"{name.split('/')[-1]}.ogg,{name.split('/')[0]},test-clean/{name}.flac" for name in names]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,speaker,source_path", *lines]) + "\n")
    rows = in_order(tmp_path / "manifest.csv")
    assert [Path(path).stem for path in rows["path"]] == ["7-2-0000", "7-2-0001", "7-10-0000", "7-10-0001", "8-1-0000"]
    hours = [3, 9, 15, 21, 12]
    assert list(rows["timestamp"]) == [f"2026-01-01T{hour:02}:00:00.000+00:00" for hour in hours]
    assert Path(rows["path"].iloc[0]).parent == tmp_path


def test_the_sweep_of_readers_asks_for_what_there_is() -> None:
    from fedasr.sweeps.plan import read_plan

    plan = read_plan(ROOT / "simulations" / "sweeps" / "readers_in_order.yaml")
    configs = [load(run.config) for run in plan.runs]
    assert len(configs) == 12
    assert sum(config.stream.arrival == "trace" for config in configs) == 6
