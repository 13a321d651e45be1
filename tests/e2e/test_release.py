"""What leaves the house: exactly what an ε covers, whole or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import fedasr
from fedasr.cli.main import status
from fedasr.config import load
from fedasr.models.weights import read_weights, sha256
from fedasr.privacy.document import privacy_document
from fedasr.privacy.events import Gaussian, PateVotes, PoissonGaussian
from fedasr.privacy.ledger import Ledger
from fedasr.results.pages.privacy_card import concentrated_dp, gaussian_dp
from fedasr.results.pages.report import write_report

from .tiny import tiny

ALWAYS = {"README.md", "card.json", "config.yaml", "model.safetensors", "privacy.json", "tokenizer.json"}
SEED = 918273
USERS: dict[str, Any] = {
    "name": "private-town",
    "seed": SEED,
    "rounds": 2,
    "selection__name": "poisson",
    "strategy__weighting": "uniform",
    "privacy__unit": "user",
    "privacy__noise_multiplier": 2.0,
    "privacy__secret_noise": True,
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def secret(runs: Path) -> fedasr.Run:
    return fedasr.run(tiny(**USERS), out=runs / "secret")


@pytest.fixture(scope="module")
def simulated(runs: Path) -> fedasr.Run:
    return fedasr.run(tiny(**{**USERS, "privacy__secret_noise": False}), out=runs / "simulated")


def released(run: fedasr.Run, out: Path, *options: str) -> dict[str, Any]:
    assert status(["release", str(run.path), "--out", str(out), *options]) == 0
    result: dict[str, Any] = json.loads((out / "card.json").read_text(encoding="utf-8"))
    return result


def refused(folder: Path, out: Path, says: str, capsys: pytest.CaptureFixture[str], *options: str) -> None:
    capsys.readouterr()
    assert status(["release", str(folder), "--out", str(out), "--json", *options]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert says in said.err
    assert not list(out.parent.glob(".*.part"))


def test_a_release_holds_what_is_covered_and_nothing_else(secret: fedasr.Run, tmp_path: Path) -> None:
    out = tmp_path / "new" / "release"
    card = released(secret, out)
    assert {path.name for path in out.iterdir()} == ALWAYS
    assert not list(out.parent.glob(".*"))
    assert sha256(read_weights(out)[0]) == card["model_sha256"] == secret.summary["model_sha256"]
    everything = "".join(path.read_bytes().decode("utf-8", "replace") for path in out.iterdir())
    names = set(secret.clients["client"])
    for told in (str(SEED), "private-town", str(secret.path.parent), *names):
        assert told not in everything
    config = load(out / "config.yaml")
    assert config.seed == 0
    assert config.model.hidden == secret.config.model.hidden
    assert config.privacy.noise_multiplier == 2.0


@pytest.mark.slow
def test_the_card_says_what_an_epsilon_depends_on(secret: fedasr.Run, tmp_path: Path) -> None:
    card = released(secret, tmp_path / "release")
    assert card["guarantee_holds"] is True
    (result,) = card["guarantees"]
    document = secret.privacy
    assert document is not None
    assert result["epsilon"] == document["epsilon"]
    assert (result["unit"], result["adjacency"], result["randomness"]) == ("user", "add-remove", "secret")
    assert result["delta_times_population"] == pytest.approx(1e-5 * document["population"])
    assert "nobody knows in which" in result["sampling_condition"]
    assert (result["rho_zcdp"], result["mu_gdp"]) == (None, None)
    text = (tmp_path / "release" / "README.md").read_text(encoding="utf-8")
    for said in ("accesses covered", "tuning", "one user added or removed", "secret randomness", "δ · population"):
        assert said in text


@pytest.mark.slow
def test_the_release_of_a_simulation_says_first_that_nothing_holds(
    simulated: fedasr.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(simulated.path, tmp_path / "no", "its noise follows from a public seed", capsys)
    assert not (tmp_path / "no").exists()
    card = released(simulated, tmp_path / "out", "--simulation")
    assert card["guarantee_holds"] is False
    assert (tmp_path / "out" / "README.md").read_text(encoding="utf-8").startswith("**No guarantee holds for anybody")


@pytest.mark.slow
def test_every_sentence_of_a_simulation_says_so(simulated: fedasr.Run, secret: fedasr.Run) -> None:
    """Where a person or a program meets the ε: ``privacy.json``, ``summary.json``, the report."""
    for run, randomness, words in (
        (simulated, "public seed", "holds against nobody who has the seed"),
        (secret, "secret", "secret randomness"),
    ):
        document = run.privacy
        assert document is not None
        assert document["randomness"] == run.summary["randomness"] == randomness
        assert [spent["randomness"] for spent in document["spent"]] == [randomness]
        assert words in document["guarantee"]
        assert run.summary["guarantee"] == document["guarantee"]
        page = write_report(run, run.path / "again.html").read_text(encoding="utf-8")
        assert page.count("secret randomness" if run is secret else "public seed") >= 2


@pytest.mark.slow
def test_pate_releases_the_student_and_the_labels(runs: Path, tmp_path: Path) -> None:
    """Neither the votes nor the ε that was computed from them leave."""
    public = {"grammar": "words", "words": ["yes", "no"], "speakers": 2, "utterances_per_speaker": 3}
    config = tiny(
        name="labels", seed=SEED, rounds=1, strategy__name="pate", privacy__unit="teacher", privacy__secret_noise=True
    )
    del config["selection"]
    config["pate"] = {"scale": 2.0, "public": {"synthetic": public}}
    run = fedasr.run(config, out=runs / "pate")
    card = released(run, tmp_path / "release")
    assert {path.name for path in (tmp_path / "release").iterdir()} == {*ALWAYS, "labels.csv"}
    labels = pd.read_csv(tmp_path / "release" / "labels.csv")
    assert list(labels) == ["query", "utterance", "label"]
    assert len(labels) == len(run.queries) > 0
    (result,) = card["guarantees"]
    assert result["epsilon"] == pytest.approx(run.summary["epsilon_data_independent"])
    assert result["rho_zcdp"] == pytest.approx(len(labels) / 2.0**2)
    ledger = json.loads((tmp_path / "release" / "privacy.json").read_text(encoding="utf-8"))
    assert "data_dependent" not in json.dumps(ledger)
    for entry in ledger["ledger"]["entries"]:
        assert entry["event"]["rdp"] == entry["event"]["rdp_data_independent"]
    told = (tmp_path / "release" / "config.yaml").read_text(encoding="utf-8")
    assert "seed" not in told
    names = {line.split(":")[0].strip() for line in told.split("pate:")[1].splitlines()}
    assert not {"weights", "candidates", "public", "store", "votes_from"} & names


def test_what_may_not_be_released_is_one_line(
    secret: fedasr.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def changed(name: str, **files: Any) -> Path:
        folder = tmp_path / name
        shutil.copytree(secret.path, folder)
        for file, content in files.items():
            path = folder / f"{file}.json"
            if content is None:
                path.unlink()
            else:
                path.write_text(json.dumps(content))
        return folder

    out = tmp_path / "release"
    summary, document = secret.summary, secret.privacy
    refused(tmp_path / "none", out, "no such folder", capsys)
    refused(changed("running", summary={**summary, "status": "running"}), out, "expected a finished run", capsys)
    refused(changed("lost", privacy=None), out, "holds no ledger", capsys)
    refused(changed("torn", privacy={"ledger": {"version": 7, "entries": [1]}}), out, "privacy ledger", capsys)
    started = {**(document or {}), "caveats": ["the start heard people of this run"]}
    refused(changed("started", privacy=started), out, "the start heard people of this run", capsys)
    broken = changed("broken")
    (broken / "model.safetensors").write_bytes(b"no weights")
    refused(broken, out, "is not a readable safetensors file", capsys)
    assert not out.exists()
    out.mkdir()
    (out / "mine").touch()
    refused(secret.path, out, "is not empty", capsys)
    assert [path.name for path in out.iterdir()] == ["mine"]


def test_a_run_without_privacy_has_nothing_to_release(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = fedasr.run(tiny(rounds=1), out=tmp_path / "run")
    refused(run.path, tmp_path / "out", "nothing private ran", capsys)


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert status(["release", "--help"]) == 0
    assert "Example: fedasr release" in capsys.readouterr().out


def test_zcdp_and_gaussian_dp_stand_where_they_exist() -> None:
    gaussian = Gaussian(unit="user", adjacency="zero-out", noise_multiplier=2.0, steps=4)
    assert gaussian_dp([gaussian]) == pytest.approx(1.0)
    assert concentrated_dp([gaussian]) == pytest.approx(0.5)
    whole = PoissonGaussian(unit="user", adjacency="zero-out", noise_multiplier=2.0, sampling_probability=1.0, steps=4)
    assert gaussian_dp([gaussian, whole]) == pytest.approx(2**0.5)
    assert concentrated_dp([PoissonGaussian(unit="user", noise_multiplier=2.0, sampling_probability=0.5)]) is None
    laplace = PateVotes(mechanism="lnmax", scales=(9.0,), orders=(2.0, 8.0), rdp=(0.1, 0.2),
                        rdp_data_independent=(0.1, 0.2))  # fmt: skip
    assert concentrated_dp([laplace]) is None


def test_a_delta_of_one_over_the_population_is_said_everywhere() -> None:
    ledger = Ledger(secret=True)
    ledger.charge(PoissonGaussian(unit="user", noise_multiplier=1.0, sampling_probability=0.1), released="global model",
                  population=200)  # fmt: skip
    large, small = (privacy_document(ledger, delta) for delta in (1 / 200, 1e-3))
    assert "δ = 0.005 is not below 1 / population (0.005)" in large["guarantee"]
    assert (large["delta_below_one_over_population"], small["delta_below_one_over_population"]) == (False, True)
    assert "not below" not in small["guarantee"]
