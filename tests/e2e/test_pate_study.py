"""The documented comparison of PATE with DP-FedAvg, in miniature: votes once, sweeps over them, table and figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import fedasr
from benchmarks.pate_tables import markdown
from fedasr.results.tradeoff import tradeoff
from fedasr.sweeps.plan import read_plan

from .tiny import ROOT, tiny

SWEEPS = ROOT / "simulations" / "sweeps"
MODEL: dict[str, Any] = {"channels": [8, 8], "hidden": 8}


def small(folder: Path) -> dict[str, Any]:
    """Return what makes a study small; the public start is made first."""
    changes = {f"model__{name}": value for name, value in MODEL.items()}
    seed = fedasr.run(tiny(rounds=1, **changes, model__dropout=0.0), out=folder / "seed")
    return {
        "init_from": str(seed.path),
        "runtime.executor": "serial",
        "data.synthetic.speakers": 12,
        "data.synthetic.utterances_per_speaker": 3,
        "data.synthetic.test_speakers": 2,
        "data.synthetic.test_utterances_per_speaker": 3,
        **{f"model.{name}": value for name, value in MODEL.items()},
    }


def typed(overrides: dict[str, Any]) -> list[str]:
    """Return overrides as they are typed after a command."""
    return [f"{name}={value}" for name, value in overrides.items()]


def test_the_study_in_miniature(tmp_path: Path) -> None:
    common = small(tmp_path)
    pate = {**common, "pate.queries": 6, "pate.public.synthetic.speakers": 4, "client.epochs": 1}
    fedasr.run("pate_home", tmp_path / "votes-seed0", {**pate, "rounds": 0, "pate.scale": 2})
    labelled, users = tmp_path / "pate", tmp_path / "users"
    fedasr.sweep(
        SWEEPS / "pate_home.yaml",
        labelled,
        overrides=[
            *typed(pate),
            "rounds=3",
            f"pate.votes_from={tmp_path}/votes-seed{{seed}}",
        ],
        only=["gnmax-eps8-seed0", "start-alone-seed0"],
    )
    fedasr.sweep(
        SWEEPS / "pate_home_users.yaml",
        users,
        overrides=[*typed(common), "rounds=2", "selection.clients_per_round=4"],
        only=["dp-fedavg-eps8-seed0"],
    )
    text = markdown([labelled, users], tmp_path / "figure.png")
    cells = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in text.splitlines()[2:]}
    assert list(cells) == ["gnmax-eps8", "start-alone", "dp-fedavg-eps8"]
    # The start that teaches itself has spent nothing.
    assert cells["start-alone"][:3] == ["0", "0", "—"]
    assert float(cells["gnmax-eps8"][0]) <= 8.0 == float(cells["dp-fedavg-eps8"][0])
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    table = tradeoff(sorted(labelled.glob("*-seed*")) + sorted(users.glob("*-seed*")))
    assert set(table["unit"]) == {"teacher", "user", ""}
    # The budget ends the labelling, whatever the votes of these teachers cost.
    assert (table["epsilon"] <= 8.0).all()


@pytest.mark.parametrize("name", sorted(path.stem for path in SWEEPS.glob("pate_*.yaml")))
def test_the_sweeps_ask_for_what_there_is(name: str) -> None:
    assert read_plan(SWEEPS / f"{name}.yaml", []).runs
