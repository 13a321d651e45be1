"""The audit of a PATE run's own votes: probabilities of labels by hand, right ledgers, halved noise, and runs."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr

import fedasr
from fedasr.audits.finding import alarmed, finding_from
from fedasr.audits.mechanism.parts import AGGREGATOR, RECORD, part
from fedasr.audits.votes import audit_votes, probabilities, swapped, votes_attack
from fedasr.cli.main import status
from fedasr.config import load, override
from fedasr.errors import InputError
from fedasr.privacy.pate.analysis import ORDERS, VoteMechanism
from tests.e2e.pate.world import pate

TIES = np.tile([6.0, 6.0, 0.0], (30, 1))
CONSENSUS = np.tile([12.0, 0.0, 0.0], (30, 1))


def aggregator(**changes: Any) -> Any:
    config = override(load(pate()), {f"pate.{name}": value for name, value in changes.items()})
    return part(AGGREGATOR)(config, 12, part(RECORD)(3, len(ORDERS)))


def test_probabilities_by_hand() -> None:
    tied, ahead = probabilities(np.array([[5.0, 5.0], [9.0, 5.0]]), VoteMechanism("gnmax", 2.0, None, None))
    assert tied[:2] == pytest.approx([0.5, 0.5])
    assert ahead[0] == pytest.approx(ndtr(4 / (math.sqrt(2) * 2.0)), abs=1e-6)
    (behind,) = probabilities(np.array([[9.0, 5.0]]), VoteMechanism("lnmax", 2.0, None, None))
    assert behind[1] == pytest.approx((2 + 4 / 2) / 4 * math.exp(-4 / 2), abs=1e-4)
    (checked,) = probabilities(np.array([[9.0, 5.0]]), VoteMechanism("confident-gnmax", 2.0, 8.0, 3.0))
    assert checked[2] == pytest.approx(ndtr(-1 / 3), abs=1e-9)
    assert checked.sum() == pytest.approx(1.0)


def test_one_vote_goes_from_the_plurality_to_the_runner_up() -> None:
    assert swapped(np.array([[1.0, 7.0, 3.0]])).tolist() == [[1.0, 6.0, 4.0]]


@pytest.mark.thorough
@pytest.mark.parametrize(
    "changes",
    [
        {"scale": 8.0},
        {"mechanism": "lnmax", "scale": 12.0},
        {"mechanism": "confident-gnmax", "scale": 8.0, "threshold": 6.0, "threshold_scale": 6.0},
    ],
    ids=["gnmax", "lnmax", "confident"],
)
def test_a_right_ledger_is_not_contradicted_and_halved_noise_is(changes: dict[str, Any]) -> None:
    right = aggregator(**changes)
    answered = np.ones(len(TIES), bool)
    scores = votes_attack(right, TIES, answered, 1e-4)
    assert not alarmed(scores, 0.001)
    shown = finding_from(scores, 1e-4, 0.001, 12, "secret")
    assert shown.value <= shown.claim  # type: ignore[operator]
    if right.mechanism.name == "lnmax":
        return  # an exact Laplace sampler is too slow for as many draws as halved noise takes to be found
    assert shown.value > 0  # type: ignore[operator]
    scale, check = right.mechanism.scale / 2, right.mechanism.threshold_scale
    noisy = aggregator(**changes)
    noisy.mechanism = replace(right.mechanism, scale=scale, threshold_scale=check and check / 2)
    drawn = votes_attack(noisy, TIES, answered, 1e-4, trials=2)
    assert alarmed(replace(drawn, claim=scores.claim, named=scores.named), 0.001)


def test_under_consensus_nobodys_vote_is_seen() -> None:
    scores = votes_attack(aggregator(scale=1.0), CONSENSUS, np.ones(len(CONSENSUS), bool), 1e-4)
    assert finding_from(scores, 1e-4, 0.001, 12, "secret").value == 0


def test_what_is_no_pate_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        audit_votes(tmp_path)


@pytest.mark.slow
def test_a_run_and_one_whose_votes_are_not_kept(tmp_path: Path) -> None:
    run = fedasr.run(pate(), out=tmp_path / "run")
    assert status(["audit", "votes", str(run.path)]) == 0
    audit = fedasr.load_run(run.path).audit
    (row,) = audit[audit["command"] == "votes"].to_dict("records")
    assert row["kind"] == "bound"
    assert not row["contradiction"]
    (run.path / "votes.npy").unlink()
    (nothing,) = audit_votes(run.path)
    assert nothing.kind == "not attacked"
