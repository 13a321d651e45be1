"""The documented comparison of PATE with DP-FedAvg, in miniature: votes once, sweeps over them, table and figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import fedasr
from fedasr.results.tables.tradeoff import tradeoff
from fedasr.sweeps.plan import read_plan
from studies import pate_budgets
from studies.pate_records import Record, read, records_of, write
from studies.pate_tables import markdown

from .tiny import ROOT, tiny

SWEEPS = ROOT / "simulations" / "sweeps"
MODEL: dict[str, Any] = {"channels": [8, 8], "hidden": 8}


def small(folder: Path) -> dict[str, Any]:
    """Return what makes a study small; the public initial model is made first."""
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


@pytest.mark.slow
def test_the_study_in_miniature(tmp_path: Path) -> None:
    common = small(tmp_path)
    pate = {**common, "pate.queries": 6, "pate.public.synthetic.speakers": 4, "client.epochs": 1}
    fedasr.run("pate_home", tmp_path / "votes-seed1", {**pate, "rounds": 0, "pate.scale": 2})
    labelled, users = tmp_path / "pate", tmp_path / "users"
    fedasr.sweep(
        SWEEPS / "pate_home.yaml",
        labelled,
        overrides=[
            *typed(pate),
            "rounds=3",
            f"pate.votes_from={tmp_path}/votes-seed{{seed}}",
        ],
        only=["gnmax-eps8-seed1", "start-alone-seed1"],
    )
    fedasr.sweep(
        SWEEPS / "pate_home_users.yaml",
        users,
        overrides=[*typed(common), "rounds=2", "selection.clients_per_round=4"],
        only=["dp-fedavg-eps8-seed1"],
    )
    text = markdown(records_of([labelled, users]), tmp_path / "figure.png")
    cells = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in text.splitlines()[2:]}
    assert list(cells) == ["gnmax-eps8", "start-alone", "dp-fedavg-eps8"]
    # The start that teaches itself has spent nothing.
    assert cells["start-alone"][:3] == ["0", "0", "—"]
    assert float(cells["gnmax-eps8"][0]) <= 8.0 == float(cells["dp-fedavg-eps8"][0])
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    assert [result.label for result in records_of([labelled, users], "dp")] == ["fedavg-eps8"]
    by_budget = pate_budgets.table_of(records_of([labelled, users]))
    assert {name: list(row) for name, row in by_budget.items()} == {
        "gnmax": [8.0],
        "start-alone": [0.0],
        "dp-fedavg": [8.0],
    }
    for run in map(fedasr.load_run, [labelled / "gnmax-eps8-seed1", users / "dp-fedavg-eps8-seed1"]):
        assert run.privacy is not None
        assert "people of this run" not in run.privacy["guarantee"], "the documented start is public"
    table = tradeoff(sorted(labelled.glob("*-seed*")) + sorted(users.glob("*-seed*")))
    assert set(table["unit"]) == {"teacher", "user", ""}
    # The budget ends the labelling, whatever the votes of these teachers cost.
    assert (table["epsilon"] <= 8.0).all()


def test_the_table_of_budgets() -> None:
    """Where all was labelled, more budget changes nothing; where it ended the labelling, nothing is known of more."""
    Cell = pate_budgets.Cell
    text = pate_budgets.markdown(
        {
            "confident": {1.0: Cell((0.4, 0.5, 0.6), False), 4.0: Cell((0.2, 0.2, 0.2), True)},
            "lnmax": {1.0: Cell((0.8,), False)},
            "start": {0.0: Cell((0.9, 0.7), False)},
            "dp": {1.0: Cell((1.0, 1.0, 1.0), False), 8.0: Cell((0.8, 0.8, 0.8), False)},
            "none": {float("inf"): Cell((0.1, 0.1, 0.1), False)},
        },
        beside="dp",
    )
    assert text.splitlines() == [
        "| WER | ε = 0 | ε = 1 | ε = 4 | ε = 8 | ∞ |",
        "| --- | --- | --- | --- | --- | --- |",
        "| confident | — | 0.500 (0.400 – 0.600) | 0.200 (0.200 – 0.200) | as at 4 | — |",
        "| lnmax | — | 0.800, 1 seed | — | — | — |",
        "| start | 0.800 (0.700 – 0.900), 2 seeds | as at 0 | as at 0 | as at 0 | — |",
        "| dp | — | 1.000 (1.000 – 1.000) | — | 0.800 (0.800 – 0.800) | — |",
        "| none | — | — | — | — | 0.100 (0.100 – 0.100) |",
        "",
        "| lower than dp's by | ε = 1 | ε = 8 |",
        "| --- | --- | --- |",
        "| confident | 50 % | 75 % |",
        "| lnmax | 20 % | — |",
        "| start | 20 % | 0 % |",
    ]
    # What releases nothing holds at every budget, but is no baseline where there is no privacy.
    rest = {"start": {0.0: Cell((0.9, 0.7), False)}, "dp": {1.0: Cell((1.0,), False), 8.0: Cell((0.4,), False)}}
    none = {"none": {float("inf"): Cell((0.1,), False)}}
    assert pate_budgets.markdown({**rest, **none}, beside="start").splitlines()[-3:] == [
        "| lower than start's by | ε = 1 | ε = 8 |",
        "| --- | --- | --- |",
        "| dp | -25 % | 50 % |",
    ]
    with pytest.raises(SystemExit, match="there is no 'dpsgd'; there are none"):
        pate_budgets.markdown({"none": {1.0: Cell((0.1,), False)}}, beside="dpsgd")


def record(**changes: Any) -> Record:
    facts = {"epsilon": 1.234, "independent": 2.5, "delta": 1e-5, "unit": "teacher", "population": "12"}
    facts |= {"randomness": "public seed"}
    labels = {"labels": 40.0, "right": 0.5, "own_right": None, "all_labelled": True}
    return Record(**({"label": "gnmax-eps2", "seeds": (1, 2), "wers": (0.25, 0.5), **facts, **labels} | changes))


def test_seeds_of_a_label_are_told_together(tmp_path: Path) -> None:
    none = record(
        label="none",
        epsilon=float("inf"),
        independent=None,
        delta=None,
        unit="",
        population="",
        randomness="",
        labels=None,
        right=None,
    )
    write([record(), none], tmp_path / "first.csv")
    assert read(tmp_path / "first.csv") == [record(), none]
    third = record(seeds=(3,), wers=(0.3,), epsilon=1.5, independent=2.0, labels=10.0, right=None, all_labelled=False)
    write([third], tmp_path / "second.csv")
    assert records_of([tmp_path / "first.csv", tmp_path / "second.csv"]) == [
        record(seeds=(1, 2, 3), wers=(0.25, 0.3, 0.5), epsilon=1.5, labels=30.0, all_labelled=False),
        none,
    ]
    write([record(epsilon=1.23401, independent=0.99999)], tmp_path / "up.csv")
    assert [(told.epsilon, told.independent) for told in read(tmp_path / "up.csv")] == [(1.2341, 1.0)]
    for wrong, said in (({"seeds": (2,)}, "seed 2 of 'gnmax-eps2' is there twice"), ({"unit": "user"}, "other people")):
        write([record(**{"seeds": (3,), "wers": (0.3,)} | wrong)], tmp_path / "second.csv")
        with pytest.raises(SystemExit, match=said):
            records_of([tmp_path / "first.csv", tmp_path / "second.csv"])
    # Of a seed whose budget afforded no label there is no account.
    write([record(seeds=(3,), wers=(0.3,), epsilon=0.0, delta=None, unit="", population="")], tmp_path / "second.csv")
    assert records_of([tmp_path / "first.csv", tmp_path / "second.csv"])[0].unit == "teacher"


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "docs" / "results" / "pate").glob("*.csv")))
def test_recorded_tables_can_be_read(name: str) -> None:
    records = read(ROOT / "docs" / "results" / "pate" / f"{name}.csv")
    assert records
    for result in records:
        assert len(result.seeds) == len(result.wers)
        budget = pate_budgets.place_of(result)[1]
        assert result.epsilon <= budget + 1e-9, f"{result.label} spent more than its budget"
        assert (result.delta is None) == (result.epsilon in (0.0, float("inf")))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in SWEEPS.glob("pate_*.yaml")))
def test_the_sweeps_ask_for_what_there_is(name: str) -> None:
    assert read_plan(SWEEPS / f"{name}.yaml", []).runs
