"""Runs whose updates are encoded: fewer bytes, the same bits however they are run, and what is refused."""

from __future__ import annotations

import importlib
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

import fedasr
from fedasr.clients.client_app import app as honest
from fedasr.config import load
from fedasr.errors import InputError
from fedasr.experiment import as_json
from fedasr.flower.messages import RUN_ID
from fedasr.protocol import Name, Record
from fedasr.runtime.executors import Executor, PoolExecutor, SerialExecutor
from fedasr.runtime.grid import LocalGrid
from fedasr.runtime.launch import open_run
from fedasr.runtime.session import Silent, current, session
from fedasr.strategies.server_app import app as server_app

from .tiny import ROOT, tiny

RESULTS = ["round", "loss", "wer", "train_loss", "clients_replied", "bytes_up"]
SIGN = {"up": "sign", "decay": 0.5}


def config(compression: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return a config of four rounds, in which clients come again after rounds without them."""
    model = {"encoder": "lstm", "channels": [16, 16], "hidden": 16}
    result = tiny(rounds=4, data__synthetic__speakers=6, selection__clients_per_round=4, model=model, **changes)
    return result if compression is None else {**result, "compression": compression}


class Shuffled(LocalGrid):
    """A grid whose replies arrive in any order, and are decoded by the server."""

    reduce = None  # type: ignore[assignment]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Yield the replies shuffled."""
        replies = list(super().send_and_receive(messages, timeout=timeout))
        random.Random(1).shuffle(replies)
        yield from replies


class StopAfter(Silent):
    """A watcher that asks the run to stop after a round."""

    def __init__(self, number: int) -> None:
        self.number = number

    def round(self, row: Any) -> None:
        """Ask for it."""
        if row["round"] == self.number:
            current().stop.set()


def run(
    settings: dict[str, Any],
    out: Path,
    *,
    app: ClientApp = honest,
    workers: int = 0,
    grid: type[LocalGrid] = LocalGrid,
    resume: bool = False,
    watcher: Silent | None = None,
) -> fedasr.Run:
    """Run a config."""
    result = open_run(load(settings), out, resume)
    assert result is not None
    executor: Executor = PoolExecutor(app, "", workers) if workers else SerialExecutor(app)
    asked = {"experiment": as_json(result.config), "out": str(out), "resume": resume}
    try:
        with session(watcher):
            server_app(grid(executor, len(result.partition)), Context(RUN_ID, 0, {}, RecordDict(), asked))
    finally:
        executor.close()
    return fedasr.load_run(out)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> fedasr.Run:
    return run(config(), tmp_path_factory.mktemp("runs") / "plain")


@pytest.fixture(scope="module")
def signs(tmp_path_factory: pytest.TempPathFactory) -> fedasr.Run:
    return run(config(SIGN), tmp_path_factory.mktemp("runs") / "sign")


@pytest.mark.quick
def test_signs_take_a_bit_a_weight_and_learn(plain: fedasr.Run, signs: fedasr.Run) -> None:
    messages = signs.summary["updates"]
    assert signs.summary["bytes_up"] / messages < plain.summary["parameters"] / 8 + 1000
    assert signs.summary["bytes_up"] < plain.summary["bytes_up"] / 10
    assert signs.summary["bytes_up"] == signs.rounds["bytes_up"].sum() == signs.clients["bytes_up"].sum()
    assert signs.rounds["loss"].iloc[-1] < 0.95 * signs.rounds["loss"].iloc[0]


@pytest.mark.slow
def test_workers_that_add_up_decode_the_same_bits(signs: fedasr.Run, tmp_path: Path) -> None:
    again = run(config(SIGN), tmp_path / "run", workers=2)
    assert again.summary["model_sha256"] == signs.summary["model_sha256"]
    pd.testing.assert_frame_equal(again.rounds[RESULTS], signs.rounds[RESULTS])


def test_a_server_that_decodes_replies_in_any_order_has_the_same_bits(signs: fedasr.Run, tmp_path: Path) -> None:
    again = run(config(SIGN), tmp_path / "run", grid=Shuffled)
    assert again.summary["model_sha256"] == signs.summary["model_sha256"]


@pytest.mark.slow
def test_a_resumed_run_goes_on_with_what_its_clients_have_kept(signs: fedasr.Run, tmp_path: Path) -> None:
    stopped = run(config(SIGN), tmp_path / "run", watcher=StopAfter(2))
    assert stopped.summary["status"] == "interrupted"
    resumed = run(config(SIGN), tmp_path / "run", resume=True, workers=2)
    assert resumed.summary["model_sha256"] == signs.summary["model_sha256"]
    pd.testing.assert_frame_equal(resumed.rounds[RESULTS], signs.rounds[RESULTS])


@pytest.mark.slow
def test_what_is_kept_is_sent_later_and_decays(signs: fedasr.Run, tmp_path: Path) -> None:
    lost = run(config({**SIGN, "error_feedback": False}), tmp_path / "lost")
    whole = run(config({**SIGN, "decay": 1.0}), tmp_path / "whole")
    hashes = {result.summary["model_sha256"] for result in (signs, lost, whole)}
    assert len(hashes) == 3
    # Nobody has kept anything before the first round.
    np.testing.assert_array_equal(lost.rounds["loss"].iloc[0], signs.rounds["loss"].iloc[0])


def test_sixteen_bits_lose_next_to_nothing_and_halve_the_bytes(plain: fedasr.Run, tmp_path: Path) -> None:
    half = run(config({"up": "fp16"}), tmp_path / "run")
    assert half.summary["bytes_up"] < 0.5 * plain.summary["bytes_up"]
    np.testing.assert_allclose(half.rounds["loss"], plain.rounds["loss"], rtol=1e-3)


def test_a_server_clips_what_it_has_decoded(tmp_path: Path) -> None:
    strategy = {"name": "fedavg", "weighting": "uniform", "aggregation": "norm-bound", "norm_bound": 0.001}
    result = run(config({"up": "eden"}, strategy=strategy), tmp_path / "run")
    # 'update_norm' is what the decoded update was long before it was clipped.
    assert (result.rounds["update_norm"] > 0.01).all()
    assert result.rounds["loss"].iloc[-1] == pytest.approx(result.rounds["loss"].iloc[0], rel=0.01)


def damaged(message: Message, context: Context, call_next: Any) -> Message:
    """Send something else than a codec has made."""
    reply: Message = call_next(message, context)
    client = int(context.node_config["partition-id"])
    if Record.ARRAYS in reply.content and client < 3:
        there = reply.content[Record.ARRAYS]
        assert isinstance(there, ArrayRecord)
        content = there[Name.ENCODED].numpy()
        wrong = [content[:-1], content.reshape(1, -1), np.zeros(3, np.float32)][client]
        reply.content[Record.ARRAYS] = ArrayRecord({Name.ENCODED: Array(np.ascontiguousarray(wrong))})
    return reply


def test_bytes_that_no_codec_has_made_are_refused_and_the_round_goes_on(tmp_path: Path) -> None:
    app = ClientApp(mods=[damaged])
    app.train()(honest)
    settings = config({"up": "int8"}, strategy={"name": "fedavg", "max_failed_share": 0.9})
    settings["selection"]["clients_per_round"] = 6
    result = run({**settings, "rounds": 1}, tmp_path / "run", app=app)
    reasons = sorted(result.clients.loc[result.clients["status"] != "ok", "reason"])
    assert len(reasons) == 3
    words = ["damaged: it is no Zstandard frame", "expected one dimension", "is float32 (3,); expected uint8"]
    assert all(said in reason for said, reason in zip(words, reasons, strict=True)), reasons
    assert result.summary["updates"] == 3


@pytest.mark.slow
def test_noise_of_a_device_comes_before_the_codec(plain: fedasr.Run, tmp_path: Path) -> None:
    """So what a device keeps of a noisy update is no secret: the run is allowed, and nothing else leaves the device."""
    settings = config({"up": "sign"}, strategy={"name": "fedavg", "weighting": "uniform"})
    settings["privacy"] = {"unit": "user", "noise_at": "device", "noise_multiplier": 1.0, "clip_norm": 0.1}
    settings["model"] = {**settings["model"], "alphabet": "latin"}
    result = run({**settings, "rounds": 2}, tmp_path / "run")
    size = result.summary["parameters"]
    # Signs times a mean length: noise of 0.1 in each entry, √(2/π) of it long on average. Without noise it were 0.1.
    assert result.rounds["update_norm"].iloc[0] == pytest.approx(0.1 * np.sqrt(size * 2 / np.pi), rel=0.1)
    assert result.clients["train_loss"].isna().all()


@pytest.mark.slow
def test_the_codec_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "compression.md").read_text(encoding="utf-8")
    module = page.split("```python\n# halves.py\n")[1].split("```")[0]
    (tmp_path / "halves.py").write_text(module, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    halves = importlib.import_module("halves")
    result = fedasr.run({**config(), "rounds": 1}, out=tmp_path / "run", codec=halves.Halves)
    assert result.config.compression.up == "halves:Halves"
    each = result.summary["bytes_up"] / result.summary["updates"]
    assert each == pytest.approx(2 * result.summary["parameters"], abs=1000)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("compression", "changes", "sentence"),
    [
        ({"up": "sign"}, {"privacy": "user"}, "what a device keeps is from before the noise"),
        ({"up": "int8", "error_feedback": True}, {"privacy": "user"}, "what a device keeps is from before the noise"),
        ({"up": "random-k", "error_feedback": True}, {}, "so that what is kept would grow"),
        ({"up": "top-k"}, {"aggregation": "median"}, "which would be 0 there"),
        ({"up": "random-k"}, {"aggregation": "trimmed-mean"}, "which would be 0 there"),
        ({"up": "int8"}, {"name": "pate"}, "whose clients send no updates"),
        ({"up": "none", "decay": 0.5}, {}, "'compression.decay'"),
        ({"up": "int9"}, {}, "'compression.up'"),
        ({"up": "eden", "up_options": {"blocks": 3}}, {}, "unknown option 'compression.up_options.blocks'"),
    ],
)
def test_refused_in_a_line_before_anything_is_written(
    compression: dict[str, Any], changes: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    strategy = {"name": "fedavg", "weighting": "uniform", **{k: v for k, v in changes.items() if k != "privacy"}}
    settings = config(compression, strategy=strategy)
    if "privacy" in changes:
        settings["privacy"] = {"unit": "user", "noise_multiplier": 1.0}
        settings["model"] = {**settings["model"], "alphabet": "latin"}
        settings["selection"]["name"] = "poisson"
    with pytest.raises(InputError) as caught:
        fedasr.run(settings, out=tmp_path / "run")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
