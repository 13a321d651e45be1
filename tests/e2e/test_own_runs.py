"""A strategy and a client app of a user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

import fedasr
from fedasr.clients.client_app import train_action
from fedasr.errors import InputError
from fedasr.strategies.federated_run import FederatedRun

from .tiny import tiny


class Noted(FederatedRun):
    """Federated training that notes something."""

    def __init__(self, grid: Any, experiment: Any, folder: Any, note: str = "") -> None:
        super().__init__(grid, experiment, folder)
        self.last["note"] = note

    def round(self, number: int) -> Any:
        self.weights = self.weights * np.float32(1)
        return super().round(number)


app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    reply = train_action(message, context)
    reply.content["metrics"]["train-loss"] = 7.0  # type: ignore[index]
    return reply


def make_app(loss: float) -> ClientApp:
    made = ClientApp()

    @made.train()
    def train(message: Message, context: Context) -> Message:
        reply = train_action(message, context)
        reply.content["metrics"]["train-loss"] = loss  # type: ignore[index]
        return reply

    return made


@pytest.mark.slow
def test_a_strategy_runs_the_rounds(tmp_path: Path) -> None:
    plain = fedasr.run(tiny(rounds=1, strategy={"name": "fedavg"}), tmp_path / "plain")
    options = {"strategy.options": {"note": "mine"}}
    run = fedasr.run(tiny(rounds=1, strategy={"name": "fedavg"}), tmp_path / "own", options, strategy=Noted)
    assert run.config.strategy.name == f"{__name__}:Noted"
    assert run.summary["status"] == "done"
    assert run.summary["model_sha256"] == plain.summary["model_sha256"]


def test_options_of_a_strategy_are_checked_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown option 'strategy.options.noet' \(did you mean 'note'\?\)"):
        fedasr.run(tiny(), tmp_path / "run", {"strategy.options": {"noet": ""}}, strategy=Noted)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["serial", "pool"])
def test_a_client_app_answers(executor: str, tmp_path: Path) -> None:
    runtime = {"executor": executor, "workers": 2}
    run = fedasr.run(tiny(rounds=1, runtime=runtime), tmp_path / "run", client_app=app)
    assert run.config.client_app == f"{__name__}:app"
    assert set(run.clients["train_loss"]) == {7.0}


@pytest.mark.slow
def test_a_function_makes_a_client_app_of_options(tmp_path: Path) -> None:
    run = fedasr.run(tiny(rounds=1), tmp_path / "run", {"client_app_options": {"loss": 3.0}}, client_app=make_app)
    assert set(run.clients["train_loss"]) == {3.0}
    with pytest.raises(InputError, match=r"'client_app_options' is set but 'client_app' is .*made already"):
        fedasr.run(tiny(), tmp_path / "none", {"client_app_options": {"loss": 3.0}}, client_app=app)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"client_app": "mine:app", "privacy.unit": "user", "privacy.epsilon": 1.0}, "'client_app' is 'mine:app' but"),
        ({"strategy.name": "mine:Own", "privacy.unit": "user", "privacy.epsilon": 1.0}, "no accountant knows"),
        ({"client_app": "mine"}, "'client_app' is 'mine'; expected 'package.module:attribute'"),
        ({"client_app": "json:dumps"}, "which needs 'obj'; set 'client_app_options.obj'"),
        ({"client_app_options": {"a": 1}}, "'client_app_options' is set but 'client_app' is 'None'"),
        (
            {"model.tokenizer": "mine:T", "model.alphabet": "auto"},
            "'model.alphabet' is 'auto' but 'model.tokenizer' is",
        ),
        ({"evaluate.decoder": "collections:Counter"}, "which makes no decoder: it has no 'decode'"),
        ({"model.tokenizer": "collections:Counter"}, "which makes no tokenizer: it has no 'size'"),
    ],
)
def test_what_does_not_go_together_is_a_line(changes: dict[str, Any], line: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        fedasr.run(tiny(), tmp_path / "run", changes)
    assert line in str(caught.value)
    assert not (tmp_path / "run").exists()
