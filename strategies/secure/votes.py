"""Teachers of whose votes the server learns sums alone: those of a message's questions, with the noise in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from flwr.app import Message
from flwr.serverapp import Grid

from fedasr.experiment import Experiment
from fedasr.flower.records import content_bytes
from fedasr.models.weights import Layout, Vector
from fedasr.protocol import Kind, Masking, Record
from fedasr.secure.modulus import Residues, packed_bytes
from fedasr.secure.terms import VOTES, Aborted, round_of_votes
from fedasr.secure.votes import VoteCoder

from ..aggregation.replies import ROOM, ReplyRefused, check_size
from ..pate.public import PublicSpeech
from ..pate.teachers import Ballot, Teachers, failure
from ..pate.units import Questions
from .messages import residues_of
from .rounds import SecureRounds, not_opened


class SecureTeachers(Teachers):
    """Every message of questions has a sum of its own, with keys and masks of its own.

    Args:
        grid: any Flower grid.
        run: the experiment.
        start: the public weights that every teacher starts from, shape ``(parameters,)``.
        layout: of the model.
    """

    def __init__(self, grid: Grid, run: Experiment, start: Vector, layout: Layout) -> None:
        super().__init__(grid, run, start, layout)
        self.coder = VoteCoder.of(run.config, len(self))
        self.rounds = SecureRounds(grid, run.config, self.config_json, run.partition, layout, Path())
        self.rounds.nodes = self.nodes

    def ask(self, questions: Questions, classes: int, number: int, public: PublicSpeech, clients: list[int]) -> Ballot:
        """Let teachers vote, and open the sum of their votes; without counts where it is not opened.

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
        rounds, round, shape = self.rounds, round_of_votes(number), (len(questions), classes)
        length, failures = len(questions) * classes, list[str]()
        reached, told = list[int](), dict[int, Residues]()
        content = self.question(questions, classes, number, public)

        def tell(asked: list[int], masking: Masking) -> dict[int, Residues]:
            reached.extend(asked)
            content[Record.SECURE] = masking.to_record()
            rounds.received.update(dict(zip(asked, rounds.sizes(content, np.array(asked)).tolist(), strict=True)))
            messages = rounds.messages(Kind.VOTE, round, content, asked)
            by_node = {m.metadata.dst_node_id: client for m, client in zip(messages, asked, strict=True)}
            for reply in rounds.replies(messages):
                client = by_node[reply.metadata.src_node_id]
                try:
                    told[client] = self.masked_votes(reply, length)
                    rounds.sent[client] += content_bytes(reply.content)
                except ReplyRefused as refused:
                    failures.append(f"{refused} ({self.partition.names[client]})")
            silent = len(asked) - len(told) - len(failures)
            if silent:
                failures.append(f"{silent} teachers: no reply")
            return told

        ballot = Ballot(None)
        try:
            total, _ = rounds.summed(round, clients, length, VOTES, tell)
            ballot.counts, ballot.voted = self.coder.decode(total).reshape(shape), sorted(told)
        except Aborted as why:
            ballot.lost = not_opened(why)
        notes = rounds.take_notes()
        ballot.failures = [*notes, *failures]
        ballot.bytes_up, ballot.bytes_down = dict(rounds.sent), dict(rounds.received)
        failed = len(clients) - len(told) if reached else len(notes)
        self.check_failures("votes", failed, len(clients), ballot.failures)
        return ballot

    def masked_votes(self, reply: Message, length: int) -> Residues:
        """Return the numbers of a reply.

        Raises:
            ReplyRefused: it is an error, or holds something else.
            InputError: the teacher met wrong input.
        """
        if reply.has_error():
            raise ReplyRefused(failure(reply))
        check_size(content_bytes(reply.content), ROOM + packed_bytes(length, self.coder.bits))
        return residues_of(reply, Record.VOTES, length, self.coder.bits, "votes")
