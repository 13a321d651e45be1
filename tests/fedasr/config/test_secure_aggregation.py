"""What secure aggregation refuses, a line each that says why."""

from __future__ import annotations

from typing import Any

import pytest

from fedasr.config import load
from fedasr.errors import InputError
from fedasr.models.weights import Layout
from fedasr.secure.checks import check_secure_aggregation

SHARES = {"privacy.unit": "user", "privacy.noise_at": "shares", "privacy.noise_multiplier": 1.0}
UNIFORM = {"strategy.weighting": "uniform"}
VOTES = {"strategy.name": "pate", "pate.noise_at": "teachers"}
THRESHOLD = {"pate.threshold": 5.0, "pate.threshold_scale": 2.0}


def config(mode: str) -> dict[str, Any]:
    return {"data": {"corpus": "synthetic"}, "model": {"alphabet": "latin"}, "secure_aggregation": {"mode": mode}}


def loaded(changes: dict[str, Any], mode: str = "simulate") -> Any:
    return load(config(mode), [f"{key}={value}" for key, value in changes.items()])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"strategy.aggregation": "median", **UNIFORM}, "'median', which needs single updates"),
        ({"strategy.aggregation": "norm-bound", "strategy.norm_bound": 1}, "'norm-bound', which needs single updates"),
        ({"compression.up": "int8"}, "masked numbers look random, and sums of encoded updates decode to nothing"),
        ({"compression.up": "top-k"}, "masked numbers look random"),
        ({"selection.name": "oort"}, "chooses by the losses of single clients"),
        ({"selection.name": "power-of-choice"}, "chooses by the losses of single clients"),
        ({"evaluate.client_side": 1}, "clients would have to tell their error rates"),
        ({"strategy.weighting": "inverse-probability"}, "whose weights only the server knows"),
        ({"privacy.unit": "user", "privacy.noise_multiplier": 1, **UNIFORM}, "clips single updates"),
        ({**SHARES}, "a user's weight would multiply the noise"),
        ({**SHARES, **UNIFORM, "privacy.clipping": "adaptive"}, "'privacy.noise_at' is 'shares'; choose flat"),
        ({**SHARES, **UNIFORM, "secure_aggregation.clip": 0.5}, "'secure_aggregation.clip' is set but"),
        ({"strategy.name": "pate"}, "whose server would learn the exact counts of votes: set pate.noise_at=teachers"),
        (VOTES, "among so many teachers the noise is split, and a sum of fewer votes is not opened"),
        ({**VOTES, "pate.mechanism": "confident-gnmax", **THRESHOLD}, "whose check needs the exact counts"),
        ({**VOTES, "pate.budget": "data-dependent"}, "would have to know the exact counts"),
        ({**VOTES, "pate.votes_from": "runs/votes"}, "recorded votes need server"),
        ({"strategy.name": "pate", "pate.votes_from": "runs/votes"}, "is set: nobody votes"),
        ({**VOTES, "secure_aggregation.least_clients": 8, "secure_aggregation.clip": 0.5}, "which does not read it"),
        ({"strategy.name": "central"}, "whose clients send no updates"),
        ({"client_app": "mine:app"}, "whose updates nobody would mask"),
        ({"selection.clients_per_round": 1}, "the sum of one update is that update"),
        ({"secure_aggregation.threshold": 5}, "10 clients hold a share of a secret; expected 6 to 10"),
        ({"secure_aggregation.threshold": 11}, "expected 6 to 10"),
        ({"secure_aggregation.neighbours": 3, "secure_aggregation.threshold": 6}, "5 clients hold a share of a secret"),
        ({"secure_aggregation.least_clients": 11}, "no sum would ever be opened"),
    ],
)
def test_what_needs_more_than_a_sum_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError) as refused:
        loaded(changes)
    assert why in str(refused.value)


def test_shares_of_noise_without_secure_aggregation_are_refused() -> None:
    with pytest.raises(InputError, match="whose server would see each update with a share of the noise alone"):
        loaded({**SHARES, **UNIFORM}, mode="none")


@pytest.mark.parametrize(
    "changes",
    [
        {"strategy.weighting": "seconds"},
        {"selection.name": "activity"},
        {"attack.name": "sign-flip", "attack.share": 0.2},
        {"strategy.name": "bmuf"},
        {**SHARES, **UNIFORM},
        {"privacy.unit": "user", "privacy.noise_at": "device", "privacy.noise_multiplier": 1, **UNIFORM},
        {"privacy.unit": "example", "privacy.noise_multiplier": 1},
        {"secure_aggregation.threshold": 6},
        {**VOTES, "secure_aggregation.least_clients": 8},
        {**VOTES, "secure_aggregation.least_clients": 80, "pate.mechanism": "soft-laplace", "pate.unit": "token"},
    ],
)
@pytest.mark.parametrize("mode", ["simulate", "protocol"])
def test_what_needs_a_sum_alone_is_not(changes: dict[str, Any], mode: str) -> None:
    assert loaded(changes, mode).secure_aggregation.mode == mode


def test_a_key_that_nothing_reads_is_refused() -> None:
    with pytest.raises(InputError, match="is set but 'secure_aggregation"):
        loaded({"secure_aggregation.bits": 20}, mode="none")


@pytest.mark.thorough
def test_numbers_that_fit_no_cohort_are_refused_when_the_cohort_is_known() -> None:
    layout = Layout(("w",), ((5,),), (slice(0, 5),))
    few = loaded({"secure_aggregation.bits": 8, "selection.clients_per_round": 300})
    with pytest.raises(InputError, match="is 8, which cannot hold a sum of 300 clients"):
        check_secure_aggregation(few, layout, 300)
    with pytest.raises(InputError, match="there are 6 clients, but a sum has at least 7 updates"):
        check_secure_aggregation(loaded({}), layout, 6)
    check_secure_aggregation(loaded({}), layout, 7)
    shares = loaded({**SHARES, **UNIFORM, "secure_aggregation.bits": 8, "selection.clients_per_round": 5000})
    with pytest.raises(InputError, match="is 8, which cannot hold a sum of 5000 clients with their noise"):
        check_secure_aggregation(shares, layout, 5000)
