"""Runs under secure aggregation: protocol and simulation are one, drop-outs included, and nothing else leaves."""

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
from fedasr.errors import RunFailed
from fedasr.flower.records import arrays_of
from fedasr.models.weights import read_weights
from fedasr.protocol import Key, Kind, Record, Status

from .test_compressed_runs import Shuffled, run
from .tiny import tiny

COHORT = 5
RESULTS = ["round", "loss", "wer", "train_loss", "clients_replied", "clients_failed", "examples", "audio_seconds"]
SHARES = {"unit": "user", "noise_at": "shares", "noise_multiplier": 0.5, "clip_norm": 0.5}


def config(mode: str, secure: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return a config of a round or two among all clients."""
    model = {"encoder": "lstm", "channels": [8, 8], "hidden": 8, "alphabet": "latin"}
    settings = {"rounds": 1, "data__synthetic__speakers": COHORT, "selection": {"clients_per_round": COHORT}}
    result = tiny(**{**settings, "model": model, **changes})
    return {**result, "secure_aggregation": {"mode": mode, **(secure or {})}} if mode != "none" else result


class Leaving(ClientApp):
    """The client app, on devices of which some are gone from a kind of message on.

    Args:
        gone: kind → clients.
        rounds: in which.
    """

    def __init__(self, gone: Mapping[str, tuple[int, ...]], rounds: tuple[int, ...] = (1, 2)) -> None:
        super().__init__()
        self.gone, self.rounds = gone, rounds
        self.sent: dict[int, npt.NDArray[np.uint8]] = {}
        """client → what has left it as its update"""

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer, or fail."""
        client = int(context.node_config[Key.PARTITION])
        round = int(message.metadata.group_id)
        if round in self.rounds and client in self.gone.get(message.metadata.message_type, ()):
            raise ConnectionError("the device is gone")
        reply = honest(message, context)
        if message.metadata.message_type == Kind.TRAIN:
            assert set(reply.content) == {Record.ARRAYS} | ({Record.PRIVACY} & set(reply.content))
            (array,) = arrays_of(reply).values()
            self.sent[client] = array.copy()
        return reply


def both(folder: Path, app: Any = honest, **changes: Any) -> tuple[fedasr.Run, fedasr.Run]:
    """Return a run of the protocol, and one that simulates it."""
    secure = changes.pop("secure", None)
    return tuple(run(config(mode, secure, **changes), folder / mode, app=app) for mode in ("protocol", "simulate"))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[fedasr.Run, fedasr.Run]:
    return both(tmp_path_factory.mktemp("runs"))


def weights(found: fedasr.Run) -> npt.NDArray[np.float32]:
    arrays, _ = read_weights(found.path)
    return np.concatenate([arrays[name].reshape(-1) for name in sorted(arrays)])


def test_protocol_and_simulation_are_one(pair: tuple[fedasr.Run, fedasr.Run]) -> None:
    protocol, simulated = pair
    assert protocol.summary["model_sha256"] == simulated.summary["model_sha256"]
    columns = [*RESULTS, "bytes_up", "bytes_down"]
    pd.testing.assert_frame_equal(protocol.rounds[columns], simulated.rounds[columns])
    assert protocol.clients["bytes_up"].sum() == protocol.rounds["bytes_up"].sum()


@pytest.mark.slow
def test_the_mean_is_nearly_that_of_a_plain_run(pair: tuple[fedasr.Run, fedasr.Run], tmp_path: Path) -> None:
    plain = run(config("none"), tmp_path / "plain")
    start = run(config("none", rounds=0), tmp_path / "start")
    update = weights(plain) - weights(start)
    assert np.linalg.norm(weights(pair[0]) - weights(plain)) < 0.01 * np.linalg.norm(update)
    assert pair[0].rounds["train_loss"].iloc[0] == pytest.approx(plain.rounds["train_loss"].iloc[0], rel=1e-3)
    for column in ("examples", "audio_seconds"):
        assert pair[0].rounds[column].iloc[0] == pytest.approx(plain.rounds[column].iloc[0])
    assert pair[0].summary["bytes_up"] < plain.summary["bytes_up"]


@pytest.mark.slow
@pytest.mark.parametrize("dropped", [(1,), (0, 3)])
def test_the_sum_of_the_protocol_is_that_of_who_is_left(dropped: tuple[int, ...], tmp_path: Path) -> None:
    """With one and with as many drop-outs as the threshold of 3 of 5 allows, after secrets are shared."""
    app = Leaving({Kind.TRAIN: dropped})
    protocol, simulated = both(tmp_path, app, secure={"threshold": 3, "least_clients": 3})
    assert protocol.summary["model_sha256"] == simulated.summary["model_sha256"]
    assert protocol.rounds["clients_replied"].tolist() == [COHORT - len(dropped)]
    pd.testing.assert_frame_equal(protocol.rounds[RESULTS], simulated.rounds[RESULTS])


def test_one_more_drop_out_opens_nothing_and_the_run_goes_on(tmp_path: Path) -> None:
    app = Leaving({Kind.TRAIN: (0, 1, 3)}, rounds=(1,))
    secure = {"threshold": 3, "least_clients": 3}
    protocol, simulated = both(tmp_path, app, secure=secure, rounds=2, strategy__max_failed_share=0.7)
    assert protocol.summary["model_sha256"] == simulated.summary["model_sha256"]
    assert protocol.rounds["clients_replied"].tolist() == [0, COHORT]
    lost = protocol.clients[protocol.clients["round"] == 1]
    assert set(lost["status"]) == {Status.FAILED}
    why = "secure aggregation: 2 updates for a sum of at least 3 (secure_aggregation.least_clients); nothing was opened"
    assert lost["reason"].tolist().count(why) == 2
    assert protocol.rounds["loss"].iloc[0] == simulated.rounds["loss"].iloc[0]


@pytest.mark.slow
def test_devices_may_leave_at_any_step(tmp_path: Path) -> None:
    """One before it advertises keys, one before it shares secrets; or two before they open shares."""
    secure = {"threshold": 3, "least_clients": 3}
    early = run(config("protocol", secure), tmp_path / "early", app=Leaving({Kind.KEYS: (0,), Kind.SHARES: (1,)}))
    simulated = run(config("simulate", secure), tmp_path / "simulated", app=Leaving({Kind.TRAIN: (0, 1)}))
    assert early.summary["model_sha256"] == simulated.summary["model_sha256"]
    late = run(config("protocol", secure), tmp_path / "late", app=Leaving({Kind.UNMASK: (2, 4)}))
    assert late.rounds["clients_replied"].tolist() == [COHORT]
    with pytest.raises(RunFailed, match="none of 1 rounds has opened a sum"):
        run(config("protocol", secure), tmp_path / "too-late", app=Leaving({Kind.UNMASK: (1, 2, 4)}))


@pytest.mark.slow
def test_workers_and_any_order_of_replies_give_the_same_bits(
    pair: tuple[fedasr.Run, fedasr.Run], tmp_path: Path
) -> None:
    again = run(config("protocol"), tmp_path / "workers", workers=2)
    assert again.summary["model_sha256"] == pair[0].summary["model_sha256"]
    shuffled = run(config("protocol"), tmp_path / "shuffled", grid=Shuffled)
    assert shuffled.summary["model_sha256"] == pair[0].summary["model_sha256"]


def test_a_reply_holds_masked_numbers_and_nothing_else(tmp_path: Path) -> None:
    masked, bare = Leaving({}), Leaving({})
    run(config("protocol"), tmp_path / "protocol", app=masked)
    run(config("simulate"), tmp_path / "simulate", app=bare)
    for client in range(COHORT):
        one, other = masked.sent[client], bare.sent[client]
        assert len(one) == len(other)
        assert (one == other).mean() < 0.02


@pytest.mark.slow
def test_clients_that_drop_out_by_the_virtual_clock_have_shared_their_secrets(tmp_path: Path) -> None:
    devices = {"clock": True, "dropout": 0.3}
    protocol, simulated = both(tmp_path, rounds=2, devices=devices, secure={"threshold": 3, "least_clients": 2}, seed=3)
    assert protocol.summary["model_sha256"] == simulated.summary["model_sha256"]
    assert Status.DROPPED in set(protocol.clients["status"])
    pd.testing.assert_frame_equal(protocol.rounds[RESULTS], simulated.rounds[RESULTS])


@pytest.fixture(scope="module")
def shares(tmp_path_factory: pytest.TempPathFactory) -> tuple[fedasr.Run, fedasr.Run]:
    changes = {"privacy": SHARES, "strategy": {"weighting": "uniform"}, "rounds": 2, "secure": {"bits": 20}}
    return both(tmp_path_factory.mktemp("shares"), Leaving({Kind.TRAIN: (1,)}, rounds=(2,)), **changes)


@pytest.mark.slow
def test_distributed_dp_is_the_same_in_protocol_and_simulation(shares: tuple[fedasr.Run, fedasr.Run]) -> None:
    protocol, simulated = shares
    assert protocol.summary["model_sha256"] == simulated.summary["model_sha256"]
    assert protocol.rounds["clients_replied"].tolist() == [COHORT, COHORT - 1]


def test_the_ledger_says_what_the_server_sees_and_counts_the_least_shares(
    shares: tuple[fedasr.Run, fedasr.Run],
) -> None:
    protocol, simulated = shares
    document = protocol.privacy
    assert document is not None
    assert "; against the server" not in document["guarantee"]
    assert ", against the server; no sampling assumed" in document["guarantee"]
    assert (
        "the server sees the sum of at least 4 updates, each with a share of the noise, and no single update, by secure"
        " aggregation" in document["guarantee"]
    )
    assert simulated.privacy is not None
    assert "no single update, only simulated here" in simulated.privacy["guarantee"]
    (entry,) = document["ledger"]["entries"]
    assert entry["event"]["kind"] == "skellam"
    assert entry["event"]["steps"] == document["most_turns"] == 2
    assert document["least_shares"] == 4
    assert protocol.summary["epsilon"] == document["epsilon"] > 0


def test_a_round_that_opens_nothing_is_charged(tmp_path: Path) -> None:
    changes = {"privacy": SHARES, "strategy": {"weighting": "uniform", "max_failed_share": 0.7}, "rounds": 2}
    app = Leaving({Kind.TRAIN: (1, 2)}, rounds=(1,))
    result = run(config("protocol", {"bits": 20}, **changes), tmp_path / "run", app=app)
    assert result.rounds["clients_replied"].tolist() == [0, COHORT]
    assert result.privacy is not None
    assert result.privacy["most_turns"] == 2


def test_noise_is_found_for_a_budget_and_the_budget_ends_the_run(tmp_path: Path) -> None:
    privacy = {"unit": "user", "noise_at": "shares", "epsilon": 20.0, "participations": 1, "clip_norm": 0.5}
    changes = {"privacy": privacy, "strategy": {"weighting": "uniform"}, "rounds": 2}
    result = run(config("simulate", {"bits": 20}, **changes), tmp_path / "run")
    assert result.privacy is not None
    assert 0.95 * 20 < result.privacy["epsilon"] <= 20
    assert len(result.rounds) == 1
    assert "participations of the privacy budget" in result.summary["stopped"]


@pytest.mark.slow
def test_local_noise_and_dp_sgd_go_through_the_sum(tmp_path: Path) -> None:
    local = {"unit": "user", "noise_at": "device", "noise_multiplier": 0.01, "clip_norm": 0.5}
    result = run(
        config("simulate", {"clip": 1.0}, privacy=local, strategy={"weighting": "uniform"}), tmp_path / "local"
    )
    assert result.rounds["clients_replied"].tolist() == [COHORT]
    assert np.isnan(result.rounds["train_loss"].iloc[0])
    example = {"unit": "example", "noise_multiplier": 1.0}
    result = run(config("protocol", privacy=example), tmp_path / "example")
    assert result.rounds["clients_replied"].tolist() == [COHORT]
    assert result.summary["epsilon"] > 0
