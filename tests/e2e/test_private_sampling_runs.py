"""Cohorts of private runs: drawn as they are charged, in secret where noise is, and whatever fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedasr
from fedasr.config import load
from fedasr.config.schema import DataConfig
from fedasr.data.corpus import BadAudio, Waveform
from fedasr.data.manifest import ManifestCorpus
from fedasr.data.roster import Roster
from fedasr.errors import InputError, RunFailed
from fedasr.experiment import Experiment
from fedasr.privacy.accountants import epsilon_of
from fedasr.privacy.events import FixedSizeGaussian, Gaussian, PoissonGaussian
from fedasr.privacy.randomness import Randomness
from fedasr.runtime import checkpoint
from fedasr.runtime.launch import launch, settle
from fedasr.runtime.session import Silent
from fedasr.strategies.selection import Poisson, Selection, Stateless, Traits, Uniform

from .small_speech import BROKEN_SPEAKER, small, speech
from .test_continual import StopAfter
from .tiny import tiny

QUICK: dict[str, Any] = {
    "rounds": 2,
    "client__epochs": 0,
    "evaluate__every": 0,
    "selection__clients_per_round": 4,
    "selection__name": "poisson",
    "strategy__weighting": "uniform",
    "privacy__unit": "user",
    "privacy__noise_multiplier": 1.5,
}


def private(**changes: Any) -> dict[str, Any]:
    """Return a private run of twelve devices in which nobody trains."""
    return tiny(**{**QUICK, **changes})


# -- the rates ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("key", ["over_commit", "availability"])
def test_whoever_is_fast_or_there_is_not_sampled(key: str, tmp_path: Path) -> None:
    """Over-commitment sends the model to many and keeps the fastest, which k/N does not cover."""
    value: Any = 10.0 if key == "over_commit" else "diurnal"
    clock = {"selection__name": "uniform", "devices__clock": True, f"devices__{key}": value}
    with pytest.raises(InputError, match=rf"'devices\.{key}' makes who else is in a round depend"):
        fedasr.run(private(**clock), out=tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    run = fedasr.run(private(**clock, privacy__public_activity=True), out=tmp_path / "public")
    event = Gaussian(unit="user", adjacency="zero-out", noise_multiplier=1.5, steps=2)
    assert run.summary["epsilon"] == pytest.approx(epsilon_of([event], 1e-5).epsilon)
    assert run.privacy is not None
    assert (run.privacy["sampling"], run.privacy["adjacency"]) == ("none", "zero-out")


@pytest.mark.slow
def test_a_threshold_is_charged_for_those_that_qualify(tmp_path: Path) -> None:
    changes = {"selection__name": "threshold", "privacy__public_activity": True}
    counts = np.sort(Experiment(load(private(**changes, selection__min_activity=1))).roster().utterances)[::-1]
    least = int(counts[4])
    qualified = int((counts >= least).sum())
    run = fedasr.run(private(**changes, selection__min_activity=least, rounds=1), out=tmp_path / "run")
    q = min(4, qualified) / qualified
    event = FixedSizeGaussian(unit="user", noise_multiplier=1.5, sampling_probability=q)
    assert run.summary["epsilon"] == pytest.approx(epsilon_of([event], 1e-5, "rdp").epsilon)
    assert run.privacy is not None
    assert run.privacy["population"] == qualified < 12
    budget = {"privacy__noise_multiplier": None, "privacy__epsilon": 8.0, "selection__min_activity": least}
    result = settle(load(private(**changes, **budget))).privacy.noise_multiplier
    assert result is not None
    event = FixedSizeGaussian(unit="user", noise_multiplier=result, sampling_probability=q, steps=2)
    assert 7.8 < epsilon_of([event], 1e-5, "rdp").epsilon <= 8.0


@pytest.mark.slow
def test_a_stream_changes_nobodys_rate(tmp_path: Path) -> None:
    """Who holds speech in a period is private: the rate is a share of the registered devices."""
    stream = {"stream__arrival": "poisson", "stream__periods": 2, "stream__keep": "period"}
    run = fedasr.run(private(**stream), out=tmp_path / "run")
    event = PoissonGaussian(unit="user", noise_multiplier=1.5, sampling_probability=4 / 12, steps=2)
    assert run.summary["epsilon"] == pytest.approx(epsilon_of([event], 1e-5).epsilon)
    assert run.privacy is not None
    assert run.privacy["population"] == 12


# -- a user's own selectors -----------------------------------------------------------------------------------------


class Honest(Poisson):
    """Poisson by another name."""

    def __init__(self, config: Any) -> None:
        pass


class Undeclared(Stateless):
    """It says nothing of itself."""

    def __init__(self, config: Any) -> None:
        pass

    def select(self, round: int, roster: Roster, k: int, rng: np.random.Generator) -> Selection:
        return Uniform().select(round, roster, k, rng)


class Liar(Undeclared):
    """It declares a fixed size and takes the same ones in every round, which it reports."""

    traits = Traits("fixed-size")

    def select(self, round: int, roster: Roster, k: int, rng: np.random.Generator) -> Selection:
        return Selection(np.arange(k), np.ones(k))


class Prober(Undeclared):
    """It asks devices for losses."""

    traits = Traits("poisson")

    def __init__(self, config: Any) -> None:
        self.probe = lambda round, clients: np.zeros(len(clients))


HERE = "tests.e2e.test_private_sampling_runs:"
EXAMPLE = {"privacy__unit": "example", "client__optimizer": "sgd"}


@pytest.mark.slow
def test_a_selector_of_ones_own_is_charged_as_it_declares(tmp_path: Path) -> None:
    run = fedasr.run(private(selection__name=f"{HERE}Honest"), out=tmp_path / "run")
    event = PoissonGaussian(unit="user", noise_multiplier=1.5, sampling_probability=4 / 12, steps=2)
    assert run.summary["epsilon"] == pytest.approx(epsilon_of([event], 1e-5).epsilon)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("Undeclared", {}, "does not declare which sampling"),
        ("Undeclared", EXAMPLE, "may choose by losses"),
        ("Prober", {}, "chooses by the losses"),
        ("Prober", EXAMPLE, "chooses by losses"),
    ],
)
def test_a_selector_that_may_be_anything_is_refused_before_the_run(
    name: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        fedasr.run(private(selection__name=f"{HERE}{name}", **changes), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_selector_that_reports_more_than_is_charged_ends_the_run_before_the_round(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"with probability 1, but the accountant charges 0\.333"):
        fedasr.run(private(selection__name=f"{HERE}Liar"), out=tmp_path / "run")
    left = json.loads((tmp_path / "run" / "privacy.json").read_text())
    assert left["spent"] == []


# -- secret cohorts -------------------------------------------------------------------------------------------------


def cohorts(run: fedasr.Run) -> list[set[str]]:
    """Return who took part in each round."""
    return [set(run.clients[run.clients["round"] == round]["client"]) for round in range(1, run.summary["rounds"] + 1)]


@pytest.mark.slow
def test_secret_noise_has_secret_cohorts_that_a_resumed_run_draws_again(tmp_path: Path) -> None:
    config = load(private(rounds=6, privacy__secret_noise=True, selection__name="uniform"))
    launch(config, tmp_path / "run", watcher=StopAfter(2))
    kept = checkpoint.load(tmp_path / "run" / "checkpoint")
    assert kept is not None
    source = Randomness(bytes.fromhex(kept.facts["population"]["secret"]), True)
    launch(config, tmp_path / "run", resume=True)
    run = fedasr.load_run(tmp_path / "run")
    everybody = Roster.from_counts(np.ones(12, np.int64), np.ones(12))
    names = Experiment(config).partition.names
    for round, result in enumerate(cohorts(run), 1):
        again = Uniform().select(round, everybody, 4, source.generator("selection", round)).clients
        assert result == {str(names[client]) for client in again}
    public = fedasr.run(private(rounds=6, selection__name="uniform"), out=tmp_path / "public")
    assert cohorts(public) != cohorts(run)
    # The key is nowhere but in the checkpoint, which is its owner's alone.
    key = kept.facts["population"]["secret"].encode()
    holding = [file for file in run.path.rglob("*") if file.is_file() and key in file.read_bytes()]
    assert holding == [run.path / "checkpoint" / checkpoint.NAME]
    assert (run.path / "checkpoint").stat().st_mode & 0o777 == 0o700
    assert holding[0].stat().st_mode & 0o777 == 0o600
    assert run.privacy is not None
    assert "clients.parquet" in run.privacy["holds_if"][0]


# -- failures -------------------------------------------------------------------------------------------------------


class OnlyTheBroken(Undeclared):
    """The cohort of one whose microphone is broken, as chance may draw it."""

    traits = Traits("poisson")

    def select(self, round: int, roster: Roster, k: int, rng: np.random.Generator) -> Selection:
        return Selection(np.array([int(BROKEN_SPEAKER[1:])]), np.array([1.0]))


@pytest.mark.slow
def test_a_cohort_of_one_that_fails_releases_noise(tmp_path: Path) -> None:
    """Failures are part of the mechanism: a run that ended by one would tell of it."""
    changes = {name: value for name, value in QUICK.items() if name != "client__epochs"}
    changes |= {"selection__name": f"{HERE}OnlyTheBroken", "selection__clients_per_round": 5}
    broken = "tests.e2e.small_speech:broken_microphone"
    config = small(speech(tmp_path / "speech"), data__corpus=broken, **changes, strategy__max_failed_share=0.0)
    run = fedasr.run(config, out=tmp_path / "run")
    assert run.summary["status"] == "done"
    assert run.rounds["clients_failed"].tolist() == [1, 1]
    event = PoissonGaussian(unit="user", noise_multiplier=1.5, sampling_probability=1.0, steps=2)
    assert run.summary["epsilon"] == pytest.approx(epsilon_of([event], 1e-5).epsilon)


class DamagedInside(ManifestCorpus):
    """One user's first file is damaged where only decoding finds it."""

    def waveform(self, index: int) -> Waveform:
        if self.columns["speaker"][index] == BROKEN_SPEAKER:
            raise BadAudio(f"{self.where(index)}: damaged in the middle")
        return super().waveform(index)


def damaged_inside(config: DataConfig, seed: int) -> DamagedInside:
    """Return the manifest's corpus with the damage: a corpus by reference."""
    assert config.manifest is not None
    return DamagedInside(config.manifest, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["user", "example"])
def test_no_file_of_a_user_ends_a_private_run(unit: str, tmp_path: Path) -> None:
    manifest = speech(tmp_path / "speech")
    changes: dict[str, Any] = {"privacy__unit": unit, "privacy__noise_multiplier": 1.5}
    changes["data__corpus"] = f"{HERE}damaged_inside"
    changes |= {"strategy__weighting": "uniform", "client__optimizer": "sgd", "model__alphabet": "latin"}
    run = fedasr.run(small(manifest, **changes, data__on_bad_audio="stop"), out=tmp_path / "run")
    assert run.summary["status"] == "done"
    assert run.rounds["clients_failed"].tolist() == [0]


class FailsAfter(Silent):
    """Something of the experimenter's own breaks after a round."""

    def round(self, row: Any) -> None:
        if row["round"] == 2:
            raise RuntimeError("the disk is full")


@pytest.mark.slow
def test_a_run_that_fails_leaves_its_ledger(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="the disk is full"):
        launch(load(private(rounds=5)), tmp_path / "run", watcher=FailsAfter())
    left = json.loads((tmp_path / "run" / "privacy.json").read_text())
    event = PoissonGaussian(unit="user", noise_multiplier=1.5, sampling_probability=4 / 12, steps=2)
    assert left["epsilon"] == pytest.approx(epsilon_of([event], 1e-5).epsilon)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "failed"
