"""What a run sends and takes is known before it runs: by the same code, to the byte and the second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import fedasr
from fedasr.config import load
from fedasr.errors import InputError
from fedasr.runtime.cost import Means, cost

from . import test_secure_runs as secure
from .test_compressed_runs import config, run
from .tiny import fedasr as command
from .tiny import tiny

COLUMNS = ["round", "clients_selected", "clients_replied", "bytes_up", "bytes_down"]
CLOCK = {"clock": True, "dropout": 0.2, "over_commit": 1.3, "jitter": 0.4}


def columns_of(table: list[dict[str, Any]], columns: list[str] = COLUMNS) -> list[dict[str, Any]]:
    """Return some columns of a planned table."""
    return [{name: row[name] for name in columns} for row in table]


def planned(settings: dict[str, Any], columns: list[str] = COLUMNS) -> list[dict[str, Any]]:
    """Return what a config would send, a row a round."""
    return columns_of(cost(load(settings))["table"], columns)


def sent(found: fedasr.Run, columns: list[str] = COLUMNS) -> list[dict[str, Any]]:
    """Return what a run has sent."""
    rows: list[dict[str, Any]] = found.rounds[columns].to_dict("records")
    return rows


def test_single_precision_and_simulated_seconds(tmp_path: Path) -> None:
    """With a virtual clock, late clients and drop-outs."""
    settings = config(devices=CLOCK)
    columns = [*COLUMNS, "simulated_seconds"]
    rows = planned(settings, columns)
    assert rows == sent(run(settings, tmp_path / "run"), columns)
    assert any(row["clients_replied"] < row["clients_selected"] for row in rows)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "more",
    [
        {"client": {"labels": "self"}, "self_labels": {"teacher": "frozen"}},
        {"strategy": {"fairness": "q"}},
    ],
    ids=["a teacher that is sent", "questions for losses"],
)
def test_what_is_sent_beside_the_model(more: dict[str, Any], tmp_path: Path) -> None:
    settings = {**config(), "rounds": 1}
    settings |= {name: settings.get(name, {}) | section for name, section in more.items()}
    assert planned(settings) == sent(run(settings, tmp_path / "run"))


@pytest.mark.thorough
@pytest.mark.parametrize(
    "compression",
    [{"up": "eden"}, {"up": "sign"}, {"up": "int8", "up_options": {"coding": "none"}}],
    ids=lambda section: section["up"],
)
def test_codecs_whose_messages_have_one_size(compression: dict[str, Any], tmp_path: Path) -> None:
    settings = {**config(compression), "rounds": 1}
    result = cost(load(settings))
    assert columns_of(result["table"]) == sent(run(settings, tmp_path / "run"))
    assert not result["bytes"]["estimated"]


@pytest.mark.thorough
def test_an_entropy_coded_codec_is_estimated_and_says_so(tmp_path: Path) -> None:
    settings = {**config({"up": "int8"}), "rounds": 1}
    (real,) = sent(run(settings, tmp_path / "run"))
    result = cost(load(settings))
    (row,) = result["table"]
    assert row["bytes_down"] == real["bytes_down"]
    # Most entries of a real update are small, and compress; normal ones hardly do.
    assert real["bytes_up"] <= row["bytes_up"] < result["parameters"] * 1.1 * row["clients_replied"]
    assert result["bytes"]["estimated"]


def test_secure_aggregation(tmp_path: Path) -> None:
    """Of the protocol and of its simulation, which send the same."""
    settings = secure.config("protocol", rounds=1)
    result = run(settings, tmp_path / "run")
    plan = cost(load(settings))
    assert columns_of(plan["table"]) == sent(result)
    assert planned(secure.config("simulate", rounds=1)) == sent(result)
    each = plan["bytes"]
    assert each["client_up"] * secure.COHORT == result.summary["bytes_up"]
    assert each["client_down"] * secure.COHORT == result.summary["bytes_down"]


@pytest.mark.thorough
def test_drop_outs_of_secure_aggregation_have_sent_their_shares(tmp_path: Path) -> None:
    devices = {"clock": True, "dropout": 0.3}
    settings = secure.config("simulate", {"threshold": 3, "least_clients": 2}, rounds=2, devices=devices, seed=3)
    rows = planned(settings)
    assert rows == sent(run(settings, tmp_path / "run"))
    assert any(row["clients_replied"] < row["clients_selected"] for row in rows)


@pytest.mark.slow
def test_questions_of_a_selector_and_ledgers_of_devices_are_counted(tmp_path: Path) -> None:
    model = {"encoder": "lstm", "channels": [8, 8], "hidden": 8, "alphabet": "latin"}
    asking = tiny(rounds=2, model=model, selection={"name": "power-of-choice", "clients_per_round": 3})
    assert planned(asking) == sent(run(asking, tmp_path / "asking"))
    private = tiny(rounds=1, model=model, privacy={"unit": "example", "noise_multiplier": 1.0})
    (row,) = planned(private)
    (real,) = sent(run(private, tmp_path / "private"))
    assert row["bytes_down"] == real["bytes_down"]
    assert row["bytes_up"] == pytest.approx(real["bytes_up"], rel=0.01)  # a ledger is text
    assert cost(load(private))["bytes"]["estimated"]


def test_a_fleet_fills_the_link_of_a_single_server_and_workers_share_it() -> None:
    settings = config({"up": "eden"})
    result = cost(load(settings), Means(devices=1000, server_mbps=100.0, price_per_gb=2.0))
    assert result["clients"] == 1000
    server, sent = result["server"], result["bytes"]
    at, seconds = server["fills_up_at"], server["round_seconds"]
    busier = max(sent["client_up"], sent["client_down"])
    assert (at - 1) * busier * 8e-6 / 100 < seconds <= at * busier * 8e-6 / 100
    for row in server["cohorts"]:
        busy = row["clients_per_round"] * busier * 8e-6 / 100
        assert row["seconds_one_server"] == max(busy, seconds)
        assert (row["workers"] == 1) == (row["clients_per_round"] < at)
        assert busy / row["workers"] <= seconds
        assert row["workers"] <= server["sums_a_server_takes_in"] ** max(1, row["levels"])
    assert result["money"]["total"] == pytest.approx(2e-9 * (sent["up"] + sent["down"]))


@pytest.mark.thorough
def test_single_updates_and_bits_end_what_a_fleet_can_be() -> None:
    strategy = {"name": "fedavg", "weighting": "uniform", "aggregation": "median"}
    alone = cost(load({**config(strategy=strategy), "rounds": 1}), Means(server_mbps=0.1))["server"]
    assert alone["sums_a_server_takes_in"] is None
    assert {row["workers"] for row in alone["cohorts"]} == {None}
    few = cost(load(secure.config("simulate", {"bits": 8})))["server"]
    assert few["largest_cohort"] == 127
    assert [row["clients_per_round"] for row in few["cohorts"]] == [100]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"strategy": {"name": "central"}, "selection": {}}, "whose messages are not planned"),
        ({"rounds": 0}, "there is nothing to plan"),
        (
            {"compression": {"up": "top-k"}, "strategy": {"aggregation": "median", "weighting": "uniform"}},
            "which would be 0 there",
        ),
    ],
)
def test_what_is_not_planned_is_refused_in_a_line(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        cost(load({**config(), **changes}))


@pytest.mark.slow
def test_the_command_prints_an_object_or_a_table(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(json.dumps(config()), encoding="utf-8")
    done = command("cost", str(file), "compression.up=fp16", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["compression"] == "fp16"
    assert result["bytes"]["client_up"] < 0.55 * result["bytes"]["client_down"]
    done = command("cost", str(file), "--devices", "0")
    assert done.returncode == 2
    assert done.stderr == "error: --devices: is 0; expected a whole number of at least 1\n"
