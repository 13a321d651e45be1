"""Error rate against ε: exact rows from small run folders, and what is refused."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest

import fedasr
from fedasr.cli.main import status
from fedasr.errors import InputError
from fedasr.results.figures.tradeoff import draw
from fedasr.results.pages.tradeoff import text_rows
from fedasr.results.tables.statistics import mean_interval
from fedasr.results.tables.tradeoff import tradeoff
from tests.fedasr.results.run_folders import make_run


def private_run(
    folder: Path,
    wer: float,
    *,
    epsilon: float | None,
    seed: int = 0,
    unit: str = "user",
    population: int | None = 200,
    **sections: Any,
) -> Path:
    """Write a run whose budget is ``epsilon``, None for one without privacy, and whose last WER is ``wer``."""
    privacy: dict[str, Any] = {"unit": "none" if epsilon is None else unit, "epsilon": epsilon}
    config = {"privacy": privacy, "data": {"corpus": "synthetic"}, **sections}
    make_run(folder, seed=seed, rounds=2, wer=[1.0, wer], config=config)
    if epsilon is not None:
        document = {
            "epsilon": epsilon * 0.999,
            "delta": 1e-5,
            "unit": unit,
            "adjacency": "add-remove",
            "seen_by": "everyone",
            "sampling": "poisson",
            "population": population,
        }
        (folder / "privacy.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def study(tmp_path: Path) -> list[Path]:
    """Write two budgets, two mechanisms and runs without privacy."""
    result = []
    for seed in (0, 1, 2):
        for epsilon, wer in ((1.0, 0.6), (8.0, 0.3), (None, 0.1)):
            folder = tmp_path / f"user-{epsilon}-{seed}"
            result.append(private_run(folder, wer + 0.01 * seed, epsilon=epsilon, seed=seed))
        result.append(private_run(tmp_path / f"example-{seed}", 0.5, epsilon=1.0, seed=seed, unit="example"))
    return result


def test_a_student_without_a_released_label_has_spent_nothing(tmp_path: Path) -> None:
    """It is a level to compare with: ε is 0, and what an ε depends on does not apply."""
    runs = study(tmp_path)
    sections = {"strategy": {"name": "pate"}, "pate": {"mechanism": "gnmax", "unit": "utterance"}}
    for seed in (0, 1):
        folder = private_run(tmp_path / f"alone-{seed}", 0.4, epsilon=0.01, seed=seed, unit="teacher", **sections)
        (folder / "privacy.json").unlink()
        summary = json.loads((folder / "summary.json").read_text())
        (folder / "summary.json").write_text(json.dumps({**summary, "epsilon": 0.0}))
        runs.append(folder)
    table = tradeoff(runs)
    (row,) = table[table["mechanism"] == "nothing released"].to_dict("records")
    assert (row["epsilon"], row["unit"], row["seeds"], row["wer"]) == (0.0, "", [0, 1], 0.4)
    _, body = text_rows(table, "wer")
    assert [cells[1:4] for cells in body if cells[0] == "nothing released"] == [["0", "–", "–"]]
    lines = {str(line.get_label()): line.get_linestyle() for line in draw(table).axes[0].lines}
    assert (lines["nothing released"], lines["no privacy"]) == (":", "--")
    # A run that has not ended is no such run.
    (folder / "summary.json").write_text(json.dumps({**summary, "epsilon": 0.0, "status": "interrupted"}))
    with pytest.raises(InputError, match="has no single ε; expected a finished private run"):
        tradeoff(runs)


def test_a_row_for_each_mechanism_and_budget(tmp_path: Path) -> None:
    table = tradeoff(study(tmp_path))
    assert list(zip(table["mechanism"], table["epsilon"], strict=True)) == [
        ("example-level", 0.999),
        ("no privacy", math.inf),
        ("user-level", 0.999),
        ("user-level", 7.992),
    ]
    row = table.iloc[2]
    mean, low, high = mean_interval([0.6, 0.61, 0.62])
    assert (row["wer"], row["wer_low"], row["wer_high"]) == pytest.approx((mean, low, high))
    assert (row["n"], row["seeds"]) == (3, [0, 1, 2])
    assert (row["delta"], row["adjacency"], row["sampling"], row["population"]) == (
        1e-5,
        "add-remove",
        "poisson",
        "200",
    )
    assert table.iloc[1]["unit"] == ""


def test_the_largest_epsilon_and_all_populations_are_told(tmp_path: Path) -> None:
    runs = [
        private_run(tmp_path / "a", 0.5, epsilon=2.0, seed=0, population=100),
        private_run(tmp_path / "b", 0.5, epsilon=2.0, seed=1, population=300),
    ]
    document = json.loads((runs[0] / "privacy.json").read_text())
    (runs[0] / "privacy.json").write_text(json.dumps({**document, "epsilon": 1.5}))
    (row,) = tradeoff(runs).to_dict("records")
    assert row["epsilon"] == pytest.approx(1.998)
    assert row["population"] == "100 to 300"


def test_every_epsilon_is_printed_with_all_that_it_depends_on(tmp_path: Path) -> None:
    head, body = text_rows(tradeoff(study(tmp_path)), "wer")
    assert head[:8] == ["Mechanism", "ε", "δ", "Neighbour", "Seen by", "Sampling", "Population", "Randomness"]
    facts = ["user-level", "7.99", "1e-05", "add-remove", "everyone", "poisson", "200", "public seed", "31.0 %"]
    assert body[3][:9] == facts
    assert body[1][:3] == ["no privacy", "∞", "–"]


def test_a_run_without_its_epsilon_is_refused(tmp_path: Path) -> None:
    run = private_run(tmp_path / "a", 0.5, epsilon=1.0)
    (run / "privacy.json").write_text(json.dumps({"spent": []}))
    with pytest.raises(InputError, match="no single ε"):
        tradeoff([run])


def test_the_same_seed_twice_is_refused(tmp_path: Path) -> None:
    runs = [private_run(tmp_path / name, 0.5, epsilon=1.0) for name in ("a", "b")]
    with pytest.raises(InputError, match="repeats seed 0"):
        tradeoff(runs)


def test_the_figure_has_a_line_a_mechanism_and_a_level_without_privacy(tmp_path: Path) -> None:
    figure = fedasr.plot.tradeoff(study(tmp_path))
    (ax,) = figure.axes
    assert [line.get_label() for line in ax.get_lines()] == ["example-level", "user-level", "no privacy"]
    assert ax.get_xscale() == "log"
    assert "δ = 1e-05" in ax.get_xlabel()
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=60)


@pytest.mark.parametrize("suffix", ["png", "html", "csv"])
def test_the_command_writes(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(path) for path in study(tmp_path / "runs")]
    out = tmp_path / f"tradeoff.{suffix}"
    assert status(["privacy", "tradeoff", *runs, "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [point["n"] for point in said["points"]] == [3, 3, 3, 3]
    assert out.stat().st_size > 300


def test_studies_keep_their_own_runs_without_privacy(tmp_path: Path) -> None:
    runs = []
    for name, rate in (("first", 0.1), ("second", 0.2)):
        folder = tmp_path / name / "none-seed0"
        make_run(folder, rounds=1, wer=[rate], config={"client.learning_rate": rate})
        runs.append(folder)
    table = tradeoff(runs)
    assert table["mechanism"].tolist() == ["no privacy, first", "no privacy, second"]
    assert table["wer"].tolist() == [0.1, 0.2]


def test_simulated_teachers_are_a_mechanism_of_their_own(tmp_path: Path) -> None:
    runs = []
    for number, simulated in enumerate((None, None, 1000)):
        pate = {"mechanism": "gnmax", "simulated_teachers": simulated}
        parts = {"strategy": {"name": "pate"}, "pate": pate, "unit": "teacher", "seed": number}
        runs.append(private_run(tmp_path / str(number), 0.5, epsilon=1.0, **parts))
    result = tradeoff(runs)
    assert result["mechanism"].tolist() == ["teacher-level", "teacher-level, simulated teachers: 1000"]
    assert result["n"].tolist() == [2, 1]
