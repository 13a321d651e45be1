"""Votes of an earlier run in the place of teachers: to compare mechanisms, noise, budgets and students, or to see what
more teachers that vote alike would give.

Every run that releases labels of the same votes spends anew: what is published of several runs adds up. That holds of
noise that is independent from run to run, hence of ``privacy.secret_noise``; of one seed they have the same draws.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from fedasr import seeds
from fedasr.config import Config
from fedasr.errors import InputError
from fedasr.paths import is_file, of_seed
from fedasr.privacy.pate.votes import read_votes
from fedasr.runtime.launch import read_summary
from fedasr.typing import Floats

from .public import PUBLIC_JSON, PublicSpeech
from .teachers import Ballot
from .units import Questions


class RecordedVotes:
    """Votes on the same public speech, as the run found them or as so many teachers would cast them.

    Args:
        config: of this run; ``pate.votes_from`` is the earlier one's folder.
        public: the speech of this run, in the order in which it is asked about; where ``pate.queries`` is absent, what
            no votes are about is taken out of it.

    Raises:
        InputError: there are no exact votes, or they are about other speech or candidates.
    """

    devices = 0
    """that take part: none"""
    lesson_bytes = 0

    def __init__(self, config: Config, public: PublicSpeech) -> None:
        folder = of_seed(str(config.pate.votes_from), config.seed)
        self.folder = folder
        self.config = config
        for name in ("votes.npy", PUBLIC_JSON):
            if not is_file(folder / name):
                raise InputError(
                    f"'pate.votes_from' is '{folder}', which has no {name}; expected the folder of a PATE run with unit"
                    " 'utterance' whose server saw the votes"
                )
        self.votes = read_votes(folder / "votes.npy")
        wanted = config.pate.queries
        if wanted is None:
            public.keep(np.arange(min(len(self.votes), len(public))))
        elif wanted > len(self.votes):
            raise InputError(
                f"has votes on {len(self.votes)} utterances, but 'pate.queries' is {wanted}; set it to as many or"
                " fewer, or leave it out",
                where=str(folder / "votes.npy"),
            )
        self.check_public(public)
        self.recorded = int(read_summary(folder).get("clients") or 0)
        most = int(self.votes.sum(axis=1).max())
        if self.recorded < most:
            raise InputError(f"says {self.recorded} clients, but a query has {most} votes", where=str(folder))

    def __len__(self) -> int:
        """Return how many teachers there are, or would be."""
        return self.config.pate.simulated_teachers or self.recorded

    def train(self) -> Iterator[list[dict[str, Any]]]:
        """Yield nothing: nobody learns."""
        yield from ()

    def ask(self, questions: Questions, classes: int, number: int, public: PublicSpeech, clients: list[int]) -> Ballot:
        """Return the votes on utterances.

        Args:
            questions: of one message.
            classes: how many answers there are.
            number: of the first question; not read, as are the speech and the clients.
            public: has the speech.
            clients: nobody.
        """
        return Ballot(np.stack([self.counts(utterance) for utterance in questions.speech.tolist()]))

    def check_public(self, public: PublicSpeech) -> None:
        """Raise where the votes were about other speech, or among other candidates.

        Raises:
            InputError: they were.
        """
        where = str(self.folder / PUBLIC_JSON)
        try:
            before = json.loads((self.folder / PUBLIC_JSON).read_text(encoding="utf-8"))
            speech, candidates = list(before["speech"]), list(before["candidates"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"is damaged ({error}); run the teachers again", where=where) from None
        now = public.described()
        if candidates != now["candidates"] or self.votes.shape[1] != len(candidates):
            raise InputError("the votes were among other candidates; set 'pate.candidates' alike", where=where)
        if speech[: len(public)] != now["speech"]:
            raise InputError(
                "the votes were about other speech, or in another order; set 'seed', 'pate.public', 'data.features' and"
                " the bounds of confidence alike",
                where=where,
            )

    def counts(self, utterance: int) -> Floats:
        """Return the votes on an utterance, shape ``(classes,)``: as recorded, or drawn with the recorded shares."""
        cast: Floats = self.votes[utterance]
        teachers = self.config.pate.simulated_teachers
        if teachers is None:
            return cast
        rng = seeds.generator(self.config.seed, "pate-simulated-votes", utterance)
        shares = np.append(cast, max(self.recorded - cast.sum(), 0.0)) / max(self.recorded, 1)
        return np.asarray(rng.multinomial(teachers, shares / shares.sum())[:-1], np.float64)

    def check_failures(self, what: str, failed: int, asked: int, failures: list[str]) -> None:
        """Nobody can fail."""
