import json

import pytest
import typer
from typer.testing import CliRunner

from fedasr.cli import results
from fedasr.cli.common import console
from fedasr.errors import InputError
from tests.fedasr.results.run_folders import add_activity, add_periods, make_run, simulate_clock, two_strategies

app = typer.Typer()
results.register(app)


def call(*arguments):
    outcome = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(outcome.exception, InputError):
        raise outcome.exception
    assert outcome.exit_code == 0, outcome.output
    return outcome


def test_compare_prints_one_json_object(tmp_path):
    runs = two_strategies(tmp_path, seeds=2)
    outcome = call("compare", *runs, "--x", "updates", "--target", "0.2", "--json")
    result = json.loads(outcome.stdout)
    assert (result["metric"], result["x"]) == ("wer", "updates")
    uniform, activity = result["groups"]
    assert uniform["label"] == "selection.name=uniform"
    assert activity["seeds"] == [0, 1]
    assert activity["n"] == 2
    assert uniform["runs"] == [str(path) for path in runs[:2]]
    assert activity["low"] < activity["mean"] < activity["high"]
    assert activity["target"]["reached"] == 2
    assert len(uniform["curve"]["x"]) == len(uniform["curve"]["mean"]) > 10


def test_compare_says_in_json_what_a_target_took_and_who_was_served(tmp_path):
    runs = [
        simulate_clock(add_periods(add_activity(run, [0.3] * 10), [[0.5], [0.4, 0.3]]), 30.0)
        for run in two_strategies(tmp_path, seeds=2)
    ]
    uniform, activity = json.loads(call("compare", *runs, "--target", "0.3", "--json").stdout)["groups"]
    assert set(uniform["targets"]) == {"round", "bytes", "audio_seconds", "simulated_seconds", "updates"}
    assert uniform["targets"]["round"] == uniform["target"]
    rounds = uniform["targets"]["round"]["mean"]
    assert uniform["targets"]["simulated_seconds"]["mean"] == pytest.approx(30 * rounds)
    assert uniform["simulated_seconds"] == 600
    assert 0 < uniform["gini"] < 1
    assert 0 < uniform["jain"] < 1
    assert [row["decile"] for row in uniform["deciles"]] == list(range(1, 11))
    assert uniform["forgetting"]["forgetting"] == pytest.approx(-0.1)
    assert uniform["forgetting"]["periods"][0]["period"] == 1
    assert uniform["difference"] is None
    assert activity["difference"]["mean"] == pytest.approx(activity["mean"] - uniform["mean"])


def test_tables_keep_their_columns_in_a_narrow_terminal(tmp_path, monkeypatch):
    monkeypatch.setattr(console, "width", 60)
    runs = [add_activity(run, [0.31] * 10) for run in two_strategies(tmp_path, seeds=2)]
    said = call("compare", *runs, "--target", "0.3").stderr
    for wanted in ("selection.name", "Gini", "Time", "Client updates", "1 less 10", "31.0"):
        assert wanted in said


def test_one_seed_has_null_for_an_interval(tmp_path):
    result = json.loads(call("compare", make_run(tmp_path / "a"), "--json").stdout)
    assert result["groups"][0]["low"] is None
    assert result["groups"][0]["curve"]["high"] == [None] * 20


def test_people_read_on_standard_error(tmp_path):
    runs = two_strategies(tmp_path, seeds=2)
    again = make_run(tmp_path / "again", seed=0, status="interrupted", rounds=5, config={"rounds": 20})
    outcome = call("compare", *runs, again, "--target", "0.2")
    assert outcome.stdout == ""
    for wanted in ("uniform", "activity", "95 % interval", "WER ≤ 20.0 %", "repeats seed 0"):
        assert wanted in outcome.stderr


@pytest.mark.thorough
@pytest.mark.parametrize("suffix", ["png", "html", "csv"])
def test_compare_writes_a_file(tmp_path, suffix):
    out = tmp_path / f"deep/c.{suffix}"
    call("compare", make_run(tmp_path / "a"), "--out", out)
    assert out.stat().st_size > 100


@pytest.mark.thorough
def test_report_writes_a_page(tmp_path):
    folder = make_run(tmp_path / "a")
    assert "report.html" in call("report", folder).stderr
    assert (folder / "report.html").is_file()
    call("report", folder, "--out", tmp_path / "r.html")
    assert (tmp_path / "r.html").read_bytes() == (folder / "report.html").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metric", "cerr"], "did you mean 'cer'"),
        (["--x", "rounds"], "did you mean 'round'"),
        (["--out", "figure.pmg"], "cannot write '.pmg'"),
        (["--x", "simulated_seconds"], "recorded no 'simulated_seconds'"),
    ],
)
def test_wrong_arguments_are_one_line_and_write_nothing(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        call("compare", make_run(tmp_path / "a"), *arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_no_run_folder(tmp_path):
    for command in ("compare", "report"):
        with pytest.raises(InputError, match=r"config\.yaml"):
            call(command, tmp_path)


@pytest.mark.parametrize("command", ["compare", "report"])
def test_help_has_an_example(command):
    assert f"Example: fedasr {command}" in call(command, "--help").stdout
