"""A round whose server was killed: what has left the devices for nothing counts, and again when it leaves again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Error, Message

import fedasr
from fedasr.config import load
from fedasr.data.fleet import Fleet
from fedasr.errors import RunFailed
from fedasr.flower.records import values_of
from fedasr.privacy.ledger import Ledger
from fedasr.runtime.edge_grid import EdgeGrid
from fedasr.runtime.launch import open_run
from fedasr.runtime.run_folder import RunFolder
from fedasr.strategies.server_app import run_strategy

from .edge_devices import SuperLink, Town

NOISE_OF_DEVICES = {
    "privacy__unit": "user",
    "privacy__noise_at": "device",
    "privacy__noise_multiplier": 1.0,
    "privacy__secret_noise": True,
    "strategy__weighting": "uniform",
}


class Killed(SuperLink):
    """The server is killed when all edge devices have trained in round 2."""

    def replies(self, messages: list[Message], *more: Any, **others: Any) -> Iterator[Message]:
        result = list(super().replies(messages, *more, **others))
        if any(m.metadata.message_type == "train" and values_of(m, "config")["round"] == 2 for m in messages):
            raise KeyboardInterrupt
        yield from result


class AllLost(SuperLink):
    """The connection to every edge device is lost in round 2."""

    def replies(self, messages: list[Message], *more: Any, **others: Any) -> Iterator[Message]:
        if any(m.metadata.message_type == "train" and values_of(m, "config")["round"] == 2 for m in messages):
            yield from (Message(Error(1, "the connection was lost"), reply_to=message) for message in messages)
        else:
            yield from super().replies(messages, *more, **others)


class LastLost(SuperLink):
    """The edge devices train in the last round, but no answer of theirs arrives in time."""

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return super().pull_messages([name for name in message_ids if name in self.messages])

    def replies(self, messages: list[Message], *more: Any, **others: Any) -> Iterator[Message]:
        result = list(super().replies(messages, *more, **others))
        last = any(m.metadata.message_type == "train" and values_of(m, "config")["round"] == 2 for m in messages)
        yield from [] if last else result


def run(town: Town, out: Path, grid: SuperLink, resume: bool) -> dict[str, Any]:
    """Run the edge devices and return what is said of privacy."""
    config = load(town.config(town.server, runtime__name="deployment", **NOISE_OF_DEVICES))
    fleet = Fleet.unasked(list(town.folders))
    experiment = open_run(config, out, resume, fleet)
    assert experiment is not None
    run_strategy(EdgeGrid(grid, fleet.names, 5.0), experiment, RunFolder(out), resume)
    result: dict[str, Any] = json.loads((out / "privacy.json").read_text())
    return result


@pytest.mark.slow
def test_a_turn_that_was_lost_with_the_server_is_a_turn(tmp_path: Path) -> None:
    town = Town(tmp_path / "town")
    whole = run(town, tmp_path / "whole", SuperLink(town.folders), resume=False)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(town, tmp_path / "out", Killed(town.folders), resume=(tmp_path / "out").exists())
    resumed = run(town, tmp_path / "out", SuperLink(town.folders), resume=True)
    assert whole["most_turns"] == 2
    assert resumed["most_turns"] == 4


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, NOISE_OF_DEVICES])
def test_a_round_in_which_no_edge_device_answers_is_lost_where_the_config_says_so(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    town = Town(tmp_path / "town")
    with pytest.raises(RunFailed, match=r"round 2: 3 of 3 clients failed \(strategy.max_failed_share is 0\.9\)"):
        town.run(tmp_path / "ended", grid=AllLost(town.folders), rounds=3, strategy__max_failed_share=0.9, **changes)
    share = {"strategy__max_failed_share": 1.0}
    result = fedasr.load_run(town.run(tmp_path / "out", grid=AllLost(town.folders), rounds=3, **share, **changes))
    assert result.summary["status"] == "done"
    assert result.rounds["clients_replied"].tolist() == [3, 0, 3]
    assert result.clients[result.clients["round"] == 2]["reason"].notna().all()


@pytest.mark.slow
def test_an_answer_after_the_last_round_is_charged_by_both(tmp_path: Path) -> None:
    """The edge device has paid, and the server never hears of it: its ledger supposes so."""
    town = Town(tmp_path / "town")
    changes = {"privacy__unit": "example", "privacy__noise_multiplier": 1.0, "client__optimizer": "sgd"}
    changes["privacy__secret_noise"] = True
    out = town.run(tmp_path / "out", grid=LastLost(town.folders), strategy__max_failed_share=1.0, **changes)
    told = json.loads((out / "privacy.json").read_text())
    spent = []
    for folder in town.folders.values():
        ledger = Ledger("rdp")
        ledger.load_state_dict(json.loads((folder / "account.json").read_text())["ledger"])
        spent.append(ledger.epsilon(1e-5, "example", "server"))
        assert max(entry.last_round for entry in ledger.entries) == 2
    assert told["epsilon"] == pytest.approx(max(spent))
    assert told["clients"]["epsilon"]["least"] == pytest.approx(min(spent))
