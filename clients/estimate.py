"""What a device counts for an estimate of the error rate: expected errors, and on the panel true ones.

Nothing leaves it but sums over its utterances, for all its speech and for each group of ``evaluate.by``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import Context

from fedasr.data.draws import uniforms
from fedasr.data.quality import bad_transcripts
from fedasr.edge.policy import read_policy
from fedasr.evaluation.calibration import Calibration
from fedasr.evaluation.secure_sums import ALL
from fedasr.evaluation.wer import utterance_errors
from fedasr.models.weights import Arrays
from fedasr.protocol import Counted
from fedasr.training.local import Resident
from fedasr.training.self_labels import Hypotheses
from fedasr.typing import Floats, Integers

from .edge.edge_device import find_edge_device
from .hearing import heard_by
from .speech import Device

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Heard:
    """A device's utterances; arrays of shape ``(utterances,)``. True counts are 0 where nobody knows them."""

    rows: Integers
    expected_errors: Floats
    expected_words: Floats
    errors: Integers
    words: Integers
    transcribed: Mask
    """whether there is a transcript that can be used"""
    asked: Mask
    """whether its user has transcribed it for the panel"""


def heard_on(
    device: Device, model: Resident, arrays: Arrays, calibration: Calibration, context: Context
) -> tuple[Heard, float]:
    """Return a device's utterances, and by what its counts are multiplied: none counts for more than its words.

    Args:
        device: at work on a message.
        model: this process's; its weights are changed.
        arrays: the global weights.
        calibration: what is to be expected at which confidence.
        context: of the device.

    Raises:
        InputError: an utterance cannot be decoded, and ``data.on_bad_audio`` is ``stop``; or the policy is damaged.
    """
    rows = np.asarray(device.rows, np.int64)
    heard = measured(device, heard_by(device, model, arrays, rows), calibration, in_panel(device, context))
    limit = device.experiment.config.evaluate.estimate.words
    words = float(heard.expected_words.sum())
    return heard, min(1.0, limit / words) if limit is not None and words > 0 else 1.0


def counted(device: Device, heard: Heard, scale: float) -> Counted:
    """Return what a device counts of its speech.

    Args:
        device: at work on a message.
        heard: its utterances.
        scale: by what its counts are multiplied.
    """
    groups = {ALL: sums(heard, np.ones(len(heard.rows), bool), scale, device)}
    for column in device.experiment.config.evaluate.by:
        values = values_of(device, heard, column)
        for value in sorted(set(values.tolist())):
            groups[json.dumps([column, value])] = sums(heard, values == value, scale, device)
    return Counted(json.dumps(groups))


def values_of(device: Device, heard: Heard, column: str) -> npt.NDArray[np.object_]:
    """Return the value of a column for each utterance."""
    return np.array([str(value) for value in device.experiment.corpus.columns[column][heard.rows]], object)


def in_panel(device: Device, context: Context) -> bool:
    """Say whether the device's user has agreed to transcribe: on an edge device its policy says so."""
    edge_device = find_edge_device(context)
    if edge_device is not None:
        return read_policy(edge_device.policy).panel
    config = device.experiment.config
    draw = uniforms(config.seed, "estimate/panel", np.array([device.client]))
    return bool(draw[0] < config.evaluate.estimate.panel_share)


def measured(device: Device, heard: Hypotheses, calibration: Calibration, panel: bool) -> Heard:
    """Return expected and true errors and words of each utterance, and which of them the panel has transcribed."""
    run = device.experiment
    rows = np.array(heard.rows, np.int64)
    heard_words = np.array([len(text.split()) for text in heard.texts], np.int64)
    seconds = np.asarray(run.speech.durations[rows], np.float64)
    expected_errors, expected_words = calibration.expected(heard_words, heard.confidence, seconds)
    bad = {row for row, _ in bad_transcripts(run.corpus, rows, run.tokenizer)}
    transcribed = np.array([row not in bad for row in heard.rows], bool)
    errors, words = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    known = np.flatnonzero(transcribed)
    if device.edge_name is not None and not panel:
        known = known[:0]  # nobody on a real device counts true errors without having agreed to it
    if len(known):
        texts, normalise = run.corpus.columns["text"], run.tokenizer.normalise
        true = [normalise(str(texts[row])) for row in rows[known]]
        words[known], errors[known] = utterance_errors(true, [normalise(heard.texts[place]) for place in known])
    asked = np.zeros(len(rows), bool)
    if panel:
        order = np.argsort(uniforms(run.config.seed, "estimate/utterances", rows[known]), kind="stable")
        asked[known[order[: run.config.evaluate.estimate.panel_utterances]]] = True
    return Heard(rows, expected_errors, expected_words, errors, words, transcribed, asked)


def sums(heard: Heard, group: Mask, scale: float, device: Device) -> dict[str, Any]:
    """Return the sums over the utterances of a group.

    Of a device of the panel they are of what its user has transcribed, multiplied to stand for all of the group.
    """
    asked = heard.asked & group
    panel = bool(asked.any())
    factor = scale * (float(group.sum()) / float(asked.sum()) if panel else 1.0)
    expected: list[Floats | Integers] = [heard.expected_errors, heard.expected_words]
    columns = [heard.errors, heard.words, *expected] if panel else expected
    told: dict[str, Any] = {
        "panel": panel,
        "values": [factor * float(column[asked if panel else group].sum()) for column in columns],
        "spoken": int(heard.words[asked].sum()),
    }
    if device.edge_name is None:
        known = heard.transcribed & group
        told["truth"] = [int(heard.errors[known].sum()), int(heard.words[known].sum())]
    return told
