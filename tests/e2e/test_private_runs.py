"""User-level private runs: the ledger is that of what ran, the budget holds, what no accountant covers is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedasr
from fedasr.cli.main import status
from fedasr.config import load
from fedasr.errors import InputError, RunFailed
from fedasr.experiment import Experiment
from fedasr.models.weights import Layout, read_weights
from fedasr.privacy.accountants import epsilon_of
from fedasr.privacy.correlated.factory import make_noise
from fedasr.privacy.events import Gaussian, PoissonGaussian
from fedasr.privacy.randomness import Randomness
from fedasr.runtime.launch import launch
from fedasr.strategies.privacy.user_level import PUBLIC_ACTIVITY, UserLevel
from tests.fedasr.data.speech_files import write

from .small_speech import small, speech
from .test_continual import StopAfter
from .tiny import tiny

PRIVATE: dict[str, Any] = {
    "rounds": 4,
    "selection__name": "poisson",
    "selection__clients_per_round": 4,
    "strategy__name": "fedavg",
    "strategy__weighting": "uniform",
    "privacy__unit": "user",
    "privacy__noise_multiplier": 1.5,
    "privacy__clip_norm": 0.5,
}


def private(**changes: Any) -> dict[str, Any]:
    return tiny(**{**PRIVATE, **changes})


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> fedasr.Run:
    return fedasr.run(private(), out=tmp_path_factory.mktemp("runs") / "private")


def test_the_ledger_says_what_ran(reference: fedasr.Run) -> None:
    event = PoissonGaussian(unit="user", noise_multiplier=1.5, sampling_probability=4 / 12, steps=4)
    expected = epsilon_of([event], 1e-5).epsilon
    assert reference.summary["epsilon"] == pytest.approx(expected)
    assert reference.summary["delta"] == 1e-5
    result = reference.privacy
    assert result is not None
    assert result["epsilon"] == pytest.approx(expected)
    for name, value in {"unit": "user", "adjacency": "add-remove", "sampling": "poisson", "population": 12}.items():
        assert result[name] == value
    assert "Poisson sampling" in (reference.path / "report.html").read_text(encoding="utf-8")
    epsilons = reference.rounds["epsilon"]
    assert epsilons.is_monotonic_increasing
    assert epsilons.iloc[-1] == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize("clipping", ["flat", "per-layer", "per-layer-dim", "adaptive"])
def test_the_same_bits_in_workers(clipping: str, tmp_path: Path) -> None:
    changes = {"privacy__clipping": clipping, "privacy__noise_multiplier": 0.3}
    serial = fedasr.run(private(**changes), out=tmp_path / "serial")
    pool = {"runtime.executor": "pool", "runtime.workers": 3}
    pooled = fedasr.run(private(**changes), out=tmp_path / "pool", overrides=pool)
    assert serial.summary["model_sha256"] == pooled.summary["model_sha256"]


@pytest.mark.slow
@pytest.mark.parametrize("clipping", ["flat", "adaptive"])
def test_a_run_resumed_after_every_round_has_the_ledger_of_an_uninterrupted_one(clipping: str, tmp_path: Path) -> None:
    config = load(private(privacy__clipping=clipping, privacy__noise_multiplier=0.3))
    whole = fedasr.run(config, out=tmp_path / "whole")
    for last in (1, 2, 3, 4):
        launch(config, tmp_path / "parts", resume=True, watcher=StopAfter(last))
    parts = fedasr.load_run(tmp_path / "parts")
    assert parts.summary["status"] == "done"
    assert parts.summary["model_sha256"] == whole.summary["model_sha256"]
    assert parts.privacy == whole.privacy


@pytest.mark.slow
def test_one_round_adds_exactly_the_noise_that_was_asked_for(tmp_path: Path) -> None:
    """What the server saw: the difference of a run with noise and one with next to none, standardised."""
    quiet = fedasr.run(private(rounds=1, privacy__noise_multiplier=1e-3), out=tmp_path / "quiet")
    noisy = fedasr.run(private(rounds=1), out=tmp_path / "noisy")
    assert quiet.clients["client"].tolist() == noisy.clients["client"].tolist()
    before, after = (read_weights(run.path)[0] for run in (quiet, noisy))
    noise = np.concatenate([(after[name] - before[name]).astype(np.float64).reshape(-1) for name in before])
    noise /= 1.5 * 0.5 / 4
    assert noise.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * len(noise)))
    assert abs(noise.mean()) < 4 / np.sqrt(len(noise))


@pytest.mark.slow
def test_a_run_that_reaches_its_budget_ends_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unbounded = fedasr.run(private(rounds=2), out=tmp_path / "two")
    enough_for_two = unbounded.summary["epsilon"] * 1.01
    out = tmp_path / "budget"
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(private(rounds=6, privacy__epsilon=enough_for_two)))
    assert status(["run", str(config), "--out", str(out)]) == 0
    said = capsys.readouterr().err
    assert "the privacy budget" in said
    # No ε is shown without what it depends on.
    shown = [line for line in said.splitlines() if "ε" in line]
    assert len(shown) == 2
    assert all("δ = 1e-05" in line and "user" in line for line in shown)
    assert "Poisson sampling; population 12" in shown[1]
    run = fedasr.load_run(out)
    assert run.summary["status"] == "done"
    assert run.summary["rounds"] == len(run.rounds) == 2
    assert "is spent after 2 rounds" in run.summary["stopped"]
    assert run.summary["epsilon"] <= enough_for_two
    assert status(["run", str(config), "--out", str(out), "--resume"]) == 0
    assert fedasr.load_run(out).summary == run.summary


@pytest.mark.slow
def test_noise_is_found_for_a_budget(tmp_path: Path) -> None:
    run = fedasr.run(private(privacy__noise_multiplier=None, privacy__epsilon=8.0), out=tmp_path / "run")
    assert run.summary["rounds"] == 4
    assert 7.9 < run.summary["epsilon"] <= 8.0
    assert run.config.privacy.noise_multiplier > 0.3


@pytest.mark.slow
def test_epsilon_at_a_stated_population_stands_apart(tmp_path: Path) -> None:
    changes = {"rounds": 1, "privacy__population": 1_000_000, "privacy__cohort": 400}
    run = fedasr.run(private(**changes), out=tmp_path / "run")
    assert run.privacy is not None
    assert run.privacy["population"] == 12
    assert run.privacy["extrapolated"]["population"] == 1_000_000
    assert run.privacy["extrapolated"]["spent"][0]["epsilon"] < run.privacy["epsilon"] / 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"selection__name": "oort"}, "'selection.name' is 'oort', which chooses by the losses of devices"),
        ({"selection__name": "activity"}, "'selection.name' is 'activity', which chooses by how much devices hold"),
        ({"strategy__weighting": "examples"}, "'strategy.weighting' is 'examples'"),
        ({"privacy__noise_multiplier": None}, "set 'privacy.noise_multiplier', or 'privacy.epsilon'"),
        ({"privacy__unit": "none"}, "'privacy.unit' is 'none'"),
        ({"privacy__quantile": 0.9}, "'privacy.clipping' is 'flat'"),
        ({"privacy__cohort": 50}, "'privacy.population' is not"),
    ],
)
def test_what_no_accountant_covers_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        fedasr.run(private(**changes), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "sampling", "adjacency"),
    [
        ({"selection__name": "uniform"}, "fixed-size", "replace-one"),
        ({"selection__name": "round-robin", "selection__separation": 2}, "none", "zero-out"),
        ({"selection__name": "activity", "privacy__public_activity": True}, "none", "zero-out"),
    ],
)
def test_other_selections_are_accounted_for_as_what_they_are(
    changes: dict[str, Any], sampling: str, adjacency: str, reference: fedasr.Run, tmp_path: Path
) -> None:
    run = fedasr.run(private(**changes), out=tmp_path / "run")
    assert run.privacy is not None
    assert (run.privacy["sampling"], run.privacy["adjacency"]) == (sampling, adjacency)
    public = PUBLIC_ACTIVITY in run.privacy.get("holds_if", [])
    assert public == changes.get("privacy__public_activity", False)
    assert run.summary["epsilon"] > reference.summary["epsilon"]


def in_turns(noise: str, **changes: Any) -> dict[str, Any]:
    """Return a run whose twelve devices take turns, four a round, with correlated noise."""
    turns: dict[str, Any] = {"rounds": 7, "selection__name": "round-robin", "selection__separation": 3}
    if noise == "banded":
        turns["privacy__bands"] = 3
    return private(**{**turns, "privacy__noise": noise, **changes})


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["banded", "tree"])
def test_correlated_noise_survives_every_resume(noise: str, tmp_path: Path) -> None:
    config = load(in_turns(noise))
    whole = fedasr.run(config, out=tmp_path / "whole")
    for last in range(1, 8):
        launch(config, tmp_path / "parts", resume=True, watcher=StopAfter(last))
    parts = fedasr.load_run(tmp_path / "parts")
    assert parts.summary["model_sha256"] == whole.summary["model_sha256"]
    assert parts.privacy == whole.privacy


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["banded", "tree"])
def test_correlated_noise_is_charged_for_its_sensitivity(noise: str, tmp_path: Path) -> None:
    run = fedasr.run(in_turns(noise), out=tmp_path / "run")
    mechanism = make_noise(noise, bands=3, separation=3, rounds=7)
    event = Gaussian(
        unit="user", adjacency="zero-out", noise_multiplier=1.5, sensitivity=float(np.sqrt(mechanism.total(7)))
    )
    assert run.summary["epsilon"] == pytest.approx(epsilon_of([event], 1e-5).epsilon)
    assert run.privacy is not None
    assert (run.privacy["sampling"], run.privacy["adjacency"]) == ("none", "zero-out")
    assert mechanism.total(7) >= mechanism.squared_sensitivity(7) > 1


@pytest.mark.slow
def test_the_noise_of_the_rounds_is_that_of_the_mechanism(tmp_path: Path) -> None:
    """With a server that adds up (FedAvg), the models differ by the noise of all rounds so far: exactly its sum."""
    changes = {"rounds": 3, "client__epochs": 0, "evaluate__every": 0}
    run = fedasr.run(in_turns("banded", **changes), out=tmp_path / "run")
    start = Experiment(load(in_turns("banded", **changes))).first_weights()
    end, _ = read_weights(run.path)
    result = np.concatenate([(end[name] - start[name]).reshape(-1) for name in start])
    mechanism = make_noise("banded", bands=3, separation=3, rounds=3)
    draws = [mechanism.draw(t, Randomness.public(0).generator("central-noise", t), len(result)) for t in (1, 2, 3)]
    np.testing.assert_allclose(result, sum(draws) * 1.5 * 0.5 / 4, rtol=0, atol=2e-5)


@pytest.mark.slow
def test_the_noise_of_a_budget_is_found_for_turns_too(tmp_path: Path) -> None:
    run = fedasr.run(in_turns("banded", privacy__noise_multiplier=None, privacy__epsilon=8.0), out=tmp_path / "run")
    assert 7.9 < run.summary["epsilon"] <= 8.0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"selection__name": "poisson"}, "selection.name=round-robin"),
        ({"selection__separation": 0}, "selection.separation"),
        ({"privacy__bands": 4}, "'privacy.bands' is 4"),
        ({"privacy__clipping": "adaptive"}, "flat or per-layer"),
    ],
    ids=["sampled", "no-separation", "too-many-bands", "adaptive"],
)
def test_correlated_noise_needs_its_turns(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        load(in_turns("banded", **changes))


def test_a_turn_too_soon_stops_the_run(tmp_path: Path) -> None:
    """The accountant's assumption is checked where the noise is added, whatever the selection promised."""
    config = load(in_turns("banded"))
    mechanism = UserLevel(config, Layout.of({"w": np.zeros(3, np.float32)}))
    mechanism.check_turns([{"id": 4, "client": "s00004"}], 1)
    mechanism.check_turns([{"id": 4, "client": "s00004"}], 4)
    with pytest.raises(RunFailed, match="took part in round 4"):
        mechanism.check_turns([{"id": 4, "client": "s00004"}], 6)


@pytest.mark.slow
@pytest.mark.parametrize("clipping", ["flat", "per-layer"])
def test_another_user_moves_the_model_by_no_more_than_the_sensitivity(clipping: str, tmp_path: Path) -> None:
    """Five devices train; one of them then has other speech: with next to no noise, the sum moves by 2C at most."""
    changes: dict[str, Any] = {
        "selection__name": "uniform",
        "strategy__weighting": "uniform",
        "client__learning_rate": 0.5,
        "privacy__unit": "user",
        "privacy__noise_multiplier": 1e-6,
        "privacy__clip_norm": 0.05,
        "privacy__clipping": clipping,
    }
    models = []
    for name in ("before", "after"):
        manifest = speech(tmp_path / name)
        if name == "after":
            for number in range(3):
                write(manifest.parent / "s2" / f"{number}.wav", 0.5, seed=1000 + number)
            lines = [f"{line[:9]}s2,oxo,train,f" if line.startswith("s2/") else line for line in lines_of(manifest)]
            manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
        run = fedasr.run(small(manifest, **changes), out=tmp_path / f"run-{name}")
        assert run.rounds["clients_replied"].tolist() == [5]
        models.append(read_weights(run.path)[0])
    moved = np.concatenate([(models[1][name] - models[0][name]).reshape(-1) for name in models[0]])
    assert 0.001 < 5 * np.linalg.norm(moved) <= 2 * 0.05 * (1 + 1e-3)


def lines_of(manifest: Path) -> list[str]:
    """Return the lines of a manifest."""
    return manifest.read_text(encoding="utf-8").splitlines()


@pytest.mark.slow
def test_a_start_that_heard_the_same_people_is_no_public_one(tmp_path: Path) -> None:
    """The account does not cover it, and the guarantee says so."""
    for seed, covered in ((0, False), (1, True)):
        start = fedasr.run(tiny(rounds=0, seed=seed), out=tmp_path / f"start-{seed}")
        run = fedasr.run(private(rounds=1, init_from=str(start.path)), out=tmp_path / f"run-{seed}")
        assert run.privacy is not None
        assert ("trained without privacy on people of this run" not in run.privacy["guarantee"]) == covered


def test_private_transcripts_are_no_phrases_to_choose_from(
    reference: fedasr.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = write(tmp_path / "speech.wav")
    assert status(["transcribe", str(reference.path), str(sound), "--decoder", "vocabulary"]) == 2
    assert "would be the training transcripts, which are private in this run" in capsys.readouterr().err
