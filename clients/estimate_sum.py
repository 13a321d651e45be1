"""A device's counts for an estimate as its part of a secure sum: masked whole numbers, and nothing else."""

from __future__ import annotations

import json

import numpy as np
from flwr.app import ArrayRecord, Context, Message

from fedasr.errors import InputError
from fedasr.evaluation.secure_sums import ALL, MOST_GROUPS, OTHER, Count, CountCoder
from fedasr.flower.records import array_record
from fedasr.protocol import SERVER, EstimateOrder, Key, Longest, Masking, Name
from fedasr.secure.modulus import pack
from fedasr.secure.terms import ESTIMATE, ESTIMATE_BITS

from .estimate import Heard, Mask, sums, values_of
from .secure import masked
from .speech import Device


def summed(device: Device, heard: Heard, scale: float, message: Message, context: Context) -> ArrayRecord:
    """Return what a device sends to be summed.

    Args:
        device: at work on a message.
        heard: its utterances.
        scale: by what its counts are multiplied.
        message: what asks for them.
        context: of the device.

    Raises:
        InputError: the server does not say what is summed.
        Aborted: the masks would not hide it.
    """
    config, masking = device.experiment.config, Masking.of(message)
    groups = asked_groups(EstimateOrder.of(message).groups, config.evaluate.by)
    words = config.evaluate.estimate.words
    if words is None or masking.cohort < 1:
        raise InputError(f"'{Key.COHORT}' is {masking.cohort}, 'evaluate.estimate.words' is {words}", where=SERVER)
    names = [ALL, *(json.dumps(group) for group in groups)]
    counts = {ALL: count_of(device, heard, np.ones(len(heard.rows), bool), scale)}
    for column in config.evaluate.by:
        known = [value for name, value in groups if name == column and value != OTHER]
        values = values_of(device, heard, column)
        masks = {value: values == value for value in known}
        masks[OTHER] = ~np.isin(values, known)
        for value, mask in masks.items():
            if mask.any():
                counts[json.dumps((column, value))] = count_of(device, heard, mask, scale)
    values_sent = CountCoder(names, words, masking.cohort).encode(counts)
    if config.secure_aggregation.mode == "protocol":
        values_sent = masked(message, context, values_sent, masking, ESTIMATE)
    return array_record({Name.ENCODED: pack(values_sent, ESTIMATE_BITS)})


def asked_groups(text: str | None, columns: list[str]) -> list[tuple[str, str]]:
    """Return column and value of each group that is counted beside all speech.

    Raises:
        InputError: the server does not say, or names none that can be.
    """
    try:
        groups = [(column, value) for column, value in json.loads(text or "")]
    except (ValueError, TypeError, RecursionError):
        groups = None
    if (
        groups is None
        or len(groups) > MOST_GROUPS
        or any(column not in columns for column, _ in groups)
        or not all(isinstance(value, str) and len(value) <= Longest.DETAIL for _, value in groups)
        or len(set(groups)) != len(groups)
        or {column for column, value in groups if value == OTHER} != set(columns)
    ):
        raise InputError(
            f"'{Key.GROUPS}' is no list of columns of 'evaluate.by' and their values, each with '{OTHER}'", where=SERVER
        )
    return groups


def count_of(device: Device, heard: Heard, group: Mask, scale: float) -> Count:
    """Return what a device counts of a group."""
    told = sums(heard, group, scale, device)
    return Count(told["panel"], told["values"], told["spoken"], tuple(told.get("truth", (0, 0))))
