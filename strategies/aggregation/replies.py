"""What a reply may say: checked before anything of it is used.

A device may be broken or Byzantine. Every record is there, every value has its type, is finite and plausible against
what the server knows of the device, every array has the name, shape and kind of the model's, and nothing is larger than
it has to be. Whatever is not so is refused with a reason and counts as a failed client.

What only the device can know, its losses and error rates, is checked for form: an attack within the bounds is not
detected.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord

from fedasr.data.roster import Roster
from fedasr.errors import InputError
from fedasr.flower.records import LazyArray, content_bytes, entries
from fedasr.models.weights import Layout
from fedasr.privacy.ledger import Ledger
from fedasr.protocol import Key, Longest, Metric, Name, Record, Statement, shown

ROOM = 2**20
"""Bytes that a reply may have beside the arrays that were asked for."""
NEW_UTTERANCES, NEW_SECONDS = 10, 300.0
"""What an edge device may have recorded since it was asked what it holds, beside a tenth of that."""
WORDS_PER_SECOND = 20
"""More words nobody says in a second of speech; each recording may have one more."""
ERRORS_PER_SECOND = 100
"""More words no recogniser makes up for a second of speech: one for each feature frame."""
LARGEST_LOSS = float(np.finfo(np.float32).max)
"""Losses are kept in single precision."""
LOSSES = (Metric.TRAIN_LOSS, Metric.LOSS_SQUARE)
OF_LABELS = (Metric.KEPT, Metric.EMPTY, Metric.AGREED)
"""Counts of utterances among those whose labels a device makes itself."""


class ReplyRefused(ValueError):
    """A reply cannot be used; the message says why."""


@dataclass(frozen=True)
class Store:
    """What a device stores at most, as far as the server knows."""

    utterances: int
    seconds: float


def stores(roster: Roster, clients: Collection[int], recording: bool = False) -> dict[int, Store]:
    """Return what each of the clients stores at most, as far as the server knows.

    Args:
        roster: what it knows.
        clients: of whom.
        recording: whether they may have recorded more since they were asked, as edge devices do.
    """
    rows = np.fromiter(clients, np.int64, len(clients))
    utterances, seconds = roster.utterances[rows], roster.seconds[rows]
    if recording:
        utterances, seconds = utterances + utterances // 10 + NEW_UTTERANCES, 1.1 * seconds + NEW_SECONDS
    known = zip(utterances.tolist(), seconds.tolist(), strict=True)
    return {int(client): Store(*store) for client, store in zip(rows, known, strict=True)}


def check_size(size: int, most: int = ROOM) -> None:
    """Raise where a reply is larger than it has to be, in bytes.

    Raises:
        ReplyRefused: it is.
    """
    if size > most:
        raise ReplyRefused(f"the reply has {size} bytes; expected at most {most}")


def metrics_of(reply: Message) -> dict[str, Any]:
    """Return the metrics of a reply.

    Raises:
        ReplyRefused: it has none.
    """
    record = reply.content.get(Record.METRICS)
    if not isinstance(record, MetricRecord):
        raise ReplyRefused("the reply has no metrics")
    return dict(entries(record))


def whole(values: Mapping[str, Any], name: str, most: float = 2**62) -> int:
    """Return a count of at least 0.

    Raises:
        ReplyRefused: it is missing or none, or larger than ``most``.
    """
    if name not in values:
        raise ReplyRefused(f"'{name}' is missing")
    value = values[name]
    if type(value) is not int or value < 0:
        raise ReplyRefused(f"'{name}' is {shown(value)}; expected a whole number of at least 0")
    if value > most:
        raise ReplyRefused(f"'{name}' is {shown(value)}; plausible is at most {math.floor(most)}")
    return value


def number(values: Mapping[str, Any], name: str, least: float = -LARGEST_LOSS, absent: bool = False) -> float:
    """Return a finite number, or NaN where it may be ``absent``.

    Raises:
        ReplyRefused: it is missing, no number, not finite, or less than ``least``.
    """
    if name not in values:
        raise ReplyRefused(f"'{name}' is missing")
    value = values[name]
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ReplyRefused(f"'{name}' is {shown(value)}; expected a number")
    if absent and value != value:
        return math.nan
    if not least <= value <= LARGEST_LOSS:
        bound = "" if least else " of at least 0"
        raise ReplyRefused(f"'{name}' is {shown(value)}; expected a finite number{bound}")
    return float(value)


def check_training(metrics: Mapping[str, Any], store: Store, losses: bool) -> None:
    """Raise where the metrics of a training reply cannot be.

    Args:
        metrics: of the reply.
        store: what the device stores, as far as the server knows.
        losses: whether a device tells its losses and how it went; a private one tells what it stores and no more.

    Raises:
        ReplyRefused: naming the metric.
    """
    examples = whole(metrics, Metric.EXAMPLES, store.utterances)
    if losses or Metric.AUDIO in metrics:
        whole(metrics, Metric.AUDIO, 1000 * store.seconds + 1)
    steps = whole(metrics, Metric.STEPS) if losses or Metric.STEPS in metrics else 0
    if losses or Metric.SECONDS in metrics:
        number(metrics, Metric.SECONDS, least=0)
    if losses or Metric.SKIPPED in metrics:
        whole(metrics, Metric.SKIPPED, examples)
    for name, least in zip(LOSSES, (-LARGEST_LOSS, 0.0), strict=True):
        if losses or name in metrics:
            number(metrics, name, least, absent=not steps)
    if Metric.UNTRANSCRIBED in metrics:
        check_labels(metrics, examples, store)


def check_labels(metrics: Mapping[str, Any], examples: int, store: Store) -> None:
    """Raise where what a device says of its own labels cannot be; arguments as those of ``check_training``.

    Raises:
        ReplyRefused: naming the metric.
    """
    heard = whole(metrics, Metric.UNTRANSCRIBED, examples)
    for name in OF_LABELS:
        whole(metrics, name, heard)
    whole(metrics, Metric.BLANK_FRAMES, whole(metrics, Metric.FRAMES))
    if Metric.LABEL_WORDS in metrics or Metric.LABEL_ERRORS in metrics:
        words = whole(metrics, Metric.LABEL_WORDS, WORDS_PER_SECOND * store.seconds + heard)
        whole(metrics, Metric.LABEL_ERRORS, words + ERRORS_PER_SECOND * store.seconds + heard)


def checked_statement(record: object, accountant: str) -> Statement:
    """Return what a device says of its privacy ledger.

    Raises:
        ReplyRefused: it is no account; saying what is wrong with it.
    """
    if not isinstance(record, ConfigRecord):
        raise ReplyRefused("the reply has no statement of the privacy ledger")
    values = entries(record)
    number(values, Key.EPSILON, least=0)
    whole(values, Key.ROUNDS)
    if not isinstance(values.get(Key.SPENT), bool):
        raise ReplyRefused(f"'{Key.SPENT}' is {shown(values.get(Key.SPENT))}; expected true or false")
    try:
        Ledger(accountant).load_state_dict(json.loads(str(values.get(Key.LEDGER))))
        return Statement.from_record(record, "the client")
    except (InputError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ReplyRefused(f"the privacy ledger is damaged: {str(error)[: Longest.DETAIL]}") from None


def check_arrays(record: object, layout: Layout) -> dict[str, npt.NDArray[np.float32]]:
    """Return the arrays of a reply, views where they are lazy; not yet checked to be finite.

    The bytes of an array that came over a network are not read before its header was: it may ask for any memory.

    Raises:
        ReplyRefused: they are not those of the model; the message names the first that is not.
    """
    if not isinstance(record, ArrayRecord):
        raise ReplyRefused("the reply has no arrays")
    arrays = entries(record)
    if tuple(arrays) != layout.names:
        extra = ", ".join(shown(name) for name in sorted(set(arrays) ^ set(layout.names))[:4])
        raise ReplyRefused(f"the arrays do not match the model: {extra or 'another order'}")
    for (name, array), shape in zip(arrays.items(), layout.shapes, strict=True):
        check_array(name, array, "float32", shape)
    return {name: array.numpy() for name, array in arrays.items()}


def check_encoded(record: object) -> bytes:
    """Return the bytes of an encoded update, not yet decoded; as ``check_arrays``, no header is believed.

    Raises:
        ReplyRefused: the reply holds something else.
    """
    result = entries(record) if isinstance(record, ArrayRecord) else {}
    if list(result) != [Name.ENCODED]:
        raise ReplyRefused("the reply has no encoded update ('compression.up' is set in the run's config)")
    array = result[Name.ENCODED]
    shape = tuple(array.shape)
    if len(shape) != 1:
        raise ReplyRefused(f"array '{Name.ENCODED}' has shape {shape}; expected one dimension")
    check_array(Name.ENCODED, array, "uint8", shape)
    return bytes(array.numpy().tobytes())


def check_array(name: str, array: Array, dtype: str, shape: tuple[int, ...]) -> None:
    """Raise where an array is of another kind or shape, by its record or by its bytes.

    Raises:
        ReplyRefused: naming the array.
    """
    if array.dtype != dtype or tuple(array.shape) != shape:
        raise ReplyRefused(f"array '{name}' is {array.dtype} {tuple(array.shape)}; expected {dtype} {shape}")
    if not isinstance(array, LazyArray):
        check_bytes(name, array, dtype, shape)


def only_array(reply: Message, record: str, name: str, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return the one array of a reply's record.

    Raises:
        ReplyRefused: it is missing, not alone, or not of that kind and shape.
    """
    check_size(content_bytes(reply.content), ROOM + np.dtype(dtype).itemsize * math.prod(shape))
    content = reply.content.get(record)
    arrays = entries(content) if isinstance(content, ArrayRecord) else {}
    if list(arrays) != [name]:
        raise ReplyRefused(f"the reply has no {record}")
    check_array(name, arrays[name], dtype, shape)
    values: npt.NDArray[Any] = arrays[name].numpy()
    return values


def check_bytes(name: str, array: Array, dtype: str, shape: tuple[int, ...]) -> None:
    """Raise where the serialised bytes of an array are not what its record says.

    Raises:
        ReplyRefused: naming the array.
    """
    file = BytesIO(array.data)
    try:
        if array.stype != "numpy.ndarray" or np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("not in the format of numpy.save")
        dimensions, _, kind = np.lib.format.read_array_header_1_0(file)
    except ValueError as error:
        raise ReplyRefused(f"array '{name}' cannot be read: {str(error)[: Longest.DETAIL]}") from None
    size = len(array.data) - file.tell()
    if dimensions != shape or kind != np.dtype(dtype) or size != kind.itemsize * math.prod(shape):
        raise ReplyRefused(f"array '{name}' holds {size} bytes of {kind} {dimensions}; expected {dtype} {shape}")


def error_counts(reply: Message, store: Store) -> tuple[int, int]:
    """Return the words and word errors of an evaluation reply.

    Raises:
        ReplyRefused: they cannot be.
    """
    check_size(content_bytes(reply.content))
    metrics = metrics_of(reply)
    utterances = whole(metrics, Metric.EXAMPLES, store.utterances)
    words = whole(metrics, Metric.WORDS, WORDS_PER_SECOND * store.seconds + utterances)
    return words, whole(metrics, Metric.WORD_ERRORS, words + ERRORS_PER_SECOND * store.seconds + utterances)


def loss_of(reply: Message) -> float:
    """Return the loss that a device answers with in nats a token; NaN where it has no speech.

    Raises:
        ReplyRefused: it is none.
    """
    check_size(content_bytes(reply.content))
    return number(metrics_of(reply), Metric.LOSS, absent=True)


def partition_of(reply: Message, clients: int) -> int:
    """Return which client a node says it is.

    Raises:
        ReplyRefused: it does not say, or there is no such client.
    """
    check_size(content_bytes(reply.content))
    record = reply.content.get(Record.NODE)
    if not isinstance(record, ConfigRecord):
        raise ReplyRefused("the reply does not describe the node")
    return whole(entries(record), Key.PARTITION, clients - 1)
