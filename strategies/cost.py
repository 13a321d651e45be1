"""What the rounds of a planned run would send and how long they would take, by the code that counts in a run.

Nobody trains: cohorts, messages, drop-outs and simulated time are those of the run, and what a client sends is measured
on replies of one that pretends to have trained.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Message, RecordDict

from fedasr import seeds
from fedasr.config import Config
from fedasr.errors import InputError
from fedasr.experiment import Experiment, as_json
from fedasr.flower.records import content_bytes, shallow_copy
from fedasr.models.weights import Layout, Vector
from fedasr.protocol import Kind, Order, Record
from fedasr.registry import is_reference
from fedasr.secure.coders import make_coder
from fedasr.secure.terms import Aborted
from fedasr.typing import Floats

from .aggregation.weighting import Weighting
from .factory import shipped
from .federated_run import NOBODY, FederatedRun, devices_train
from .frozen_tensors import FrozenTensors
from .label_teacher import LabelTeacher
from .population import Population
from .rounds import Rounds
from .secure.messages import traffic
from .secure.rounds import SecureRounds, check_least, unconfirmed_masking
from .selection import Feedback, traits_of
from .selection.base import Ids

Answer = Callable[[Message, float], Message]
"""The reply of a client that pretends to train, to a message; its update is so many times as long as a usual one."""
SAMPLE = 3
"""Replies that are measured, where their size depends on what was learnt."""
MOST_CLIENTS = 1 << 40


class PlannedSecureRounds(SecureRounds):
    """Counts the bytes of the protocol, and leaves its cryptography out."""

    @property
    def protocol(self) -> bool:
        """Say that there is none."""
        return False

    def beside(self, round: int, living: list[int]) -> tuple[int, int]:
        """Return the bytes of the protocol beside training, sent by all clients of a round and to them."""
        try:
            check_least(len(living), self.config)
        except Aborted:
            living = []
        self.suppose(round, list(self.cohort), living if self.aborted is None else [])
        return self.sent.total(), self.received.total()


@dataclass(frozen=True)
class PlannedRound:
    """What a round would send; columns of ``rounds.parquet``."""

    round: int
    clients_selected: int
    clients_replied: int
    bytes_up: int
    bytes_down: int
    simulated_seconds: float


@dataclass(frozen=True)
class PlannedRun:
    """What a run would send.

    Attributes:
        clients: of the fleet.
        parameters: of the model.
        rounds: the first ones, as many as were planned.
        depends: whether the size of an update depends on what was learnt, so that its bytes are an estimate.
        sum_bytes: of a sum of updates, as a worker sends it on; None: the aggregate needs single updates.
        client_bytes: cohort → what a client of it sends and is sent in a round.
        largest: cohort that the whole numbers of secure aggregation can hold; None: any.
    """

    clients: int
    parameters: int
    rounds: list[PlannedRound]
    depends: bool
    sum_bytes: int | None
    client_bytes: Callable[[int], tuple[int, int]]
    largest: int | None


def plan_run(
    experiment: Experiment, timed: Experiment, rounds: int, answer: Answer, update_norm: float = 1.0
) -> PlannedRun:
    """Return the plan of a run.

    Args:
        experiment: what would be trained on what.
        timed: the same with a virtual clock.
        rounds: how many are planned.
        answer: makes a client's reply.
        update_norm: L2 norm of what a round adds to the server's model, where differences of it are encoded.

    Raises:
        InputError: its clients send no updates, or not by the client app that is known.
    """
    config = experiment.config
    if is_reference(config.strategy.name) or not issubclass(shipped(config.strategy.name), FederatedRun):
        raise InputError(
            f"'strategy.name' is '{config.strategy.name}', whose messages are not planned; expected a strategy of"
            " federated training that FedASR ships, such as fedavg"
        )
    if config.client_app is not None:
        raise InputError(f"'client_app' is '{config.client_app}', and what it sends is not known; leave it out")
    if config.evaluate.estimate.every:
        raise InputError(
            f"'evaluate.estimate.every' is {config.evaluate.estimate.every}, and what its questions ask depends on the"
            " trained model; set it to 0 to plan the rest"
        )
    return Plan(experiment, timed, answer, update_norm).run(rounds)


class Plan:
    """Plans a run; arguments are those of ``plan_run``."""

    def __init__(self, experiment: Experiment, timed: Experiment, answer: Answer, update_norm: float) -> None:
        self.config, self.answer, self.update_norm = experiment.config, answer, update_norm
        arrays = experiment.first_weights()
        self.layout = Layout.of(arrays)
        self.weights: Vector = self.layout.flatten(arrays, np.empty(self.layout.size, np.float32))
        self.secure = self.config.secure_aggregation.mode != "none"
        strategy = shipped(self.config.strategy.name)
        assert issubclass(strategy, FederatedRun)
        make_rounds = PlannedSecureRounds if self.secure else strategy.rounds_type
        nobody: Any = None  # nothing is sent
        self.rounds: Rounds = make_rounds(
            nobody, self.config, as_json(self.config), experiment.partition, self.layout, Path()
        )
        self.rounds.frozen = FrozenTensors(experiment.frozen)
        self.rounds.teacher = LabelTeacher(self.config, self.weights).weights
        sent, reply_bytes = self.rounds.clock_bytes(lambda: self.weights, self.rounds.teacher is not None)
        self.population = Population(timed, sent, reply_bytes, self.ask)
        self.saved: list[int] = []
        """bytes that each training message was shorter than one with the whole model"""
        self.asked_bytes = 0
        self.sizes: dict[int, list[int]] = {}
        """bytes of replies, by how many numbers secure aggregation makes of an update"""

    def run(self, rounds: int) -> PlannedRun:
        """Return the plan of so many rounds."""
        done = [self.round(number) for number in range(1, rounds + 1)]
        largest = self.largest() if self.secure else None
        self.client_bytes(self.config.selection.clients_per_round)  # measures a reply where no round had any
        return PlannedRun(
            clients=self.population.clients,
            parameters=self.layout.size,
            rounds=done,
            depends=self.replies_depend() or self.differences_depend(),
            sum_bytes=self.sum_bytes(),
            client_bytes=self.client_bytes,
            largest=largest,
        )

    def round(self, number: int) -> PlannedRound:
        """Return what a round would send."""
        self.asked_bytes = 0
        population, rounds = self.population, self.rounds
        waited = population.begin(number)
        cohort = population.choose(number, waited) if devices_train(self.config) else NOBODY
        cohort = cohort.of(lambda clients: clients < population.clients)  # canary users are sent nothing
        selection = cohort.selection
        if self.config.strategy.fairness != "none":
            self.asked_bytes += self.sent_to(rounds.loss_content(number, self.weights, False), selection.clients)
            rounds.settle(selection.clients.tolist(), selection.clients.tolist())
        weighting = rounds.weighting(selection, population.roster, None)
        excused = rounds.prepare(number, selection, population.roster, weighting)
        content = rounds.training_content(number, self.weights)
        replied = [int(client) for client in cohort.answering if client not in excused]
        up = self.reply_bytes(content, self.numbers()) * len(replied)
        asked = np.array([client for client in selection.clients.tolist() if client not in excused], np.int64)
        sizes = rounds.charged(content, asked)
        self.saved += (content_bytes(content) - sizes).tolist()
        down = int(sizes.sum()) + self.asked_bytes
        rounds.settle(replied, replied)
        if isinstance(rounds, PlannedSecureRounds):
            more_up, more_down = rounds.beside(number, replied)
            up, down = up + more_up, down + more_down
        self.weights = self.moved(number)
        every = self.config.evaluate.client_side
        if every and number % every == 0:
            down += self.sent_to(rounds.content(number, self.weights, number + 1), selection.clients)
            rounds.settle(selection.clients.tolist(), selection.clients.tolist())
        self.observe(number, np.array(replied, np.int64), cohort.duration())
        return PlannedRound(number, len(selection.clients), len(replied), up, down, cohort.seconds)

    def sent_to(self, content: RecordDict, clients: Ids) -> int:
        """Return how many bytes of a message clients are sent together."""
        return int(self.rounds.charged(content, clients).sum())

    def moved(self, round: int) -> Vector:
        """Return the server's model after a round: moved by a random update where its differences are encoded."""
        if self.rounds.differences is None:
            return self.weights
        drawn = seeds.generator(self.config.seed, "pretended-round", round).standard_normal(
            self.layout.size, np.float32
        )
        return self.weights + np.float32(self.update_norm / np.linalg.norm(drawn)) * drawn

    def replies_depend(self) -> bool:
        """Say whether what clients send depends on what was learnt, or on a number of their ledgers, which is text."""
        return self.config.privacy.unit == "example" or any(len(set(sizes)) > 1 for sizes in self.sizes.values())

    def differences_depend(self) -> bool:
        """Say whether what is sent of differences depends on what was learnt: their size, or who is to get them."""
        differences = self.rounds.differences
        if differences is None:
            return False
        traits = traits_of(self.population.selector)
        if traits is None or traits.reads_losses:
            return True
        drawn = seeds.generator(self.config.seed, "compression-size").standard_normal(self.layout.size, np.float32)
        rng = seeds.generator(self.config.seed, "compression-size")
        sizes = {len(differences.codec.encode(vector, rng)) for vector in (drawn, np.zeros_like(drawn))}
        return len(sizes | set(map(len, differences.messages.values()))) > 1

    def observe(self, round: int, clients: Ids, durations: dict[int, float]) -> None:
        """Note who took part, for the selector; every loss is 1."""
        ones, examples = np.ones(len(clients)), self.population.roster.utterances[clients]
        took = np.array([durations[client] for client in clients.tolist()], np.float64)
        self.population.observe(Feedback(round, clients, ones, ones, examples, took, np.zeros(0, np.int64)))

    def ask(self, round: int, clients: Ids) -> Floats:
        """Answer the selector's question for losses: every loss is 1."""
        content = self.rounds.loss_content(round, self.weights, self.config.selection.probe == "batch")
        self.asked_bytes += self.sent_to(content, clients)
        self.rounds.settle(clients.tolist(), clients.tolist())
        return np.ones(len(clients))

    def numbers(self) -> int:
        """Return how many numbers secure aggregation makes of an update in the current round; 0 without it."""
        return self.rounds.coder().length if isinstance(self.rounds, SecureRounds) else 0

    def reply_bytes(self, content: Any, numbers: int) -> int:
        """Return how many bytes a client's reply has to training content, on average."""
        if numbers not in self.sizes:
            self.sizes[numbers] = self.measured(content)
        return round(float(np.mean(self.sizes[numbers][:SAMPLE])))

    def measured(self, content: Any) -> list[int]:
        """Return the sizes of replies: of some with a random update, and of one with none."""
        asked = shallow_copy(content)
        order = Order.from_record(content[Record.CONFIG], "the plan")
        tree = json.loads(order.experiment)
        if self.secure:
            tree["secure_aggregation"]["mode"] = "simulate"  # nobody has shared secrets
        asked[Record.CONFIG] = replace(order, experiment=json.dumps(tree)).to_record()
        lengths = [*np.ones(SAMPLE), 0.0]
        messages = self.rounds.messages(Kind.TRAIN, order.round, asked, list(range(len(lengths))))
        return [
            content_bytes(self.answer(message, float(length)).content)
            for message, length in zip(messages, lengths, strict=True)
        ]

    def client_bytes(self, cohort: int) -> tuple[int, int]:
        """Return what a client of a cohort sends and is sent in a round; of secure aggregation, where all answer."""
        saved = round(float(np.mean(self.saved))) if self.saved else 0
        if not self.secure:
            content = self.rounds.training_content(1, self.weights)
            return self.reply_bytes(content, 0), content_bytes(content) - saved
        assert isinstance(self.rounds, PlannedSecureRounds)
        content = Rounds.training_content(self.rounds, 1, self.weights)
        coder = make_coder(self.sized(cohort), self.layout.size, cohort, 1)
        holders = self.rounds.terms(1).holders(cohort)
        content[Record.SECURE] = unconfirmed_masking(cohort, 1, holders).to_record()
        up = self.reply_bytes(content, coder.length)
        cost = traffic(Order(1, self.rounds.config_json), cohort, holders)
        down = content_bytes(content) - saved + cost.down + cost.opening_down
        return up + cost.up + cost.opening_up, down

    def sized(self, cohort: int) -> Config:
        """Return the config with another cohort."""
        return replace(self.config, selection=replace(self.config.selection, clients_per_round=cohort))

    def largest(self) -> int:
        """Return the largest cohort whose sum the whole numbers of secure aggregation hold."""

        def fits(cohort: int) -> bool:
            try:
                make_coder(self.sized(cohort), self.layout.size, cohort, 1)
            except InputError:
                return False
            return True

        low, high = self.config.selection.clients_per_round, MOST_CLIENTS
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low

    def sum_bytes(self) -> int | None:
        """Return the bytes of a sum of updates; None where the aggregate needs single updates."""
        aggregate = self.rounds.aggregate(1, self.weights, Weighting("uniform", {}, 1.0), None)
        return int(aggregate.sum.nbytes) if aggregate.sums_alone else None
