"""Who may have been a member: units of which the run drew at random which it would train on, and nobody else.

Members and non-members are exchangeable only where a coin told them apart. Everything else (other voices, another
microphone, longer sentences) gives an attacker without any model an advantage.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fedasr.data.draws import uniforms
from fedasr.data.splits import PUBLIC_SPLIT, hold_out
from fedasr.errors import InputError
from fedasr.experiment import Experiment
from fedasr.results.load import Run

Rows = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]
UNITS = ("utterance", "speaker")
MOST_OF_A_SPEAKER = 8
"""Utterances by which a speaker is judged."""


@dataclass(frozen=True)
class Drawn:
    """What one run drew: of each utterance of the corpus whether it was trained on, or held out by chance.

    Args:
        trained: shape ``(corpus,)``.
        held: shape ``(corpus,)``; what is neither was not drawn at all.
        clients: who holds it, −1: nobody, shape ``(corpus,)``.
    """

    trained: Bools
    held: Bools
    clients: npt.NDArray[np.int64]


def drawn(experiment: Experiment, run: Run, unit: str, split: str | None = None) -> Drawn:
    """Return what a run drew.

    Args:
        experiment: of the run.
        run: which tells who took part.
        unit: ``utterance`` or ``speaker``.
        split: of the speakers that were left out; None: one that was drawn at random.

    Raises:
        InputError: nothing was left out at random.
    """
    if experiment.config.stream.arrival != "static":
        raise InputError(
            f"'stream.arrival' is '{experiment.config.stream.arrival}', where an utterance is a member in some rounds"
            " only; audit a run with stream.arrival=static",
            where=str(run.path),
        )
    size = len(experiment.corpus)
    trained, held, clients = np.zeros(size, bool), np.zeros(size, bool), np.full(size, -1)
    partition = experiment.partition
    present = took_part(experiment, run)
    trained[partition.rows[present[partition.clients]]] = True
    clients[partition.rows] = partition.clients
    if unit == "utterance":
        out = experiment.held_out
        if split is not None:
            raise InputError(
                f"'{split}' is of other speakers, so that an utterance's voice tells that it is no member; the"
                " non-members of unit 'utterance' are what evaluate.held_out leaves out",
                where="--non-members",
            )
        if out is None:
            raise InputError(
                "'evaluate.held_out' is 0, so that no utterance was left out of training at random, and those of"
                f" '{experiment.config.data.test_split}' are of other speakers; audit a run with evaluate.held_out=0.5",
                where=str(run.path),
            )
        held[out.rows[present[out.clients]]] = True
        clients[out.rows] = out.clients
    else:
        held[left_out(experiment, run, split)] = True
    return Drawn(trained, held, clients)


def took_part(experiment: Experiment, run: Run) -> Bools:
    """Return which clients count as trained on, shape ``(clients,)``.

    Without privacy those that took part in a round. Under a ledger all of them: it may count on nobody knowing who took
    part, and a selection by who did would beat it.
    """
    everybody = np.ones(len(experiment.partition), bool)
    config = experiment.config
    if run.privacy is not None or config.strategy.name in ("central", "pate") or not len(run.clients):
        return everybody
    names = set(run.clients.loc[run.clients["status"] == "ok", "client"].astype(str))
    return np.array([str(name) in names for name in experiment.partition.names], bool)


def left_out(experiment: Experiment, run: Run, split: str | None) -> Rows:
    """Return the rows of the speakers that were left out at random.

    Raises:
        InputError: there are none, or the split was not drawn at random, or something else was trained on it.
    """
    config = experiment.config
    data = config.data
    chosen = split or (PUBLIC_SPLIT if data.public_share else data.test_split)
    if not randomly_drawn(experiment, chosen):
        other = (
            "whose voices no training speaker has"
            if data.corpus == "synthetic"
            else "which its makers chose, and not a coin"
        )
        raise InputError(
            f"the speakers of split '{chosen}', {other}, are not exchangeable with those of '{data.train_split}': an"
            " attacker without a model tells them apart; audit a run with data.public_share=0.5, which leaves speakers"
            " out at random",
            where=str(run.path) if split is None else "--non-members",
        )
    if config.strategy.name == "pate" and config.pate.public.split == chosen and chosen == PUBLIC_SPLIT:
        raise InputError(
            f"the student was trained on the speakers of split '{chosen}' ('pate.public.split'), so that they are no"
            " non-members; audit a run whose public speech is of another corpus",
            where=str(run.path),
        )
    return experiment.rows(chosen)


def randomly_drawn(experiment: Experiment, split: str) -> bool:
    """Return whether a coin, and nothing else, told the speakers of a split from the training speakers."""
    data, seed = experiment.config.data, experiment.config.seed
    if split == PUBLIC_SPLIT and data.public_share:
        return True
    if split != data.test_split or data.corpus == "synthetic":
        return False
    splits = np.array(experiment.corpus.columns["split"], dtype=object)
    splits[splits == PUBLIC_SPLIT] = data.train_split  # set aside afterwards
    speakers = np.asarray(experiment.corpus.columns["speaker"])
    drawn = hold_out(speakers, data.held_out, seed, data.train_split, data.test_split)
    return bool((drawn == splits).all())


class Candidates:
    """The units that are looked at, and the utterances by which.

    Args:
        experiment: of the run that is attacked.
        run: of the same.
        unit: ``utterance`` or ``speaker``.
        limit: units at most.
        split: as in ``drawn``.

    Attributes:
        rows: the utterances, shape ``(utterances,)``.
        unit_of: which unit each belongs to, shape ``(utterances,)``.
        speakers: of each unit, shape ``(units,)``.
    """

    def __init__(self, experiment: Experiment, run: Run, unit: str, limit: int, split: str | None = None) -> None:
        self.unit = unit
        self.split = split
        self.experiment = experiment
        self.run = run
        first = self.first
        seed = experiment.config.seed
        names = np.asarray(experiment.corpus.columns["speaker"]).astype(str)
        known = np.flatnonzero(first.trained | first.held)
        if unit == "utterance":
            both = np.intersect1d(first.clients[first.trained], first.clients[first.held])
            known = known[np.isin(first.clients[known], both)]
            # Whole clients, so that members and non-members stay as many of each.
            order = both[np.argsort(uniforms(seed, "audit/clients", both), kind="stable")]
            sizes = np.array([np.count_nonzero(first.clients[known] == client) for client in order])
            fits = order[np.cumsum(sizes) <= max(limit, sizes[0] if len(sizes) else 0)]
            self.rows = known[np.isin(first.clients[known], fits)]
            self.unit_of = np.arange(len(self.rows))
            self.speakers = names[self.rows]
        else:
            people = np.unique(names[known])
            inside = np.isin(people, names[first.trained])
            kept = np.zeros(len(people), bool)
            for kind in (inside, ~inside):
                place = np.flatnonzero(kind)
                kept[place[np.argsort(uniforms(seed, "audit/speakers", place))][: limit // 2]] = True
            self.speakers = people[kept]
            where = {name: number for number, name in enumerate(self.speakers.tolist())}
            mixed = known[np.argsort(uniforms(seed, "audit/utterances", known))]
            counts = np.zeros(len(self.speakers), int)
            chosen: list[int] = []
            for row in mixed.tolist():
                number = where.get(names[row])
                if number is not None and counts[number] < MOST_OF_A_SPEAKER:
                    counts[number] += 1
                    chosen.append(row)
            self.rows = np.sort(np.array(chosen, np.int64))
            self.unit_of = np.array([where[name] for name in names[self.rows]], np.int64)
        if not len(self.rows):
            raise InputError(
                "no client has both an utterance that was trained on and one that was left out", where=str(run.path)
            )

    @cached_property
    def first(self) -> Drawn:
        """What the attacked run drew."""
        return drawn(self.experiment, self.run, self.unit, self.split)

    def __len__(self) -> int:
        """Return the number of units."""
        return len(self.speakers)

    def mean(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the mean over the utterances of each unit, ``(..., units)``, of values ``(..., utterances)``."""
        counts = np.bincount(self.unit_of, minlength=len(self))
        flat = values.reshape(-1, values.shape[-1])
        sums = np.stack([np.bincount(self.unit_of, row, len(self)) for row in flat])
        return (sums / counts).reshape(*values.shape[:-1], len(self))

    def members(self, what: Drawn) -> Bools:
        """Return which units a run was trained on, shape ``(units,)``."""
        result = np.zeros(len(self), bool)
        np.logical_or.at(result, self.unit_of, what.trained[self.rows])
        return result

    def compared(self, what: Drawn, seed: int) -> Bools:
        """Return the units on which an attack on a run is judged: as many members as non-members of each client.

        Clients give up a rounded share of what they hold; without this, somebody's being a light user would tell.

        Args:
            what: the run drew.
            seed: of the run.
        """
        members = self.members(what)
        out = np.zeros(len(self), bool)
        np.logical_or.at(out, self.unit_of, what.held[self.rows])
        out &= ~members
        if self.unit == "speaker":
            return members | out
        kept = np.zeros(len(self), bool)
        clients, draws = what.clients[self.rows], uniforms(seed, "audit/compared", self.rows)
        for client in np.unique(clients):
            mine = [np.flatnonzero((clients == client) & kind) for kind in (members, out)]
            fewer = min(map(len, mine))
            for rows in mine:
                kept[rows[np.argsort(draws[rows], kind="stable")[:fewer]]] = True
        return kept
