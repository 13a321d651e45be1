"""Selectors under Flower's own strategies, on our grid."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.serverapp.strategy import (
    DifferentialPrivacyServerSideFixedClipping,
    FedAdam,
    FedAvg,
    FedMedian,
    FedProx,
    Result,
    Strategy,
)

from fedasr.errors import InputError
from fedasr.runtime.executors import SerialExecutor
from fedasr.runtime.grid import LocalGrid
from fedasr.strategies.selection import (
    ActiveFederatedLearning,
    Activity,
    Oort,
    Poisson,
    PowerOfChoice,
    RoundRobin,
    Selector,
    TopActivity,
    Uniform,
)
from fedasr.strategies.selection.flower import ReplyKeys, WithSelector

from . import flower_apps


class Watched(LocalGrid):
    """Our grid, with node ids that are no row numbers, and a list of what it was sent."""

    def __init__(self, clients: int = 5, shift: int = 2**63) -> None:
        super().__init__(SerialExecutor(flower_apps.app), clients)
        self.shift = shift
        self.sent_to: list[tuple[str, list[int]]] = []
        self.away: set[int] = set()

    def get_node_ids(self) -> Iterable[int]:
        return [self.shift + client for client in range(self.clients) if client not in self.away]

    def context(self, node: int) -> Any:
        return super().context(node - self.shift)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        messages = list(messages)
        if messages:
            kind = messages[0].metadata.message_type
            self.sent_to.append((kind, [m.metadata.dst_node_id - self.shift for m in messages]))
        return super().send_and_receive(messages, timeout=timeout)

    def trained(self) -> list[list[int]]:
        return [clients for kind, clients in self.sent_to if kind == "train"]


def fedavg(**options: Any) -> FedAvg:
    return FedAvg(fraction_evaluate=0.0, min_train_nodes=1, min_available_nodes=1, **options)


def run(strategy: Strategy, grid: LocalGrid, rounds: int = 3) -> Result:
    return strategy.start(grid=grid, initial_arrays=ArrayRecord([np.array([0.0, 0.0])]), num_rounds=rounds)


def mean(clients: list[int]) -> float:
    """What FedAvg makes of the clients: client i has weight i + 1 and answers i."""
    weights = np.array(clients) + 1.0
    return float((weights * clients).sum() / weights.sum())


@pytest.mark.parametrize(
    "selector", [Uniform, Activity, TopActivity, RoundRobin, Oort, ActiveFederatedLearning, PowerOfChoice]
)
def test_fedavg_aggregates_exactly_the_selected(selector: type[Selector]) -> None:
    grid = Watched()
    strategy = WithSelector(fedavg(), selector(), clients_per_round=2)
    result = run(strategy, grid)
    cohorts = grid.trained()
    assert [len(set(cohort)) for cohort in cohorts] == [2, 2, 2]
    assert result.arrays is not None
    np.testing.assert_allclose(result.arrays.to_numpy_ndarrays()[0], [mean(cohorts[-1]), 1.0])
    table = strategy.roster
    for round, cohort in enumerate(cohorts, 1):
        for client in cohort:
            assert table.utterances[client] == client + 1
            assert table.last_loss[client] == client
            assert table.last_round[client] >= round


def test_the_choice_depends_on_the_seed_and_on_no_global_generator() -> None:
    result = []
    for state, seed in ((1, 0), (2, 0), (3, 7)):
        random.seed(state)
        np.random.seed(state)  # noqa: NPY002 - the global generator must not matter
        grid = Watched(20)
        run(WithSelector(fedavg(), Uniform(), 6, seed), grid)
        result.append(grid.trained())
    assert result[0] == result[1] != result[2]


def test_what_the_strategy_adds_to_messages_arrives() -> None:
    grid = Watched()
    prox = FedProx(fraction_evaluate=0.0, min_train_nodes=1, min_available_nodes=1, proximal_mu=0.25)
    result = run(WithSelector(prox, Uniform(), 3), grid, 1)
    assert result.train_metrics_clientapp[1]["mu"] == 0.25


@pytest.mark.parametrize("kind", [FedAdam, FedMedian])
def test_other_strategies(kind: type[FedAvg]) -> None:
    grid = Watched()
    result = run(WithSelector(kind(fraction_evaluate=0.0), Uniform(), 3), grid)
    assert result.arrays is not None
    assert [len(cohort) for cohort in grid.trained()] == [3, 3, 3]


def test_outside_a_wrapper_and_inside_one() -> None:
    for wrap in (
        lambda: WithSelector(DifferentialPrivacyServerSideFixedClipping(fedavg(), 0.0, 1e9, 2), Uniform(), 2),
        lambda: DifferentialPrivacyServerSideFixedClipping(WithSelector(fedavg(), Uniform(), 2), 0.0, 1e9, 2),
    ):
        grid = Watched()
        run(wrap(), grid, 2)
        assert [len(cohort) for cohort in grid.trained()] == [2, 2]


def test_sizes_that_are_known_count_from_the_first_round() -> None:
    grid = Watched()
    sizes = {grid.shift + client: 10 - client for client in range(5)}
    run(WithSelector(fedavg(), TopActivity(), 2, utterances=sizes), grid, 2)
    assert [sorted(cohort) for cohort in grid.trained()] == [[0, 1], [0, 1]]
    grid = Watched()
    audio = {grid.shift + client: 1.0 + client for client in range(5)}
    run(WithSelector(fedavg(), TopActivity("seconds"), 2, utterances=sizes, seconds=audio), grid, 1)
    assert [sorted(cohort) for cohort in grid.trained()] == [[3, 4]]


def test_who_fails_is_reported_missing_and_does_not_stop_the_rest() -> None:
    grid = Watched(6)
    selector = Oort()
    run(WithSelector(fedavg(), selector, 6), grid, 1)
    assert selector.last.tolist() == [1] * 6
    assert selector.turns.tolist() == [1, 1, 1, 1, 1, 0]
    np.testing.assert_array_equal(selector.utility, [0, 2, 6, 12, 20, np.nan])  # (i + 1)·loss i


def test_squared_losses_and_durations_are_read_where_they_are_named() -> None:
    grid = Watched()
    selector = Oort()
    run(WithSelector(fedavg(), selector, 5, keys=ReplyKeys(loss_square="spread", seconds="took")), grid, 1)
    np.testing.assert_allclose(selector.utility, [(i + 1) * np.sqrt(i**2 + 1) for i in range(5)])
    np.testing.assert_array_equal(selector.duration, [0, 2, 4, 6, 8])


def test_power_of_choice_asks_the_candidates_and_takes_the_worst() -> None:
    grid = Watched(6)
    run(WithSelector(fedavg(), PowerOfChoice(6), 2), grid, 2)
    (asked, everybody), (trained, first), (_, again), (_, second) = grid.sent_to
    assert (asked, trained) == ("evaluate", "train")
    assert sorted(everybody) == sorted(again) == list(range(6))
    # The first global model answers 0, and client 5 does not answer; then |model − client| decides.
    assert first == [4, 3]
    model = mean(first)
    assert second == sorted(range(5), key=lambda client: -abs(model - client))[:2]


def test_nodes_come_and_go() -> None:
    grid = Watched(3)
    strategy = WithSelector(fedavg(), RoundRobin(1), 5)
    arrays, config = ArrayRecord([np.zeros(2)]), ConfigRecord()

    def selected(round: int) -> list[int]:
        messages = list(strategy.configure_train(round, arrays, config, grid))
        strategy.aggregate_train(round, grid.send_and_receive(messages))
        return sorted(grid.trained()[-1])

    assert selected(1) == [0, 1, 2]
    grid.clients, grid.away = 5, {1}
    assert selected(2) == [0, 2, 3, 4]
    grid.away = set()
    assert selected(3) == [0, 1, 2, 3, 4]
    assert strategy.roster.last_round.tolist() == [3] * 5
    assert len(strategy.roster) == 5


def test_an_empty_cohort_keeps_the_model() -> None:
    class Nobody(Poisson):
        def select(self, round: int, roster: Any, k: int, rng: np.random.Generator) -> Any:
            return super().select(round, roster, 0, rng)

    grid = Watched()
    result = run(WithSelector(fedavg(), Nobody(), 2), grid, 2)
    assert grid.trained() == []
    assert result.train_metrics_clientapp == {}


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(InputError, match=r"FedAvg has fraction_train=0.5 .* give it fraction_train=1.0"):
        WithSelector(fedavg(fraction_train=0.5), Uniform(), 2)
    with pytest.raises(InputError, match=r"FedAvg has min_train_nodes=4, but 2 clients were selected; .*=2"):
        run(WithSelector(FedAvg(min_train_nodes=4), Uniform(), 2), Watched())
    with pytest.raises(InputError, match="draws with replacement"):
        run(WithSelector(fedavg(), Activity(replacement=True), 2), Watched())
    keys = ReplyKeys(loss="train-loss")
    with pytest.raises(InputError, match=r"no client reports 'train-loss'; the metrics .* num-examples, train_loss"):
        run(WithSelector(fedavg(), Oort(), 2, keys=keys), Watched())
    with pytest.raises(InputError, match=r"no client reports 'loss'; .*ReplyKeys\(probe_loss="):
        run(WithSelector(fedavg(), PowerOfChoice(), 2, keys=ReplyKeys(probe_loss="loss")), Watched())

    class Some(FedAvg):
        def configure_train(self, *arguments: Any) -> Iterable[Message]:
            return list(super().configure_train(*arguments))[:1]

    with pytest.raises(InputError, match="Some was given 2 selected nodes and addressed 1"):
        run(WithSelector(Some(fraction_evaluate=0.0), Uniform(), 2), Watched())


def test_clients_without_a_loss_do_where_the_selector_needs_none() -> None:
    grid = Watched()
    run(WithSelector(fedavg(), Uniform(), 2, keys=ReplyKeys(loss=None)), grid, 1)
    assert len(grid.trained()[0]) == 2
