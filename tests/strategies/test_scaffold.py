"""SCAFFOLD on quadratics, where its optimum is known, by the code that clients and server run; and what is refused."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Context, Message, MetricRecord, RecordDict
from torch import nn

from fedasr.clients.control_variates import control_variate, renewed
from fedasr.config.schema import ClientConfig, Config, PrivacyConfig, SecureAggregationConfig
from fedasr.data.batches import Batch
from fedasr.data.roster import Roster
from fedasr.errors import InputError
from fedasr.flower.messages import assume_identity, set_message_id
from fedasr.flower.records import array_record, arrays_of, numpy_arrays
from fedasr.models.weights import Layout
from fedasr.protocol import Accumulated, Record
from fedasr.strategies.aggregation.accumulating import Expectations
from fedasr.strategies.aggregation.base import Size
from fedasr.strategies.aggregation.controlled import ControlledAccumulator, ControlledMean, ControlVariates, Shares
from fedasr.strategies.aggregation.exact_mean import ExactMean
from fedasr.strategies.aggregation.replies import stores
from fedasr.strategies.aggregation.weighting import weighting_of
from fedasr.strategies.selection import Selection
from fedasr.training import local

CURVATURES, OPTIMA = np.array([1.0, 4.0]), np.array([1.0, -1.0])
"""Client i has the loss ½·aᵢ·(w − bᵢ)²."""
RATE, STEPS = 0.05, 5
LAYOUT = Layout.of({"w": np.zeros(1, np.float32)})
BATCH = Batch(torch.zeros(1, 1, 1), torch.ones(1), torch.zeros(1, 1), torch.ones(1), 1.0, (0,))
SGD = ClientConfig(optimizer="sgd", clip_norm=None)


class Number(nn.Module):
    """A model of one number."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1))


class Fleet:
    """Two clients and their server, without what lies between them."""

    def __init__(self, stored: tuple[int, int] = (1, 1), weighting: str = "uniform", controlled: bool = True) -> None:
        assume_identity()
        self.roster = Roster.from_counts(np.array(stored), np.array(stored, np.float64))
        self.weighting, self.controlled = weighting, controlled
        self.model = local.Resident(Number())  # type: ignore[arg-type]
        self.x = np.zeros(1, np.float32)
        self.controls = ControlVariates(1)
        self.contexts = [Context(1, client, {}, RecordDict(), {}) for client in range(2)]

    @property
    def own(self) -> list[float]:
        """The control variate of each client."""
        kept = [context.state.get(Record.CONTROL) for context in self.contexts]
        return [0.0 if record is None else float(numpy_arrays(record)["w"][0]) for record in kept]  # type: ignore[arg-type]

    def message(self, client: int, control: np.ndarray) -> Message:
        content = {Record.ARRAYS: array_record({"w": self.x})}
        if self.controlled:
            content[Record.CONTROL] = array_record({"w": control})
        message = Message(RecordDict(content), client, "train", group_id="1")  # type: ignore[arg-type]
        set_message_id(message, str(client))
        return message

    def reply(self, message: Message, steps: int = STEPS) -> Message:
        """Train a client on its quadratic."""
        client = message.metadata.dst_node_id
        control = control_variate(message, self.contexts[client], Config())
        correction = None if control is None else control.correction
        state = local.init(self.model, arrays_of(message), SGD, RATE, correction)
        for _ in range(steps):
            local.step(state, BATCH, lambda model, _: 0.5 * CURVATURES[client] * (model.w - OPTIMA[client]) ** 2)  # type: ignore[operator]
        arrays, result = local.final(state)
        stored = int(self.roster.utterances[client])
        metrics = {
            "num-examples": stored,
            "audio-milliseconds": 1000 * stored,
            "train-loss": result.train_loss,
            "loss-square": result.loss_square,
            "steps": result.steps,
            "utterances": result.utterances,
            "skipped": 0,
            "seconds": 0.1,
        }
        content: dict[str, Any] = {Record.ARRAYS: array_record(arrays), Record.METRICS: MetricRecord(metrics)}
        if control is not None:
            content[Record.CONTROL] = control.renew(arrays, result.steps, RATE)
        return Message(RecordDict(content), reply_to=message)

    def round(self, clients: tuple[int, ...] = (0, 1)) -> None:
        """Run a round of some clients."""
        selection = Selection(np.array(clients), np.full(len(clients), np.nan))
        weighting = weighting_of(self.weighting, selection, self.roster)
        if not self.controlled:
            mean = ExactMean(LAYOUT, self.x, weighting.expected)
            for client in clients:
                reply = self.reply(self.message(client, self.x))
                mean.add(arrays_of(reply), weighting.weight(client, dict(reply.content[Record.METRICS])))  # type: ignore[arg-type]
            self.x = self.x + mean.mean()
            return
        shares = Shares.of(weighting, selection, self.roster)
        aggregate = ControlledMean(ExactMean(LAYOUT, self.x, weighting.expected), shares.cohort)
        expected = Expectations(stores(self.roster, clients))
        accumulator = ControlledAccumulator(aggregate, shares, weighting, None, expected)
        control = self.controls.mean(shares.population)
        for client in clients:
            message = self.message(client, control)
            reply = self.reply(message)
            taken = Accumulated.of(accumulator.accumulate(aggregate.sum, message.content, reply), "it")
            assert taken.refused is None
            aggregate.count(taken.weight, Size(taken.norm, taken.largest))  # type: ignore[arg-type]
        self.x = self.x + aggregate.mean()
        self.controls.sum = self.controls.sum + aggregate.change()

    def run(self, rounds: int) -> float:
        for _ in range(rounds):
            self.round()
        return float(self.x[0])


def test_the_formula_of_option_two_by_hand() -> None:
    one = np.ones(1, np.float32)
    # 0.5 − 0.2 + (1 − 0.4)/(3·0.1)
    assert renewed(0.5 * one, 0.2 * one, one, 0.4 * one, 3 * 0.1) == pytest.approx(2.3)
    np.testing.assert_array_equal(renewed(0.5 * one, 0.2 * one, one, one, 0.0), 0.5 * one)


def test_a_first_round_by_hand() -> None:
    """Both begin at 0 with no control variates: y = b·(1 − (1 − ηa)⁵), and c is the mean of −y/(5η)."""
    fleet = Fleet()
    fleet.round()
    trained = OPTIMA * (1 - (1 - RATE * CURVATURES) ** STEPS)
    assert fleet.x[0] == pytest.approx(trained.mean(), rel=1e-6)
    assert fleet.own == pytest.approx(list(-trained / (STEPS * RATE)), rel=1e-6)
    assert fleet.controls.mean(2)[0] == pytest.approx(np.mean(-trained / (STEPS * RATE)), rel=1e-6)


def test_averaging_ends_at_a_point_that_the_local_steps_choose_and_scaffold_at_the_optimum() -> None:
    moved = 1 - (1 - RATE * CURVATURES) ** STEPS
    biased = float((moved * OPTIMA).sum() / moved.sum())
    optimum = float((CURVATURES * OPTIMA).sum() / CURVATURES.sum())
    assert abs(biased - optimum) > 0.1
    assert Fleet(controlled=False).run(20) == pytest.approx(biased, abs=1e-4)
    assert Fleet().run(30) == pytest.approx(optimum, abs=1e-3)


@pytest.mark.parametrize(("weighting", "shares"), [("examples", (3, 1)), ("uniform", (1, 1))])
def test_the_optimum_is_that_of_the_mean_that_the_weights_say(weighting: str, shares: tuple[int, int]) -> None:
    weighted = np.array(shares) * CURVATURES
    optimum = float((weighted * OPTIMA).sum() / weighted.sum())
    assert Fleet((3, 1), weighting).run(30) == pytest.approx(optimum, abs=1e-3)


@pytest.mark.parametrize("weighting", ["uniform", "examples"])
def test_c_is_the_mean_of_the_clients_control_variates_after_every_round(weighting: str) -> None:
    fleet = Fleet((3, 1), weighting)
    shares = np.array((3, 1) if weighting == "examples" else (1, 1))
    for clients in [(0,), (1,), (0, 1), (1,), (0,)]:
        fleet.round(clients)
        assert fleet.controls.mean(shares.sum())[0] == pytest.approx(np.average(fleet.own, weights=shares), abs=1e-6)


def test_half_of_the_clients_at_a_time_come_to_the_optimum_too() -> None:
    fleet = Fleet()
    for number in range(60):
        fleet.round((number % 2,))
    assert fleet.x[0] == pytest.approx(-0.6, abs=0.01)


def test_a_client_without_a_step_changes_nothing() -> None:
    fleet = Fleet()
    fleet.round()
    before = fleet.own
    reply = fleet.reply(fleet.message(0, np.ones(1, np.float32)), steps=0)
    assert not arrays_of(reply, Record.CONTROL)["w"].any()
    assert fleet.own == before


@pytest.mark.parametrize("start", [np.nan, 3e38, 5000.0])
def test_a_client_that_nobody_would_sum_fails_and_keeps_what_it_had(start: float) -> None:
    fleet = Fleet()
    fleet.round()
    before = fleet.own
    fleet.x = np.full(1, start, np.float32)
    with pytest.raises(ValueError, match="too high"):
        fleet.reply(fleet.message(1, np.zeros(1, np.float32)))
    assert fleet.own == before


@pytest.mark.parametrize(
    ("record", "value", "why"),
    [
        (Record.CONTROL, None, "of the change of the control variate: the reply has no arrays"),
        (Record.CONTROL, {"v": np.zeros(1, np.float32)}, "the arrays do not match the model: 'v', 'w'"),
        (Record.CONTROL, {"w": np.zeros(2, np.float32)}, "array 'w' is float32 (2,); expected float32 (1,)"),
        (Record.CONTROL, {"w": np.full(1, np.nan, np.float32)}, "changes by nan; expected finite numbers"),
        (Record.CONTROL, {"w": np.full(1, -2000, np.float32)}, "changes by 2e+03; expected finite numbers, at most"),
        (Record.ARRAYS, {"w": np.full(1, np.nan, np.float32)}, "the update holds values that are not finite"),
        (Record.METRICS, None, "the reply has no metrics"),
    ],
)
def test_a_reply_is_taken_in_with_both_or_with_neither(record: str, value: Any, why: str) -> None:
    fleet = Fleet()
    message = fleet.message(0, np.zeros(1, np.float32))
    reply = fleet.reply(message)
    del reply.content[record]
    if value is not None:
        reply.content[record] = array_record(value)
    selection = Selection(np.array([0]), np.full(1, np.nan))
    weighting = weighting_of("uniform", selection, fleet.roster)
    shares = Shares.of(weighting, selection, fleet.roster)
    aggregate = ControlledMean(ExactMean(LAYOUT, fleet.x, weighting.expected), shares.cohort)
    expected = Expectations(stores(fleet.roster, [0]))
    accumulator = pickle.loads(pickle.dumps(ControlledAccumulator(aggregate, shares, weighting, None, expected)))
    result = Accumulated.of(accumulator.accumulate(aggregate.sum, message.content, reply), "it")
    assert result.refused is not None
    assert why in result.refused
    assert not aggregate.sum.any()


def test_a_private_client_tells_no_change_whatever_the_server_asks() -> None:
    fleet = Fleet()
    message = fleet.message(0, np.zeros(1, np.float32))
    private = PrivacyConfig(unit="user", noise_multiplier=1.0, noise_at="device")
    for config in (Config(privacy=private), Config(secure_aggregation=SecureAggregationConfig(mode="protocol"))):
        with pytest.raises(InputError, match="nothing was told"):
            control_variate(message, fleet.contexts[0], config)
