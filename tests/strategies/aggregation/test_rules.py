"""Aggregates that would not be what the other keys say of them are refused in a line."""

from __future__ import annotations

import pytest

from fedasr.config import Config, override
from fedasr.config.schema import StrategyConfig
from fedasr.errors import InputError
from fedasr.strategies.aggregation.server_optimizers import OPTIMIZERS

UNIFORM = {"strategy.weighting": "uniform"}
USERS = {**UNIFORM, "privacy.unit": "user", "privacy.noise_multiplier": 1.0, "model.alphabet": "latin"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"strategy.aggregation": "medain"}, r"did you mean 'median'\?"),
        ({"strategy.aggregation": "median"}, "counts every client once, but 'strategy.weighting' is 'examples'"),
        (
            {**UNIFORM, "strategy.aggregation": "trimmed-mean", "selection.replacement": True},
            "counts every client once, but 'selection.replacement' is true",
        ),
        ({"strategy.trim_share": 0.1}, "'strategy.trim_share' is set but 'strategy.aggregation' is 'mean'"),
        (
            {**UNIFORM, "strategy.aggregation": "trimmed-mean", "strategy.trim_share": 0.5},
            "'strategy.trim_share' is 0.5; expected at most 0.49",
        ),
        ({"strategy.norm_bound": 1.0}, "'strategy.norm_bound' is set but 'strategy.aggregation' is 'mean'"),
        ({"strategy.aggregation": "norm-bound"}, "'strategy.norm_bound' is not set; take 'update_norm'"),
        ({**USERS, "strategy.aggregation": "median"}, "'privacy.unit' is 'user' with noise on the server"),
        (
            {**USERS, "strategy.aggregation": "norm-bound", "strategy.norm_bound": 1.0},
            "clipped to 'privacy.clip_norm' and for nothing else; set strategy.aggregation=mean",
        ),
        ({**UNIFORM, "strategy.aggregation": "median", "strategy.name": "pate"}, "whose server gets no updates"),
    ],
)
def test_refused(changes: dict[str, object], why: str) -> None:
    with pytest.raises(InputError, match=why):
        override(Config(), changes)


@pytest.mark.thorough
@pytest.mark.parametrize("name", sorted(set(OPTIMIZERS) - {"scaffold"}))  # which takes the mean alone, or refuses
@pytest.mark.parametrize(
    "changes",
    [
        {**UNIFORM, "strategy.aggregation": "median"},
        {**UNIFORM, "strategy.aggregation": "trimmed-mean", "strategy.trim_share": 0.3},
        {"strategy.aggregation": "norm-bound", "strategy.norm_bound": 2.0},
    ],
    ids=["median", "trimmed mean", "norm bound"],
)
def test_every_server_optimiser_takes_every_aggregate(name: str, changes: dict[str, object]) -> None:
    result: StrategyConfig = override(Config(), {**changes, "strategy.name": name, "client.proximal": 0.1}).strategy
    assert result.aggregation == changes["strategy.aggregation"]


@pytest.mark.parametrize("privacy", [{"privacy.unit": "example"}, {**USERS, "privacy.noise_at": "device"}])
def test_what_devices_protect_themselves_may_be_aggregated_in_any_way(privacy: dict[str, object]) -> None:
    changes = {**USERS, **privacy, "strategy.aggregation": "median"}
    assert override(Config(), changes).strategy.aggregation == "median"
