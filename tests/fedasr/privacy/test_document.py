import json

import pytest

from fedasr.errors import InputError
from fedasr.privacy.accountants import epsilon_of
from fedasr.privacy.document import Target, epsilon_text, extrapolated, privacy_document, write_privacy
from fedasr.privacy.events import Gaussian, PateVotes, PoissonGaussian
from fedasr.privacy.ledger import Budget, Ledger
from fedasr.results.load import load_run
from fedasr.results.pages.report import write_report
from tests.fedasr.results.run_folders import make_run

DELTA = 1e-6
ROUNDS = PoissonGaussian(unit="user", noise_multiplier=0.5, sampling_probability=0.02, steps=100)


def ledger_of(*events):
    ledger = Ledger()
    for event in events:
        ledger.charge(event, released="global model", population=1000, round=1)
    return ledger


@pytest.mark.thorough
def test_an_epsilon_stands_with_all_it_depends_on():
    document = privacy_document(ledger_of(ROUNDS), DELTA, budget=Budget(20.0, DELTA, "user"))
    for key, value in {
        "epsilon": epsilon_of([ROUNDS], DELTA).epsilon, "delta": DELTA, "unit": "user", "adjacency": "add-remove",
        "sampling": "poisson", "population": 1000, "accountant": "pld", "budget_epsilon": 20.0,
    }.items():  # fmt: skip
        assert document[key] == value
    for part in ("δ = 1e-06", "one user added or removed", "Poisson sampling", "population 1,000", "pld"):
        assert part in document["guarantee"]
    again = Ledger()
    again.load_state_dict(document["ledger"])
    assert again.spent(DELTA) == ledger_of(ROUNDS).spent(DELTA)


@pytest.mark.thorough
def test_several_units_have_no_epsilon_in_common():
    example = PoissonGaussian(unit="example", noise_multiplier=1.0, sampling_probability=0.1)
    document = privacy_document(ledger_of(ROUNDS, example), DELTA)
    assert "epsilon" not in document
    assert {"guarantee, user, seen by everyone", "guarantee, example, seen by everyone"} <= document.keys()
    assert [spent["unit"] for spent in document["spent"]] == ["user", "example"]


def test_votes_are_marked_as_sensitive():
    event = PateVotes(
        mechanism="gnmax", scales=(40.0,), orders=(2.0, 8.0), rdp=(0.1, 0.2), rdp_data_independent=(0.3, 0.6)
    )
    document = privacy_document(ledger_of(event), DELTA)
    assert document["data_dependent"] is True
    assert document["epsilon"] < document["epsilon_data_independent"]
    assert "not to be published" in document["guarantee"]


def test_a_larger_deployment_is_said_apart():
    target = Target(population=2_000_000, cohort_factor=200)
    document = privacy_document(ledger_of(ROUNDS), DELTA, target=target)
    there = PoissonGaussian(unit="user", noise_multiplier=100.0, sampling_probability=0.002, steps=100)
    assert extrapolated(ROUNDS, 1000, target) == there
    assert document["extrapolated"]["spent"][0]["epsilon"] == epsilon_of([there], DELTA).epsilon
    assert document["epsilon"] == epsilon_of([ROUNDS], DELTA).epsilon
    assert "not what was simulated" in document["extrapolated"]["note"]


def test_the_published_extrapolation():
    # Apple's row: cohorts of 1,024 of 34,753 with σ 3e-6 at clip 0.01 … stated at 204,800 of 69.5 million, z = 0.6144
    simulated = PoissonGaussian(
        unit="user", noise_multiplier=3e-6 * 1024, sampling_probability=1024 / 34_753, steps=2034
    )
    there = extrapolated(simulated, 34_753, Target(69_506_000, 200))
    assert there.noise_multiplier == pytest.approx(0.6144)
    assert epsilon_of([there], 1e-9, "rdp").epsilon == pytest.approx(7.2, rel=0.04)


def test_what_does_not_scale_is_not_extrapolated():
    document = privacy_document(ledger_of(Gaussian(unit="user", noise_multiplier=3.0)), DELTA, target=Target(10_000))
    assert document["extrapolated"]["spent"][0]["epsilon"] is None
    assert "cannot be extrapolated" in document["extrapolated"]["spent"][0]["why"]
    with pytest.raises(InputError, match="'cohort_factor' is 0"):
        Target(10, 0)


def test_clients_that_keep_their_own_account():
    document = privacy_document(Ledger(), DELTA, clients=[1.0, 2.0, 3.0, 10.0])
    assert document["clients"]["epsilon"] == pytest.approx(
        {"least": 1.0, "median": 2.5, "mean": 4.0, "p90": 7.9, "most": 10.0}
    )
    assert document["spent"] == []


@pytest.mark.thorough
def test_the_report_shows_it(tmp_path):
    folder = make_run(tmp_path / "run")
    write_privacy(folder, privacy_document(ledger_of(ROUNDS), DELTA, target=Target(10**6)))
    run = load_run(folder)
    assert run.privacy["epsilon"] == epsilon_of([ROUNDS], DELTA).epsilon
    page = write_report(folder).read_text(encoding="utf-8")
    for text in ("one user added or removed", "Poisson sampling", "add-remove", "not what was simulated"):
        assert text in page
    assert not list(folder.glob(".*.part"))


def test_an_infinite_epsilon_is_null(tmp_path):
    write_privacy(tmp_path, {"epsilon": float("inf"), "list": [float("nan"), 1.0]})
    assert json.loads((tmp_path / "privacy.json").read_text("utf-8")) == {"epsilon": None, "list": [None, 1.0]}


def test_epsilon_is_rounded_up_for_people():
    assert epsilon_text(1.00001) == "ε = 1.001"
    assert epsilon_text(0.0) == "ε = 0"
    assert epsilon_text(float("inf")) == "no finite ε"
