"""The teachers as the server sees them: messages that make them learn, and messages that make them vote."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedasr.errors import InputError
from fedasr.experiment import Experiment, as_json
from fedasr.flower.records import array_record, content_bytes
from fedasr.models.weights import Layout, Vector, sha256
from fedasr.privacy.pate.noise import ONE, from_fixed, noise_generator, with_share
from fedasr.protocol import Code, Kind, Name, Order, Record, Status, VoteOrder
from fedasr.typing import Floats

from ..aggregation.replies import ReplyRefused, check_size, metrics_of, only_array
from ..frozen_tensors import FrozenTensors
from ..nodes import node_ids
from ..rounds import TooManyFailures, failed_row
from .aggregator import count_votes
from .public import PublicSpeech
from .units import Questions

AT_A_TIME = 64
"""Teachers that are trained between two looks at whether somebody wants the run to stop."""
ROUND = 0
"""What messages call the time of the teachers, before the student's rounds."""


@dataclass
class Ballot:
    """The votes on some questions."""

    counts: Floats | None
    """votes, or sums of posteriors, shape ``(questions, classes)``; with the noise where the teachers add it; None: the
    sum was not opened"""
    voted: list[int] = field(default_factory=list)
    """whose votes are in it"""
    bytes_up: dict[int, int] = field(default_factory=dict)
    """client → what it has sent"""
    bytes_down: dict[int, int] = field(default_factory=dict)
    """client → what it was sent"""
    failures: list[str] = field(default_factory=list)
    lost: str | None = None
    """why the sum was not opened"""

    def rows(self, number: int, questions: int, names: Sequence[object]) -> list[dict[str, Any]]:
        """Return the rows of ``ballots.parquet``.

        Args:
            number: of the first question, counted over the run.
            questions: how many there are.
            names: of the clients.
        """
        voted = set(self.voted)
        return [
            {
                "query": number,
                "queries": questions,
                "client": str(names[client]),
                "counted": client in voted,
                "bytes_up": self.bytes_up.get(client, 0),
                "bytes_down": received,
            }
            for client, received in sorted(self.bytes_down.items())
        ]


class Teachers:
    """Every client of the partition is one.

    Args:
        grid: any Flower grid.
        run: the experiment.
        start: the public weights that every teacher starts from, shape ``(parameters,)``.
        layout: of the model.
    """

    def __init__(self, grid: Grid, run: Experiment, start: Vector, layout: Layout) -> None:
        self.grid = grid
        self.run = run
        self.config = run.config
        self.config_json = as_json(run.config)
        self.partition = run.partition
        self.nodes = node_ids(grid, len(run.partition))
        arrays = layout.views(start)
        order = Order(ROUND, self.config_json).to_record()
        self.lesson = RecordDict({Record.ARRAYS: array_record(arrays), Record.CONFIG: order})
        self.start = sha256(run.whole(arrays))
        self.speech: tuple[bytes, RecordDict] = b"", RecordDict()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.partition)

    @property
    def devices(self) -> int:
        """How many take part."""
        return len(self)

    @property
    def lesson_bytes(self) -> int:
        """Bytes of the message that makes one learn, with the frozen tensors, which it needs once."""
        return content_bytes(self.lesson) + FrozenTensors(self.run.frozen).bytes

    def send(self, kind: str, content: RecordDict, clients: list[int]) -> Iterator[tuple[int, Message]]:
        """Send one content to clients and yield each reply with its client."""
        ids = clients if self.nodes is None else [self.nodes[client] for client in clients]
        by_node = dict(zip(ids, clients, strict=True))
        messages = [Message(content, node, kind, group_id=str(ROUND)) for node in ids]
        for reply in self.grid.send_and_receive(messages):
            # Nobody else was asked, and nobody votes twice.
            client = by_node.pop(reply.metadata.src_node_id, None)
            if client is not None:
                yield client, reply

    def train(self) -> Iterator[list[dict[str, Any]]]:
        """Let all teachers learn, those with the most audio first; yield the rows of ``clients.parquet`` in blocks.

        Raises:
            InputError: a teacher met wrong input, such as an audio file that cannot be decoded.
        """
        seconds = self.run.roster().seconds
        clients = np.arange(len(self))
        if self.config.runtime.longest_first:
            clients = clients[np.lexsort((clients, -seconds))]
        for first in range(0, len(clients), AT_A_TIME):
            block: list[int] = clients[first : first + AT_A_TIME].tolist()
            rows = {client: failed_row("no reply") for client in block}
            for client, reply in self.send(Kind.TEACH, self.lesson, block):
                rows[client] = taught_row(reply)
            names = self.partition.names
            yield [
                {"round": 0, "client": str(names[client]), "probability": 1.0, **row, "id": client}
                for client, row in rows.items()
            ]

    def ask(self, questions: Questions, classes: int, number: int, public: PublicSpeech, clients: list[int]) -> Ballot:
        """Let teachers vote.

        Args:
            questions: of one message.
            classes: how many answers there are.
            number: of the first question, counted over the run.
            public: has the speech.
            clients: who is asked: those that have learnt.

        Raises:
            InputError: a teacher met wrong input.
            TooManyFailures: more of them failed than ``strategy.max_failed_share`` allows.
        """
        pate = self.config.pate
        content = self.question(questions, classes, number, public)
        soft, exact = pate.mechanism.startswith("soft-"), pate.noise_at == "server"
        plain = exact and not soft
        counts = np.zeros((len(questions), classes))
        ballot = Ballot(counts, bytes_down=dict.fromkeys(clients, content_bytes(content)))
        total = np.zeros((len(questions), classes), np.int64)
        for client, reply in self.send(Kind.VOTE, content, clients):
            try:
                wanted = (len(questions),) if plain else total.shape
                votes = self.votes_of(reply, wanted, posteriors=soft and exact)
            except ReplyRefused as refused:
                ballot.failures.append(f"{refused} ({self.partition.names[client]})")
                continue
            ballot.bytes_up[client] = content_bytes(reply.content)
            ballot.voted.append(client)
            if plain:
                count_votes(counts, votes)
            else:
                total += votes
        missing = len(clients) - len(ballot.voted)
        if missing > len(ballot.failures):
            ballot.failures.append(f"{missing - len(ballot.failures)} teachers: no reply")
        self.check_failures("votes", missing, len(clients), ballot.failures)
        if not plain:
            counts = from_fixed(total)
        if not exact:
            counts = counts + self.missing_noise(total.shape, number, len(self) - len(ballot.voted))
        ballot.counts = counts
        return ballot

    def votes_of(self, reply: Message, shape: tuple[int, ...], posteriors: bool) -> npt.NDArray[np.int64]:
        """Return the votes of a reply.

        Args:
            reply: of a teacher.
            shape: that they must have.
            posteriors: whether each row must be a distribution in fixed point.

        Raises:
            ReplyRefused: it is an error, or the votes cannot be.
            InputError: the teacher met wrong input.
        """
        if reply.has_error():
            raise ReplyRefused(failure(reply))
        votes: npt.NDArray[np.int64] = only_array(reply, Record.VOTES, Name.VOTES, "int64", shape)
        # What no honest share of noise reaches; the sum over all teachers stays a 64-bit number.
        if votes.size and max(int(votes.max()), -int(votes.min())) > 2**62 // max(1, len(self)):
            raise ReplyRefused("votes that are too large to be added up")
        if posteriors and not are_posteriors(votes):
            raise ReplyRefused("posteriors that sum to more than one")
        return votes

    def question(self, questions: Questions, classes: int, number: int, public: PublicSpeech) -> RecordDict:
        """Return what every teacher is sent: speech, token sequences, and what to do with them."""
        key = questions.speech.tobytes()
        if self.speech[0] != key:
            self.speech = key, RecordDict({Record.SPEECH: array_record(public.features(questions.speech))})
        pate = self.config.pate
        order = VoteOrder(
            round=ROUND,
            experiment=self.config_json,
            start=self.start,
            unit=pate.unit,
            internal_lm=pate.internal_lm,
            classes=classes,
            number=number,
            teachers=len(self),
        )
        return RecordDict(
            {
                Record.SPEECH: self.speech[1][Record.SPEECH],
                Record.QUESTIONS: array_record({Name.TOKENS: questions.tokens, Name.LENGTHS: questions.lengths}),
                Record.CONFIG: order.to_record(),
            }
        )

    def missing_noise(self, size: tuple[int, ...], number: int, missing: int) -> Floats:
        """Return the shares of teachers that did not answer, so that the noise is all there."""
        if not missing:
            return np.zeros(size)
        pate, privacy = self.config.pate, self.config.privacy
        rng = noise_generator(privacy.secret_noise, self.config.seed, "pate-missing-noise", number)
        return with_share(pate.mechanism, pate.scale, np.zeros(size), rng, len(self), missing)

    def check_failures(self, what: str, failed: int, asked: int, failures: Iterable[str]) -> None:
        """Raise where too many teachers failed.

        Raises:
            TooManyFailures: a larger share than ``strategy.max_failed_share``, or all.
        """
        allowed = self.config.strategy.max_failed_share
        if asked and (failed / asked > allowed or failed == asked):
            raise TooManyFailures(
                f"{what}: {failed} of {asked} teachers failed (strategy.max_failed_share is {allowed}); the first:"
                f" {next(iter(failures), '')}"
            )


def are_posteriors(votes: npt.NDArray[np.int64]) -> bool:
    """Say whether rows in fixed point are probabilities that sum to one at most, but for rounding."""
    return bool((votes >= 0).all() and (votes.sum(axis=1) <= ONE + votes.shape[1]).all())


def failure(reply: Message) -> str:
    """Return why a reply is an error, in a line.

    Raises:
        InputError: the client met wrong input.
    """
    reason = str(reply.error.reason or f"error {reply.error.code}")
    if reply.error.code == Code.BAD_INPUT:
        raise InputError(reason, where="")
    return (reason.strip().splitlines() or ["failed without a word"])[0]


def taught_row(reply: Message) -> dict[str, Any]:
    """Return the row of a teacher that has learnt, or of one that failed or said what cannot be."""
    if reply.has_error():
        return failed_row(failure(reply))
    try:
        check_size(content_bytes(reply.content))
        metrics_of(reply)
        return {**failed_row(None, Status.OK), "bytes_up": content_bytes(reply.content)}
    except ReplyRefused as refused:
        return failed_row(str(refused))
