"""Teachers of whose votes the server sees sums alone: protocol and simulation are one, drop-outs included."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

import fedasr
from fedasr.clients.client_app import app as honest
from fedasr.config import load
from fedasr.errors import InputError, RunFailed
from fedasr.flower.records import arrays_of
from fedasr.models.weights import Layout
from fedasr.privacy.ledger import Ledger
from fedasr.protocol import Key, Kind, Name, Record
from fedasr.results.pages.privacy_card import card_of
from fedasr.secure.checks import check_secure_aggregation
from fedasr.secure.votes import VoteCoder

from ..test_compressed_runs import Shuffled, run
from .world import CHANGES, StopAt, pate, queries

TEACHERS, LEAST = 6, 4
ROUNDS = (1, 9, 17)
"""Of the sums of 20 questions, eight a message."""


class Leaving(ClientApp):
    """The client app, on devices of which some are gone when they are asked for votes, after secrets were shared.

    Args:
        gone: round → clients.
        killed: round in which the process dies when shares are to be opened.
    """

    def __init__(self, gone: Mapping[int, tuple[int, ...]] | None = None, killed: int | None = None) -> None:
        super().__init__()
        self.gone, self.killed = gone or {}, killed
        self.sent: dict[tuple[int, int], npt.NDArray[Any]] = {}
        """round and client → what has left it as its votes"""
        self.names: set[str] = set()
        """of the arrays that have"""

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer, or fail."""
        client, kind = int(context.node_config[Key.PARTITION]), message.metadata.message_type
        round = int(message.metadata.group_id)
        if kind == Kind.UNMASK and round == self.killed:
            raise KeyboardInterrupt
        if kind == Kind.VOTE and client in self.gone.get(round, ()):
            raise ConnectionError("the device is gone")
        reply = honest(message, context)
        if kind == Kind.VOTE:
            assert set(reply.content) == {Record.VOTES}
            [(name, array)] = arrays_of(reply, Record.VOTES).items()
            self.names.add(name)
            self.sent[round, client] = array.copy()
        return reply


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def config(folder: Path, mode: str, mechanism: str = "gnmax", **changes: Any) -> dict[str, Any]:
    """Return a config of six teachers, which all runs share, without rounds of a student."""
    settings = {"mechanism": mechanism, "scale": 0.5, "noise_at": "teachers", "store": str(folder / "teachers")}
    given = {"rounds": 0, "data__synthetic__speakers": TEACHERS, "pate": {**CHANGES["pate"], **settings}, **changes}
    result = pate(**given)
    secure = {"mode": mode, "threshold": 4, "least_clients": LEAST}
    return {**result, "secure_aggregation": secure} if mode != "none" else result


DROPPED = {9: (1,), 17: (0, 3)}
"""Nobody, one, and as many as the threshold and the least number of votes allow."""


@pytest.fixture(scope="module")
def devices() -> Mapping[str, Leaving]:
    """The devices of ``pair``, by mode."""
    return {mode: Leaving(DROPPED) for mode in ("protocol", "simulate")}


@pytest.fixture(scope="module")
def pair(devices: Mapping[str, Leaving], folder: Path) -> tuple[fedasr.Run, fedasr.Run]:
    return tuple(  # type: ignore[return-value]
        run(config(folder, mode, "soft-gaussian"), folder / f"soft {mode}", app=app) for mode, app in devices.items()
    )


@pytest.fixture(scope="module")
def whole(folder: Path) -> fedasr.Run:
    return run(config(folder, "protocol"), folder / "whole")


def test_the_sums_of_the_protocol_are_those_of_the_simulation(pair: tuple[fedasr.Run, fedasr.Run]) -> None:
    """Bit for bit, with none, one and the largest number of drop-outs."""
    protocol, simulated = pair
    sums = [np.load(found.path / "posteriors.npy") for found in pair]
    assert sums[0].shape == (20, 3)
    assert (sums[0] == sums[1]).all()
    pd.testing.assert_frame_equal(queries(protocol), queries(simulated))
    assert queries(protocol)["answered"].all()
    # Every row is the posteriors of whoever has answered, with noise.
    for first, answered in ((0, 6), (8, 5), (16, 4)):
        assert sums[0][first : first + 8].sum(axis=1).mean() == pytest.approx(answered, abs=1.2)


def test_each_teachers_bytes_are_in_a_table_and_the_same_in_both(pair: tuple[fedasr.Run, fedasr.Run]) -> None:
    protocol, simulated = (found.ballots for found in pair)
    assert protocol["query"].tolist() == [first for first in (0, 8, 16) for _ in range(TEACHERS)]
    assert protocol["queries"].tolist() == [8] * 12 + [4] * 6
    assert protocol.groupby("query")["counted"].sum().tolist() == [6, 5, 4]
    pd.testing.assert_frame_equal(protocol.drop(columns="bytes_down"), simulated.drop(columns="bytes_down"))
    more = protocol["bytes_down"] - simulated["bytes_down"]
    assert set(more) <= {0, 4}, "who is not in the sum has a key of four letters in a message of the protocol"
    assert protocol["bytes_up"].sum() + pair[0].clients["bytes_up"].sum() == pair[0].summary["bytes_up"]
    assert protocol[protocol["counted"]]["bytes_up"].min() > 8 * 3 * 2
    gone = protocol[~protocol["counted"]]["bytes_up"]
    assert (gone > 0).all(), "they had advertised keys and shared secrets"


def test_the_ledger_says_what_the_server_sees_and_counts_the_least_shares(whole: fedasr.Run, folder: Path) -> None:
    document = whole.privacy
    assert document is not None
    assert ", against the server; no sampling assumed" in document["guarantee"]
    assert (
        "the server sees the sum of the votes of at least 4 teachers, each with a share of the noise, and no single"
        " vote, by secure aggregation; of 4 shares all are counted on" in document["guarantee"]
    )
    assert (document["server_sees"], document["least_shares"], document["seen_by"]) == ("sum", LEAST, "server")
    [entry] = document["ledger"]["entries"]
    assert "gnmax of sums with 4 shares of Skellam noise" in entry["mechanism"]
    assert entry["event"]["steps"] == whole.summary["queries"] == 20
    assert document["epsilon"] == whole.summary["epsilon"] == whole.summary["epsilon_data_independent"]
    ledger = Ledger()
    ledger.load_state_dict(document["ledger"])
    [card] = card_of(ledger, 1e-4, {})["guarantees"]
    assert "secure aggregation shows the server the sum alone" in card["setting"]
    assert "the noisy sum of the votes on every question" in card["accesses_covered"]
    coder = VoteCoder.of(load(config(folder, "protocol")), TEACHERS)
    assert entry["event"]["rdp"] == pytest.approx(20 * coder.rdp())
    assert not (whole.path / "votes.npy").exists()


@pytest.mark.thorough
def test_without_much_noise_the_plurality_wins(folder: Path) -> None:
    faint = {**CHANGES["pate"], "scale": 0.01, "store": str(folder / "teachers")}
    plain = run(config(folder, "none", pate=faint), folder / "plain")
    secure = config(folder, "simulate", pate={**faint, "noise_at": "teachers"})
    summed = run({**secure, "secure_aggregation": {**secure["secure_aggregation"], "bits": 24}}, folder / "faint")
    votes = np.sort(np.load(plain.path / "votes.npy"), axis=1)
    clear = votes[:, -1] > votes[:, -2]
    assert clear.sum() > 5
    assert queries(summed)["label"][clear].tolist() == queries(plain)["label"][clear].tolist()


def test_of_too_few_nothing_is_opened_and_all_is_paid_for(whole: fedasr.Run, folder: Path) -> None:
    """One fewer than the least number: no label, the full price, and the run goes on."""
    tables = []
    for mode in ("protocol", "simulate"):
        found = run(config(folder, mode), folder / f"few {mode}", app=Leaving({9: (0, 1, 3)}))
        table, before = queries(found), queries(whole)
        assert table["answered"].tolist() == [True] * 8 + [False] * 8 + [True] * 4
        asked = [*range(8), *range(16, 20)]
        assert table["label"][asked].tolist() == before["label"][asked].tolist()
        assert (found.summary["queries"], found.summary["labels"]) == (20, 12)
        assert found.summary["epsilon"] == whole.summary["epsilon"]
        assert found.ballots.groupby("query")["counted"].sum().tolist() == [6, 0, 6]
        tables.append(found.ballots)
    pd.testing.assert_frame_equal(*tables)


@pytest.mark.parametrize("mode", ["none", "protocol"])
def test_too_many_that_fail_end_the_run_and_what_was_asked_is_paid_for(mode: str, folder: Path) -> None:
    """With noise at the teachers; the server has the noisy votes of the others."""
    gone = {9 if mode == "protocol" else 0: (0, 1, 2, 3)}
    with pytest.raises(RunFailed, match="4 of 6 teachers failed"):
        run(config(folder, mode), folder / f"many {mode}", app=Leaving(gone))
    document = fedasr.load_run(folder / f"many {mode}").privacy
    assert document is not None
    assert document["ledger"]["entries"][0]["event"]["steps"] == (16 if mode == "protocol" else 8)


@pytest.mark.thorough
def test_workers_and_any_order_of_replies_give_the_same_labels(whole: fedasr.Run, folder: Path) -> None:
    for name, how in (("workers", {"workers": 2}), ("shuffled", {"grid": Shuffled})):
        again = run(config(folder, "protocol"), folder / name, **how)  # type: ignore[arg-type]
        pd.testing.assert_frame_equal(queries(again), queries(whole))
        assert again.privacy == whole.privacy
        pd.testing.assert_frame_equal(again.ballots, whole.ballots)


@pytest.mark.thorough
def test_a_run_that_was_stopped_or_killed_has_the_same_labels(whole: fedasr.Run, folder: Path) -> None:
    """Between two messages, and while shares were opened; with new keys and masks, and the noise of the seed."""
    run(config(folder, "protocol"), folder / "stopped", watcher=StopAt("votes: 8"))
    with pytest.raises(KeyboardInterrupt):
        run(config(folder, "protocol"), folder / "killed", app=(killed := Leaving(killed=9)))
    for name in ("stopped", "killed"):
        resumed = Leaving()
        again = run(config(folder, "protocol"), folder / name, app=resumed, resume=True)
        pd.testing.assert_frame_equal(queries(again), queries(whole))
        assert again.privacy == whole.privacy
        pd.testing.assert_frame_equal(again.ballots, whole.ballots)
    for client in range(TEACHERS):  # what was sent before is masked anew
        assert (killed.sent[9, client] == resumed.sent[9, client]).mean() < 0.2


@pytest.mark.thorough
def test_a_killed_run_with_secret_noise_pays_for_what_it_was_asking(folder: Path) -> None:
    secret = {"privacy": {"unit": "teacher", "delta": 1e-4, "secret_noise": True}}
    with pytest.raises(KeyboardInterrupt):
        run(config(folder, "protocol", **secret), folder / "secret", app=Leaving(killed=9))
    document = fedasr.load_run(folder / "secret").privacy
    assert document is not None
    assert document["ledger"]["entries"][0]["event"]["steps"] == 16
    again = run(config(folder, "protocol", **secret), folder / "secret", resume=True)
    assert again.summary["queries"] == again.summary["labels"] == 20
    assert again.privacy is not None
    [entry] = again.privacy["ledger"]["entries"]
    assert entry["event"]["steps"] == 28
    assert "; secret randomness; " in again.privacy["guarantee"]


@pytest.mark.usefixtures("pair")
def test_a_reply_holds_masked_numbers_and_nothing_else(devices: Mapping[str, Leaving]) -> None:
    masked, bare = devices["protocol"].sent, devices["simulate"].sent
    everybody = {(round, client) for round in ROUNDS for client in range(TEACHERS)}
    assert set(masked) == set(bare) == everybody - {(9, 1), (17, 0), (17, 3)}
    for place, one in masked.items():
        assert len(one) == len(bare[place]) == (4 if place[0] == 17 else 8) * 3 * 2
    assert np.mean([(masked[place] == bare[place]).mean() for place in masked]) < 0.03
    assert devices["protocol"].names == devices["simulate"].names == {Name.ENCODED}


@pytest.mark.thorough
def test_a_budget_ends_the_labelling(folder: Path) -> None:
    """No more is asked than it pays for, by the account of what is drawn."""
    limited = {"privacy": {"unit": "teacher", "delta": 1e-4, "epsilon": 30.0}}
    found = run(config(folder, "simulate", **limited), folder / "budget")
    assert 0 < found.summary["queries"] < 20
    assert found.summary["epsilon"] <= 30.0
    assert found.ballots["queries"].groupby(found.ballots["client"]).sum().tolist() == [found.summary["queries"]] * 6


@pytest.mark.slow
def test_tokens_are_voted_on_in_sums_too(folder: Path) -> None:
    unit = {**CHANGES["pate"], "unit": "token", "queries": 2, "noise_at": "teachers", "scale": 0.3}
    settings = {"pate": {**unit, "store": str(folder / "teachers")}}
    both = [run(config(folder, mode, **settings), folder / f"token {mode}") for mode in ("protocol", "simulate")]
    pd.testing.assert_frame_equal(*map(queries, both))
    assert both[0].summary["queries"] > 4


@pytest.mark.parametrize(
    ("secure", "why"),
    [
        ({"least_clients": 7}, "there are 6 teachers, but a sum has at least 7 votes"),
        ({"threshold": 3}, "among the 6 teachers, 3 shares are to open a secret"),
        ({"bits": 8}, "is 8, which cannot hold the votes of 6 teachers with their noise"),
    ],
)
def test_numbers_that_fit_no_teachers_are_refused(secure: dict[str, Any], why: str, folder: Path) -> None:
    tree = config(folder, "protocol", "soft-gaussian")
    settings = load({**tree, "secure_aggregation": {**tree["secure_aggregation"], **secure}})
    with pytest.raises(InputError) as refused:
        check_secure_aggregation(settings, Layout(("w",), ((2,),), (slice(0, 2),)), TEACHERS)
    assert why in str(refused.value)
