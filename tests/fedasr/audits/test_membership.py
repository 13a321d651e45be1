"""Attacks on whole runs: an untrained model tells nothing, shadow models must fit, and what cannot be is said."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("espeakng_loader", reason='needs the espeak-ng wheel: pip install "fedasr[synth]"')

import fedasr
from fedasr.audits.membership import audit_membership
from fedasr.audits.membership.audit import FIGURE, false_rate
from fedasr.audits.membership.floors import without_model
from fedasr.audits.membership.shadows import differing
from fedasr.config import load
from fedasr.errors import InputError
from fedasr.privacy.audit.roc import rates
from tests.e2e.tiny import tiny


def untrained(**changes: Any) -> dict[str, Any]:
    """Return a run of no rounds, whose clients hold half of their speech out and which sets half of them aside."""
    return tiny(
        **{
            "rounds": 0,
            "model": {"encoder": "blstm", "channels": [4, 4], "hidden": 4, "alphabet": "latin"},
            "data__synthetic__seed": 0,
            "data__synthetic__utterances_per_speaker": 4,
            "data__synthetic__activity": "constant",
            "data__public_share": 0.5,
            "evaluate": {"held_out": 0.5, "every": 0, "transcripts": 0},
            **changes,
        }
    )


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the runs of six seeds."""
    out = tmp_path_factory.mktemp("sweep")
    for seed in range(6):
        fedasr.run(untrained(seed=seed), out=out / f"run-seed{seed}")
    return out


def test_a_model_without_a_lesson_has_an_area_of_chance() -> None:
    rng = np.random.default_rng(0)
    speakers = np.repeat(np.arange(40), 10)
    member = np.tile([True, False], 200)
    scores = without_model(rng.standard_normal((400, 7)), member, speakers)
    assert rates(scores, member, speakers).auc.value == pytest.approx(0.5, abs=0.06)
    told = without_model(np.column_stack([member + rng.standard_normal(400), rng.random(400)]), member, speakers)
    assert rates(told, member, speakers).auc.value > 0.7


def test_the_false_positive_rate_that_few_non_members_certify() -> None:
    assert false_rate(0.01, 83) == pytest.approx(0.0354, abs=1e-4)
    assert false_rate(0.01, 100_000) == pytest.approx(0.0105, abs=2e-4)


@pytest.mark.thorough
def test_runs_that_differ_in_their_seed_alone_are_shadows_of_each_other() -> None:
    one = load(untrained())
    assert differing(one, load(untrained(seed=3, name="other", runtime={"executor": "pool"}))) is None
    assert differing(one, load(untrained(rounds=2))) == "rounds"
    assert differing(one, load(untrained(evaluate={"held_out": 0.4, "every": 0}))) == "evaluate.held_out"


@pytest.mark.thorough
@pytest.mark.parametrize("unit", ["utterance", pytest.param("speaker", marks=pytest.mark.slow)])
def test_an_untrained_model_tells_nothing(unit: str, sweep: Path) -> None:
    target = sweep / "run-seed0"
    findings = audit_membership(target, sweep, unit, pool=True)
    result = {(each.attack, each.quantity): each for each in findings}
    assert {name.split(",")[0] for name, _ in result} == {
        "loss", "LiRA", "RMIA", "loss of the initial model", "no model"
    }  # fmt: skip
    for name in ("loss", "LiRA", "RMIA"):
        area = result[f"{name}, membership of {unit}s", "AUC"]
        assert area.value == pytest.approx(0.5, abs=0.25)
        assert area.low is not None
        assert area.low < 0.5
        assert area.claim is None
        assert "no ceiling: the run has no ledger" in area.sentence
        assert set(area.floors) == {"random", "loss of the initial model", "no model"}
        few = result[f"{name}, membership of {unit}s", "TPR at 0.1 % FPR"]
        assert "certify no false-positive rate below" in few.sentence
        assert few.inside == pytest.approx(few.outside, abs=12)
    assert (target / FIGURE).stat().st_size > 5000


@pytest.mark.thorough
def test_without_shadow_models_two_attacks_are_not_made(sweep: Path) -> None:
    from fedasr.cli.main import status

    assert status(["audit", "membership", str(sweep / "run-seed1")]) == 0
    written = json.loads((sweep / "run-seed1" / "audit.json").read_text())
    kinds = {each["attack"].split(",")[0]: each["kind"] for each in written}
    assert (kinds["loss"], kinds["LiRA"], kinds["RMIA"]) == ("estimate", "not attacked", "not attacked")
    final, initial = (
        next(each["value"] for each in written if each["attack"].startswith(name) and each["quantity"] == "AUC")
        for name in ("loss, ", "loss of the initial model, ")
    )
    assert math.isclose(final, initial), "no round: the final model is the initial one"
    assert "data:image/png" in (sweep / "run-seed1" / "report.html").read_text()
    assert len(fedasr.load_run(sweep / "run-seed1").audit) == len(written)


@pytest.mark.slow
def test_too_few_shadow_models_and_other_speech_are_refused(sweep: Path, tmp_path: Path) -> None:
    own = {"data__synthetic__seed": None}
    target = fedasr.run(untrained(seed=7, **own), out=tmp_path / "runs" / "a")
    other = fedasr.run(untrained(seed=8, **own), out=tmp_path / "runs" / "b")
    with pytest.raises(InputError, match=r"has other speech than .*set data.synthetic.seed"):
        audit_membership(target.path, tmp_path / "runs")
    with pytest.raises(InputError, match=r"expected at least 4 shadow models.*differs in 'data.synthetic.seed'"):
        audit_membership(other.path, sweep)
    with pytest.raises(InputError, match="no such folder"):
        audit_membership(target.path, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"unit": "word"}, "--unit: is 'word'"),
        ({"limit": 1}, "--limit: is 1"),
        ({"pool": True}, "--pool: needs the runs of a sweep"),
        ({}, "the run is running"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(arguments: dict[str, Any], words: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(json.dumps(untrained()))
    (tmp_path / "summary.json").write_text(json.dumps({"status": "running"}))
    with pytest.raises(InputError) as caught:
        audit_membership(tmp_path, **arguments)
    assert words in str(caught.value)
