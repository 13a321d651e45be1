import json
import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from fedasr.cli.main import status
from tests.fedasr.privacy.vectors import vectors

GAUSSIAN = {"noise-multiplier": "1.1", "sampling-probability": "0.01", "steps": "100", "delta": "1e-5"}


def arguments(command, options):
    flat = [
        part
        for name, value in options.items()
        for part in ([f"--{name}"] if value is True else [f"--{name}", str(value)])
    ]
    return ["privacy", command, *flat]


@pytest.fixture
def call(capsys):
    def run(command, **options):
        code = status(
            arguments(command, {name.replace("_", "-"): value for name, value in options.items()} | {"json": True})
        )
        said = capsys.readouterr()
        assert code == 0, said.err
        assert said.err in ("", f"wrote {options.get('per_query')}\n")
        return json.loads(said.out)

    return run


@pytest.fixture
def votes_file(tmp_path):
    def write(rows, name="votes.csv"):
        path = tmp_path / name
        if path.suffix == ".npy":
            np.save(path, np.array(rows))
        else:
            path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows), "utf-8")
        return path

    return write


@pytest.mark.parametrize("vector", vectors("accountant/sgm"), ids=lambda v: v["id"])
def test_the_published_settings(vector, call):
    given, wanted, tolerance = vector["inputs"], vector["expected"], vector["tolerance"]
    result = call(
        "gaussian",
        noise_multiplier=given["noise_multiplier"],
        sampling_probability=given["q_numerator"] / given["q_denominator"],
        steps=given["steps"],
        delta=given["delta"],
        accountant="rdp",
    )
    assert result["epsilon"] == pytest.approx(wanted["epsilon_recomputed"], rel=tolerance["recomputed_rel"])
    assert result["epsilon"] == pytest.approx(wanted["epsilon_published"], rel=tolerance["published_rel"])
    assert (result["delta"], result["accountant"]) == (given["delta"], "rdp")


@pytest.mark.parametrize("vector", vectors("accountant/zcdp"), ids=lambda v: v["id"])
def test_rho(vector, call):
    rho, delta = vector["inputs"]["rho"], vector["inputs"]["delta"]
    wanted = pytest.approx(vector["expected"]["epsilon"], rel=vector["tolerance"]["rel"])
    assert call("zcdp", rho=rho, delta=delta)["epsilon"] == wanted
    z = (2 * rho) ** -0.5
    assert call("gaussian", noise_multiplier=z, sampling_probability=1, steps=1, delta=delta)["epsilon"] == wanted
    assert call("zcdp", rho=rho, delta=delta, accountant="rdp")["epsilon"] == pytest.approx(3.583, abs=1e-3)


@pytest.mark.parametrize("suffix", [".csv", ".npy"])
@pytest.mark.parametrize("vector", vectors("pate/gnmax") + vectors("pate/lnmax"), ids=lambda v: v["id"])
def test_votes(vector, suffix, call, votes_file, tmp_path):
    given, wanted, rel = vector["inputs"], vector["expected"], vector["tolerance"]["rel"]
    result = call(
        "pate",
        votes=votes_file([given["votes"]], f"votes{suffix}"),
        mechanism=given["mechanism"],
        scale=given.get("sigma", given.get("lambda_")),
        delta=1e-5,
        orders=",".join(map(str, given["orders"])),
        per_query=tmp_path / "costs.csv",
    )
    assert result["orders"] == given["orders"]
    assert result["rdp"] == pytest.approx(wanted["rdp"], rel=rel)
    assert result["answered"] == 1
    at = result["orders"].index(result["order"])
    assert result["epsilon"] == pytest.approx(result["rdp"][at] + math.log(1e5) / (result["order"] - 1))
    costs = pd.read_csv(tmp_path / "costs.csv")
    assert costs["log_q"].tolist() == pytest.approx([wanted["log_q"]], rel=rel)
    assert costs["rdp"].sum() == pytest.approx(result["rdp"][at])


@pytest.mark.parametrize("vector", vectors("pate/threshold"), ids=lambda v: v["id"])
def test_the_check_of_votes(vector, call, votes_file):
    given, wanted, rel = vector["inputs"], vector["expected"], vector["tolerance"]["rel"]
    for votes, chance in zip(given["votes_each"], wanted["p_answer"], strict=True):
        result = call(
            "pate",
            votes=votes_file([votes]),
            mechanism="threshold",
            threshold=given["threshold"],
            threshold_scale=given["sigma1"],
            delta=1e-5,
            orders=",".join(map(str, given["orders"])),
        )
        assert result["rdp"] == pytest.approx(wanted["rdp"], rel=rel)
        assert result["answered"] == pytest.approx(chance, rel=rel)


@pytest.mark.parametrize("vector", vectors("pate/total"), ids=lambda v: v["id"])
def test_many_queries(vector, call, votes_file):
    given, wanted = vector["inputs"], vector["expected"]
    result = call(
        "pate",
        votes=votes_file([[25] * 10] * given["queries"]),  # no consensus: the votes save nothing
        mechanism=given["mechanism"],
        scale=given.get("sigma", given.get("lambda_")),
        delta=given["delta"],
    )
    for name in ("epsilon", "epsilon_data_independent"):
        assert result[name] == pytest.approx(wanted["epsilon"], rel=vector["tolerance"]["rel"])
    assert (result["order"], result["answered"]) == (wanted["optimal_order"], given["queries"])


@pytest.mark.parametrize("vector", vectors("pate/smooth/ls"), ids=lambda v: v["id"])
def test_local_sensitivity(vector, call, votes_file):
    given, wanted, tolerance = vector["inputs"], vector["expected"], vector["tolerance"]
    result = call(
        "pate",
        votes=votes_file([given["votes"]]),
        mechanism="gnmax",
        scale=given["sigma"],
        delta=1e-5,
        smooth_order=given["order"],
        teachers=given["num_teachers"],
        seed=1,
    )["smooth"]
    assert result["local_sensitivity"] == pytest.approx(
        wanted["local_sensitivity"], rel=tolerance["rel"], abs=tolerance["abs"]
    )


def test_conditions_b_holds_and_a_is_refused(call, votes_file, capsys):
    (a, b) = (vector["inputs"] for vector in vectors("pate/smooth/check"))
    path = votes_file([[10] * a["num_classes"]])
    common = {"votes": path, "mechanism": "gnmax", "delta": 1e-5, "teachers": 10 * a["num_classes"]}
    result = call("pate", **common, scale=b["sigma"], smooth_order=b["order"])
    assert result["smooth"]["conditions"] == {"c5": True, "c6": True}
    options = common | {"scale": a["sigma"], "smooth-order": a["order"]}
    assert status(arguments("pate", options)) == 2
    assert "C5 and C6 do not hold" in capsys.readouterr().err


@pytest.mark.slow
def test_a_release_repeats_by_its_seed_only(call, votes_file):
    options = {
        "votes": votes_file([[200, 30, 20]] * 100),
        "mechanism": "gnmax",
        "scale": 40,
        "delta": 1e-5,
        "smooth_order": 8,
        "teachers": 250,
    }
    seeds = [{"seed": 1}, {"seed": 1}, {}, {}, {}, {}]
    result = [call("pate", **options, **seed)["smooth"] for seed in seeds]
    assert result[0] == result[1]
    assert len({release["epsilon"] for release in result}) > 2
    assert [release["randomness"] for release in result] == ["public seed"] * 2 + ["secret"] * 4
    assert {release["coverage"] for release in result} == {0.95}


@pytest.mark.thorough
@pytest.mark.parametrize("command", ["gaussian", "calibrate", "steps", "zcdp"])
def test_a_delta_that_promises_nothing_is_refused_and_a_large_one_warned_of(command, call, capsys):
    quick = {"accountant": "rdp"}
    options = {
        "gaussian": GAUSSIAN,
        "calibrate": {"epsilon": "4", "sampling-probability": "0.01", "steps": "10", **quick},
        "steps": {"epsilon": "4", "noise-multiplier": "2", "sampling-probability": "0.1", **quick},
        "zcdp": {"rho": "0.5"},
    }[command]
    refused(arguments(command, {**options, "delta": "0.9"}), "'delta' is 0.9; expected a number well below one", capsys)
    told = call(command, **as_names({**options, "delta": "1e-3", "population": "1000", "unit": "user"}))
    assert (told["unit"], told["population"]) == ("user", 1000)
    assert "δ = 0.001 is not below 1 / population" in told["warnings"][0]
    quiet = call(command, **as_names({**options, "delta": "1e-5", "population": "1000"}))
    assert quiet["warnings"] == []
    assert quiet["unit"] == "the unit whose contributions are clipped"


def test_confident_votes_are_expected_or_known(call, votes_file):
    path = votes_file([[200, 30, 20], [100, 90, 60]])
    options = {
        "votes": path, "mechanism": "confident-gnmax", "scale": 40, "threshold": 150, "threshold_scale": 50,
        "delta": 1e-5,
    }  # fmt: skip
    result = call("pate", **options)
    assert result["answered_expected"]
    assert result["answered"] == pytest.approx(1.0)  # Φ(1) + Φ(−1)
    known = call("pate", **options, answered=votes_file([[1], [0]], "answered.csv"))
    assert (known["answered"], known["answered_expected"]) == (1, False)
    assert known["rdp"][0] != result["rdp"][0]
    assert call("pate", **options, conversion="improved")["epsilon"] < result["epsilon"]


def test_that_all_were_answered_may_be_said_of_every_mechanism(call, votes_file):
    """As ``answered.npy`` says it of a run whose mechanism answers every query."""
    options = {"votes": votes_file([[200, 30, 20], [100, 90, 60]]), "mechanism": "gnmax", "scale": 40, "delta": 1e-5}
    assert call("pate", **options, answered=votes_file([[1], [1]], "answered.csv")) == call("pate", **options)


@pytest.mark.slow
def test_calibrated_noise_keeps_to_epsilon(call):
    rest = {"sampling_probability": 0.02, "steps": 50, "delta": 1e-6}
    for more in ({}, {"accountant": "rdp"}, {"sampling": "fixed-size"}, {"micro_batches": True}):
        noise = call("calibrate", epsilon=1.5, **rest, **more)["noise_multiplier"]
        assert 1.49 < call("gaussian", noise_multiplier=noise, **rest, **more)["epsilon"] <= 1.5


@pytest.mark.slow
def test_delta_and_epsilon_are_two_sides_of_one_curve(call):
    rest = {"noise_multiplier": 1.1, "sampling_probability": 0.02, "steps": 200}
    for more in ({}, {"accountant": "rdp"}, {"sampling": "fixed-size"}):
        epsilon = call("gaussian", delta=1e-6, **rest, **more)["epsilon"]
        result = call("delta", epsilon=epsilon, **rest, **more)
        assert result["delta"] == pytest.approx(1e-6, rel=0.05)
        assert call("delta", epsilon=epsilon / 2, **rest, **more)["delta"] > 1e-4


def test_steps_in_a_budget(call):
    rest = {"noise_multiplier": 1.5, "sampling_probability": 0.02, "delta": 1e-6, "accountant": "rdp"}
    steps = call("steps", epsilon=2, **rest)["steps"]
    assert call("gaussian", steps=steps, **rest)["epsilon"] <= 2
    assert call("gaussian", steps=steps + 1, **rest)["epsilon"] > 2


@pytest.mark.slow
def test_accountants_and_samplings(call):
    result = {name: call("gaussian", **as_names(GAUSSIAN), accountant=name) for name in ("pld", "rdp", "prv")}
    assert result["pld"]["epsilon"] <= result["rdp"]["epsilon"]
    assert result["prv"]["epsilon"] == pytest.approx(result["pld"]["epsilon"], rel=0.02)
    assert [result[name]["accountant"] for name in result] == list(result)
    fixed = call("gaussian", **as_names(GAUSSIAN), sampling="fixed-size")
    assert (fixed["accountant"], fixed["adjacency"]) == ("rdp", "replace-one")
    assert fixed["epsilon"] > result["rdp"]["epsilon"]
    assert call("gaussian", **as_names(GAUSSIAN), micro_batches=True)["epsilon"] > 2 * result["pld"]["epsilon"]


def as_names(options):
    return {name.replace("-", "_"): value for name, value in options.items()}


def test_people_read_a_table_on_standard_error(capsys, votes_file):
    assert status(arguments("gaussian", GAUSSIAN)) == 0
    said = capsys.readouterr()
    assert said.out == ""
    for text in ("ε", "δ", "1e-05", "Poisson-sampled Gaussian, z = 1.1", "one unit added or removed", "pld"):
        assert text in said.err
    options = {"votes": votes_file([[200, 30, 20]]), "mechanism": "gnmax", "scale": 40, "delta": 1e-5}
    assert status(arguments("pate", options)) == 0
    assert "do not publish" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "change", "says"),
    [
        ("gaussian", {"noise-multiplier": "0"}, "'--noise-multiplier' is 0; expected a number above 0"),
        ("gaussian", {"noise-multiplier": "nan"}, "'--noise-multiplier' is nan"),
        ("gaussian", {"noise-multiplier": "x"}, "'x' is not a valid float"),
        ("gaussian", {"sampling-probability": "1.5"}, "'--sampling-probability' is 1.5; expected a probability"),
        ("gaussian", {"sampling-probability": "0"}, "'--sampling-probability' is 0"),
        ("gaussian", {"steps": "0"}, "'--steps' is 0; expected a whole number of at least 1"),
        ("gaussian", {"steps": "1.5"}, "'1.5' is not a valid int"),
        ("gaussian", {"delta": "0"}, "'delta' is 0; expected a number between 0 and 1"),
        ("gaussian", {"delta": "1"}, "'delta' is 1"),
        ("gaussian", {"delta": "nan"}, "'delta' is nan"),
        ("gaussian", {"accountant": "gdp"}, "'accountant' is 'gdp'"),
        ("gaussian", {"sampling": "shuffle"}, "'--sampling' is 'shuffle'"),
        ("gaussian", {"sampling": "fixed-size", "accountant": "prv"}, "prv cannot account for this event; use rdp"),
        ("gaussian", {"sampling": "fixed-size", "micro-batches": True}, "--micro-batches is accounted for with"),
        ("gaussian", {"noise-multiplier": "0.05", "accountant": "prv"}, "prv cannot resolve"),
        ("calibrate", {"epsilon": "0"}, "'epsilon' is 0; expected a number above 0"),
        ("calibrate", {"epsilon": "inf"}, "'epsilon' is inf"),
        ("calibrate", {"epsilon": "1", "sampling-probability": "2"}, "'--sampling-probability' is 2"),
        ("steps", {"epsilon": "-1"}, "'epsilon' is -1"),
        ("zcdp", {"rho": "-1"}, "'--rho' is -1"),
    ],
)
def test_wrong_numbers_are_one_line_and_status_2(command, change, says, capsys):
    base = dict(GAUSSIAN)
    if command == "calibrate":
        del base["noise-multiplier"]
    if command == "steps":
        del base["steps"]
    if command == "zcdp":
        base = {"delta": "1e-5"}
    refused(arguments(command, base | change), says, capsys)


def refused(given, says, capsys):
    assert status([*given, "--json"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert says in said.err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("1,2\n3\n", "votes.csv:2: has 1 counts, the first row 2"),
        ("1,2\n3,-4\n", "votes.csv:2: -4 in column 2 is no vote count"),
        ("1.5,2\n", "votes.csv:1: 1.5 in column 1 is no vote count; expected a whole number of at least 0"),
        ("1,nan\n", "votes.csv:1: nan in column 2"),
        ("1,inf\n", "votes.csv:1: inf in column 2"),
        ("yes,no\n1,2\n", "votes.csv:1: 'yes' is no number"),
        ("1,2\n3,\n", "votes.csv:2: '' is no number"),
        ("5\n6\n", "has one class only"),
        ("", "has shape (0, 0)"),
        ("\ufffd\n", "is no number"),
    ],
)
def test_wrong_votes_are_one_line_and_status_2(content, says, tmp_path, capsys):
    path = tmp_path / "votes.csv"
    path.write_text(content, "utf-8")
    options = {"votes": path, "mechanism": "gnmax", "scale": 40, "delta": 1e-5}
    refused(arguments("pate", options), says, capsys)


def test_files_that_are_no_votes(tmp_path, capsys):
    def check(path, says):
        refused(arguments("pate", {"votes": path, "mechanism": "gnmax", "scale": 4, "delta": 1e-5}), says, capsys)

    check(tmp_path / "none.csv", "none.csv: no such file")
    check(tmp_path / "votes.txt", "votes.txt: expected a file of votes that ends in .npy or .csv")
    check(tmp_path, "expected a file of votes")
    (tmp_path / "bad.npy").write_text("no array", "utf-8")
    check(tmp_path / "bad.npy", "bad.npy: is no array file of NumPy")
    np.save(tmp_path / "text.npy", np.array(["a", "b"]))
    check(tmp_path / "text.npy", "holds no numbers")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    check(tmp_path / "objects.npy", "objects.npy: is no array file of NumPy")
    np.save(tmp_path / "cube.npy", np.zeros((2, 2, 2)))
    check(tmp_path / "cube.npy", "has shape (2, 2, 2)")
    (tmp_path / "latin.csv").write_bytes(b"1,\xe9\n")
    check(tmp_path / "latin.csv", "is no UTF-8 CSV")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"mechanism": "gnmx"}, "'mechanism' is 'gnmx' (did you mean 'gnmax'?)"),
        ({"scale": "0"}, "'scale' is 0; expected votes from 1e-06 to 1e+07"),
        ({"scale": "1e160"}, "'scale' is 1e+160; expected votes from 1e-06 to 1e+07"),
        ({"mechanism": "threshold"}, "'scale' has no use with threshold"),
        ({"scale": None}, "'scale' is missing; gnmax needs the scale of its noise"),
        ({"mechanism": "confident-gnmax"}, "'threshold' is missing"),
        ({"mechanism": "confident-gnmax", "threshold": "9"}, "'threshold-scale' is missing"),
        ({"threshold": "9"}, "'threshold' has no use with gnmax"),
        ({"delta": "2"}, "'delta' is 2"),
        ({"orders": "1,2"}, "'--orders' is '1,2'; expected numbers above 1"),
        ({"orders": "a"}, "'--orders' is 'a'"),
        ({"orders": "nan"}, "'--orders' is 'nan'"),
        ({"conversion": "best"}, "'conversion' is 'best'"),
        ({"smooth-order": "8", "teachers": "9"}, "'teachers' is 9, but a query has more votes"),
        ({"smooth-order": "8"}, "'--smooth-order' needs '--teachers'"),
        ({"smooth-order": "1", "teachers": "250"}, "'order' is 1"),
        ({"mechanism": "lnmax", "smooth-order": "8", "teachers": "250"}, "lnmax is not known"),
    ],
)
def test_wrong_options_of_votes(change, says, votes_file, capsys):
    base = {"votes": votes_file([[200, 30, 20]]), "mechanism": "gnmax", "scale": "40", "delta": "1e-5"} | change
    refused(arguments("pate", {name: value for name, value in base.items() if value is not None}), says, capsys)


@pytest.mark.parametrize("rows", [[[1]], [[1], [2]], [["a"], [1]]])
def test_wrong_answers(rows, votes_file, capsys):
    options = {
        "votes": votes_file([[200, 30, 20], [1, 2, 3]]), "mechanism": "confident-gnmax", "scale": 40, "threshold": 9,
        "threshold-scale": 9, "delta": 1e-5, "answered": votes_file(rows, "answered.csv"),
    }  # fmt: skip
    refused(arguments("pate", options), "answered.csv", capsys)


@pytest.mark.parametrize("command", ["gaussian", "calibrate", "delta", "steps", "zcdp", "pate", "tradeoff"])
def test_help_has_an_example(command, capsys):
    assert status(["privacy", command, "--help"]) == 0
    assert f"Example: fedasr privacy {command}" in " ".join(capsys.readouterr().out.split())


def test_the_accountants_are_imported_only_when_asked():
    heavy = ("dp_accounting", "opacus", "torch")
    code = f"import sys, fedasr.cli.main, fedasr.privacy.ledger; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
