"""The error rate on the devices' own speech, estimated without their transcripts; see ``fedasr/evaluation``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict

from fedasr import seeds
from fedasr.config import Config
from fedasr.data.machine_labels import Untranscribed
from fedasr.data.roster import Roster
from fedasr.errors import InputError, one_line
from fedasr.evaluation.calibration import Calibration, fitted
from fedasr.evaluation.drift import MEANING, alarms, excess_rate, expected_rate
from fedasr.evaluation.prediction_powered import EXPECTED, PANEL, Sums, estimated
from fedasr.evaluation.secure_sums import ALL, MOST_GROUPS
from fedasr.evaluation.wer import utterance_errors
from fedasr.experiment import Experiment
from fedasr.flower.records import content_bytes, entries
from fedasr.models.weights import Layout, Vector, load_arrays
from fedasr.protocol import Code, EstimateOrder, Key, Kind, Longest, Record, shown
from fedasr.runtime.run_folder import RunFolder
from fedasr.training.self_labels import Hypotheses, hear

from ..aggregation.replies import ERRORS_PER_SECOND, WORDS_PER_SECOND, ReplyRefused, Store, check_size
from ..rounds import Rounds
from ..selection.base import Ids

CALIBRATED_ON = 256
"""Utterances of the test speech, at most, that expectations are fitted on."""


@dataclass
class Tally:
    """What the devices have counted of a group."""

    fleet: Sums = field(default_factory=lambda: Sums.nobody(len(EXPECTED)))
    panel: Sums = field(default_factory=lambda: Sums.nobody(len(PANEL)))
    spoken: int = 0
    """words of the panel's transcripts"""
    truth: tuple[int, int] = (0, 0)
    """errors and words, in a simulation"""

    def add(self, told: Mapping[str, Any]) -> None:
        """Add what a device has counted."""
        sums = Sums.of(told["values"])
        if told["panel"]:
            self.panel += sums
        else:
            self.fleet += sums
        self.spoken += told["spoken"]
        if "truth" in told:
            self.truth = self.truth[0] + told["truth"][0], self.truth[1] + told["truth"][1]

    def row(self, round: int, group: str) -> dict[str, Any]:
        """Return the row of ``estimates.parquet``."""
        column, value = json.loads(group) if group else ("", "")
        result, alone = estimated(self.fleet, self.panel), estimated(self.fleet, self.panel, weight=0.0)
        errors, words = self.truth
        expected, excess = expected_rate(self.fleet, self.panel), excess_rate(self.panel)
        return {
            "round": round,
            "column": column,
            "value": value,
            "wer_estimate": result.wer,
            "wer_low": result.low,
            "wer_high": result.high,
            "panel_words": self.spoken,
            "panel_speakers": whole(self.panel.speakers),
            "fleet_speakers": whole(self.fleet.speakers),
            "weight": result.weight,
            "panel_low": alone.low,
            "panel_high": alone.high,
            "fleet_wer": errors / words if words else float("nan"),
            "expected_wer": expected.value,
            "expected_low": expected.low,
            "expected_high": expected.high,
            "excess": excess.value,
            "excess_low": excess.low,
            "excess_high": excess.high,
        }


def whole(speakers: float) -> int:
    """Return a number of speakers, which noise may have moved."""
    return max(0, round(speakers))


class EstimateTraffic(NamedTuple):
    """Bytes of an estimate."""

    up: int
    down: int


class FleetEstimates:
    """Asks devices what errors they expect, and estimates.

    Args:
        run: the experiment.
        rounds: sends the messages.
        layout: of the model.
        folder: of the run, whose earlier estimates the alarms are held against.
    """

    def __init__(self, run: Experiment, rounds: Rounds, layout: Layout, folder: RunFolder) -> None:
        self.run = run
        self.folder = folder
        self.settings = run.config.evaluate.estimate
        self.rounds = rounds
        self.layout = layout

    def due(self, round: int) -> bool:
        """Say whether there is an estimate after a round."""
        return bool(self.settings.every) and round % self.settings.every == 0

    def after(self, round: int, weights: Vector, roster: Roster) -> tuple[list[dict[str, Any]], EstimateTraffic]:
        """Return the rows of ``estimates.parquet`` after a round, all speech first, and the bytes sent.

        Raises:
            InputError: a client met wrong input.
        """
        stored = self.stores(round, roster)
        tallies, traffic = self.gathered(round, weights, self.asked(round, stored, roster), stored)
        rows = [tallies[group].row(round, group) for group in sorted(tallies)]
        return self.watched(rows), traffic

    def content(self, round: int, weights: Vector, groups: str | None = None) -> RecordDict:
        """Return what every device is sent that is asked."""
        content = self.rounds.content(round, weights, round + 1)
        # Expectations are of the model that devices hear with, which is not the server's where differences are encoded.
        calibration = self.calibration(self.rounds.held(round + 1, weights))
        order = EstimateOrder(round, self.rounds.config_json, calibration.to_json(), groups)
        content[Record.CONFIG] = order.to_record()
        return content

    def gathered(
        self, round: int, weights: Vector, clients: Ids, stored: Mapping[int, Store]
    ) -> tuple[dict[str, Tally], EstimateTraffic]:
        """Return group → what devices have counted of it, all speech at least, and the bytes sent.

        Args:
            round: counted from 1.
            weights: the global weights.
            clients: who is asked.
            stored: what each of them holds.

        Raises:
            InputError: a client met wrong input.
        """
        content = self.content(round, weights)
        down, up = int(self.rounds.charged(content, clients).sum()), 0
        messages = self.rounds.messages(Kind.ESTIMATE, round, content, clients.tolist())
        by_node = {m.metadata.dst_node_id: client for m, client in zip(messages, clients.tolist(), strict=True)}
        told: dict[int, dict[str, Any]] = {}
        for reply in self.rounds.replies(messages):
            client = by_node[reply.metadata.src_node_id]
            up += 0 if reply.has_error() else content_bytes(reply.content)
            try:
                told[client] = self.read(reply, stored[client])
            except ReplyRefused as error:
                self.rounds.refuse(Kind.ESTIMATE, client, error)
        self.rounds.settle(clients.tolist(), told)
        # Replies may come in any order, and sums are rounded.
        return self.tallied(round, [told[client] for client in sorted(told)]), EstimateTraffic(up, down)

    def tallied(self, round: int, told: list[dict[str, Any]]) -> dict[str, Tally]:
        """Return group → what devices have counted of it, all speech at least.

        Args:
            round: counted from 1.
            told: of each device, group → what it has counted.
        """
        tallies: dict[str, Tally] = {ALL: Tally()}
        for counted in told:
            for group, counts in counted.items():
                tallies.setdefault(group, Tally()).add(counts)
        return tallies

    def watched(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return rows with their alarms, which are held against the estimates that the run has written."""
        earlier: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in self.folder.rows("estimates"):
            if row["round"] < rows[0]["round"]:
                earlier.setdefault((row["column"], row["value"]), []).append(row)
        return [
            {**row, "alarms": " ".join(alarms(row, earlier.get((row["column"], row["value"]), [])))} for row in rows
        ]

    def stores(self, round: int, roster: Roster) -> dict[int, Store]:
        """Return what the clients hold that hold something, whether or not they may train on it."""
        if self.run.fleet is not None:
            return self.rounds.stores(roster, np.flatnonzero(roster.utterances > 0).tolist())
        held = self.run.stream.counts(self.run.stream.period_of_round(round))
        there = np.flatnonzero(held.utterances > 0)
        return {int(c): Store(int(held.utterances[c]), float(held.seconds[c])) for c in there}

    def asked(self, round: int, stored: Mapping[int, Store], roster: Roster) -> Ids:
        """Return who is asked: those that are there, or some of them, drawn uniformly."""
        there = np.array(sorted(stored), np.int64)
        if roster.available is not None:
            there = there[roster.available[there]]
        wanted = self.settings.clients
        if wanted is None or wanted >= len(there):
            return there
        drawn = seeds.generator(self.run.config.seed, "fleet-estimate", round).choice(there, wanted, replace=False)
        return np.sort(drawn)

    def calibration(self, weights: Vector) -> Calibration:
        """Return what errors the test speech tells to expect of a model."""
        run = self.run
        rows = run.test_rows
        if len(rows) > CALIBRATED_ON:
            drawn = seeds.generator(run.config.seed, "calibration-rows").choice(rows, CALIBRATED_ON, replace=False)
            rows = np.sort(drawn)
        model = run.model()
        load_arrays(model, self.layout.views(weights))
        speech, size = Untranscribed.of(run.speech), run.config.evaluate.batch_size
        parts = [
            hear(model, speech.batch(rows[first : first + size]), run.tokenizer) for first in range(0, len(rows), size)
        ]
        heard = Hypotheses.joined(parts)
        texts, normalise = run.corpus.columns["text"], run.tokenizer.normalise
        spoken = [normalise(str(texts[row])) for row in heard.rows]
        words, errors = utterance_errors(spoken, [normalise(text) for text in heard.texts])
        heard_words = np.array([len(text.split()) for text in heard.texts], np.int64)
        seconds = np.asarray(run.speech.durations[list(heard.rows)], np.float64)
        return fitted(heard_words, heard.confidence, seconds, words, errors)

    def check(self, reply: Message) -> None:
        """Raise where a device has not answered.

        Raises:
            ReplyRefused: it says that it has failed, or sends too much.
            InputError: it met wrong input, in a simulation.
        """
        if reply.has_error():
            if reply.error.code == Code.BAD_INPUT and self.run.fleet is None:
                raise InputError(str(reply.error.reason), where="")
            raise ReplyRefused(str(reply.error.reason or f"error {reply.error.code}")[: Longest.DETAIL])
        check_size(content_bytes(reply.content))

    def read(self, reply: Message, store: Store) -> dict[str, Any]:
        """Return what a device has counted, by group.

        Raises:
            ReplyRefused: there is nothing, or it cannot be.
            InputError: the device met wrong input, in a simulation.
        """
        self.check(reply)
        record = reply.content.get(Record.COUNTED)
        values = entries(record) if isinstance(record, ConfigRecord) else {}
        try:
            told = json.loads(str(values[Key.COUNTS]))
            groups = {str(group): told_of(group, counts, store, self.run.config) for group, counts in told.items()}
        except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ReplyRefused(f"'{Key.COUNTS}' cannot be read: {str(error)[: Longest.DETAIL]}") from None
        if ALL not in groups or len(groups) > MOST_GROUPS:
            raise ReplyRefused(
                f"'{Key.COUNTS}' has {len(groups)} groups; expected all speech and at most {MOST_GROUPS}"
            )
        return groups


def notes_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each alarm of an estimate, of all speech or of a group."""
    return [
        one_line(f"alarm: {MEANING[name]}" + (f" ({row['column']} {row['value']})" if row["column"] else ""))
        for row in rows
        for name in str(row["alarms"]).split()
    ]


def told_of(group: object, told: Mapping[str, Any], store: Store, config: Config) -> dict[str, Any]:
    """Return what a device says of one group.

    Raises:
        ValueError: it cannot be.
        KeyError: something is missing.
    """
    if group:
        column, value = json.loads(str(group))
        if column not in config.evaluate.by or not isinstance(value, str) or len(value) > Longest.DETAIL:
            raise ValueError(f"no group of this run: {shown(group)}")
    panel, values, spoken = told["panel"] is True, [float(value) for value in told["values"]], told["spoken"]
    most = store.utterances * (WORDS_PER_SECOND + ERRORS_PER_SECOND) * config.data.max_seconds
    if len(values) != len(PANEL if panel else EXPECTED) or not all(0 <= value <= most for value in values):
        raise ValueError(f"sums that cannot be: {shown(values)}")
    if type(spoken) is not int or not 0 <= spoken <= most:
        raise ValueError(f"{shown(spoken)} words")
    result: dict[str, Any] = {"panel": panel, "values": values, "spoken": spoken}
    if "truth" in told and config.runtime.name != "deployment":
        errors, words = (int(count) for count in told["truth"])
        result["truth"] = (errors, words)
    return result
