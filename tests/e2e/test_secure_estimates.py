"""Estimates of the error rate from sums alone: the plain ones, in protocol and simulated, and nothing else leaves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

import fedasr
from fedasr.clients.client_app import app as honest
from fedasr.clients.estimate_sum import asked_groups
from fedasr.config import load
from fedasr.errors import InputError
from fedasr.models.weights import Layout
from fedasr.protocol import Key, Kind, Record
from fedasr.secure.checks import check_secure_aggregation

from .test_compressed_runs import StopAfter, run
from .test_secure_runs import COHORT, config

GONE = {2: (1,), 3: (0, 1, 3)}
"""Round → who is gone when counts are asked for, after secrets were shared."""
ROUNDED = ["wer_estimate", "wer_low", "wer_high", "weight", "panel_low", "panel_high", "expected_wer", "excess"]


class Leaving(ClientApp):
    """The client app, on devices of which some leave."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[set[str]] = []
        """records of the answers to ``query.estimate``"""
        self.kinds: list[type] = []

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer, or fail."""
        kind, round = message.metadata.message_type, int(message.metadata.group_id)
        if kind == Kind.ESTIMATE and int(context.node_config[Key.PARTITION]) in GONE.get(round, ()):
            raise ConnectionError("the device is gone")
        reply = honest(message, context)
        if kind == Kind.ESTIMATE:
            self.told.append(set(reply.content))
            self.kinds.append(type(reply.content[Record.COUNTED]))
        return reply


def estimating(mode: str, **changes: Any) -> dict[str, Any]:
    """Return a config whose devices train on nothing, so that all modes have the same model."""
    secure = {"threshold": 3, "least_clients": 3}
    estimate = {"every": 1, "panel_share": 0.5, "panel_utterances": 2, "words": 9}
    given = {"rounds": 3, "evaluate__estimate": estimate, "evaluate__by": ["gender"], "client__labels": "none"}
    return config(mode, secure, **{**given, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def runs(folder: Path) -> Mapping[str, fedasr.Run]:
    apps = {mode: Leaving() for mode in ("simulate", "protocol")}
    result = {mode: run(estimating(mode), folder / mode, app=app) for mode, app in apps.items()}
    for app in apps.values():
        assert app.told == [{Record.COUNTED}] * (COHORT + 4 + 2)
        assert {kind.__name__ for kind in app.kinds} == {"ArrayRecord"}
    return result


def test_protocol_and_simulation_are_one(runs: Mapping[str, fedasr.Run]) -> None:
    protocol, simulated = runs["protocol"], runs["simulate"]
    pd.testing.assert_frame_equal(protocol.estimates, simulated.estimates, check_exact=True)
    first = [found.rounds.iloc[0] for found in (protocol, simulated)]
    assert first[0]["bytes_up"] == first[1]["bytes_up"] > 0
    assert first[0]["bytes_down"] == first[1]["bytes_down"]


@pytest.mark.thorough
def test_the_estimate_is_the_plain_one_of_who_has_answered(runs: Mapping[str, fedasr.Run], folder: Path) -> None:
    """With one drop-out after secrets were shared too."""
    alone = run(estimating("none"), folder / "none", app=Leaving())
    plain, summed = (found.estimates[found.estimates["round"] < 3] for found in (alone, runs["protocol"]))
    whole = summed[summed["column"] == ""]
    assert (whole["panel_speakers"] + whole["fleet_speakers"]).tolist() == [COHORT, COHORT - 1]
    assert whole["wer_estimate"].notna().all()
    groups = ["round", "column"]
    assert summed.groupby(groups)["fleet_wer"].size().equals(plain.groupby(groups)["fleet_wer"].size())
    exact = [name for name in plain.columns if plain[name].dtype.kind in "iOU" or name == "fleet_wer"]
    pd.testing.assert_frame_equal(summed[exact], plain[exact], check_exact=True)
    np.testing.assert_allclose(summed[ROUNDED].to_numpy(), plain[ROUNDED].to_numpy(), rtol=5e-3, atol=2e-3)


def test_of_too_few_nothing_is_opened_and_the_run_goes_on(runs: Mapping[str, fedasr.Run]) -> None:
    for mode in ("protocol", "simulate"):
        last = runs[mode].estimates.query("round == 3")
        assert last["column"].tolist() == [""]
        assert last[["wer_estimate", "fleet_wer"]].isna().all(axis=None)
        assert last[["panel_speakers", "fleet_speakers", "panel_words"]].eq(0).all(axis=None)
        assert runs[mode].summary["rounds"] == 3


@pytest.mark.thorough
def test_a_run_that_was_broken_off_has_the_same_estimates(runs: Mapping[str, fedasr.Run], folder: Path) -> None:
    run(estimating("protocol"), folder / "broken", app=Leaving(), watcher=StopAfter(1))
    again = run(estimating("protocol"), folder / "broken", app=Leaving(), resume=True)
    pd.testing.assert_frame_equal(again.estimates, runs["protocol"].estimates, check_exact=True)


def test_counts_without_a_limit_are_refused() -> None:
    with pytest.raises(InputError, match=r"set 'evaluate\.estimate\.words' to how many words"):
        load(estimating("simulate", evaluate__estimate={"every": 1}))


@pytest.mark.parametrize(
    ("changes", "clients", "why"),
    [
        (
            {"evaluate__estimate__clients": 2},
            5,
            r"'evaluate\.estimate\.clients' lets 2 devices be asked, .* at least 3",
        ),
        ({}, 9, r"among the 9 devices that 'evaluate\.estimate' asks, 3 shares are to open a secret"),
    ],
)
def test_a_sum_that_could_not_be_opened_or_opens_one_device_is_refused(
    changes: dict[str, Any], clients: int, why: str
) -> None:
    """Where three of nine holders open a secret, both secrets of one device could be opened."""
    settings = load(estimating("protocol", **changes))
    with pytest.raises(InputError, match=why):
        check_secure_aggregation(settings, Layout(("w",), ((2,),), (slice(0, 2),)), clients)


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "7", "[7]", '{"gender": "f"}', '[["gender", "f"]]', '[["gender", "other"], ["accent", "welsh"]]'),
        *(
            '[["gender", "other"], ["gender", "other"]]',
            '[["gender", "other"], ["gender", 7]]',
            '[["gender", "other"], ["gender", ["f"]]]',
            '[[["gender"], "f"]]',
            "[" * 100_000,
        ),
    ],
)
def test_a_device_counts_no_groups_that_the_config_does_not_name(text: str | None) -> None:
    with pytest.raises(InputError, match="is no list of columns"):
        asked_groups(text, ["gender"])


def test_a_group_named_other_is_one_with_all_others() -> None:
    assert asked_groups('[["gender", "f"], ["gender", "other"]]', ["gender"]) == [("gender", "f"), ("gender", "other")]
    assert asked_groups("[]", []) == []
