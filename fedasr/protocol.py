"""What a server and its devices say to each other: kinds of messages, their records and keys, statuses, limits.

The words here are the wire format: servers and devices of other versions find each other's values by them, so none may
change its spelling; what is new is a new key. A message holds named records: ``arrays`` (weights), ``config`` (what is
asked), ``metrics`` (numbers of a reply) and so on. Each record of values has a class here, which writes it
(``to_record``) and reads it (``from_record``): a key that is missing or has another type is one line that names the key
and who sent it. Whether a value is plausible is checked where it is known what would be:
``strategies/aggregation/replies.py`` on the server, ``clients/edge/policy.py`` on an edge device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from types import UnionType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, get_args, get_type_hints

from fedasr.errors import InputError

if TYPE_CHECKING:
    from flwr.app import ConfigRecord, Message, MetricRecord

SERVER: Final = "the server"
"""Who sends what a device reads."""
LARGEST_CHANGE: Final = 2.0**10
"""Largest change of an entry of a control variate that a server adds up, and of a parameter beside it."""


class Kind:
    """Kinds of messages; a device has an action for each."""

    DESCRIBE: Final = "query.describe"
    """which partition a node is, or what an edge device holds"""
    TRAIN: Final = "train"
    EVALUATE: Final = "evaluate"
    """the error rate of the global model on the device's speech"""
    LOSS: Final = "query.loss"
    """the loss of the global model on it"""
    TEACH: Final = "train.teacher"
    """PATE: train the device's own model, and keep it"""
    VOTE: Final = "query.votes"
    """PATE: let it vote on public speech"""
    KEYS: Final = "query.keys"
    """secure aggregation: advertise keys for a sum"""
    SHARES: Final = "query.shares"
    """secure aggregation: share the secrets of the round with its neighbours"""
    UNMASK: Final = "query.unmask"
    """secure aggregation: open shares, so that the masks come off the sum"""
    ESTIMATE: Final = "query.estimate"
    """how many errors the global model is expected to make on the device's speech"""


SECURE_KINDS: Final = (Kind.KEYS, Kind.SHARES, Kind.UNMASK)
"""What secure aggregation asks beside training."""
KINDS: Final = (
    Kind.DESCRIBE,
    Kind.TRAIN,
    Kind.TEACH,
    Kind.VOTE,
    Kind.LOSS,
    Kind.EVALUATE,
    *SECURE_KINDS,
    Kind.ESTIMATE,
)
"""All that a server may ask."""


def action(kind: str) -> str:
    """Return the name under which a Flower app registers a kind of message: what stands behind the dot."""
    return kind.partition(".")[2]


class Record:
    """Names of the records of a message."""

    ARRAYS: Final = "arrays"
    """weights"""
    DIFFERENCES: Final = "differences"
    """in the place of weights: encoded differences from the model that the device holds, by the numbers of the models
    that they lead to"""
    MODEL: Final = "model"
    """which of the run's models the weights are: ``ModelNumber``"""
    HELD: Final = "held"
    """the model that a device holds, in its state"""
    HELD_NUMBER: Final = "held-number"
    """its number"""
    TEACHER: Final = "teacher"
    """weights of who labels a device's own speech, where that is not the global model"""
    CONTROL: Final = "control-variate"
    """the server's control variate; in a reply the change of the client's, which it keeps in its state"""
    CONFIG: Final = "config"
    """what is asked: ``Order``"""
    METRICS: Final = "metrics"
    """numbers of a reply"""
    NODE: Final = "node"
    """what a device says of itself"""
    ADDRESS: Final = "box"
    """by which an edge device learns which client it is: draws depend on the number, not on Flower's node id"""
    PRIVACY: Final = "privacy"
    """what a device says of its own privacy ledger, and how it keeps it in Flower's state"""
    SPEECH: Final = "speech"
    """PATE: features of public speech"""
    QUESTIONS: Final = "questions"
    """PATE: token sequences that are asked about"""
    VOTES: Final = "votes"
    RESIDUAL: Final = "residual"
    """what a client has not sent, as it keeps it in its state"""
    RESIDUAL_ROUND: Final = "residual-round"
    """of which round that is"""
    SECURE: Final = "secure"
    """secure aggregation: what its messages say, and what a client keeps of a round"""
    LABELS: Final = "labels"
    """the labels that a device keeps, in its state"""
    COUNTED: Final = "counted"
    """what a device counts of its speech for an estimate"""
    ACCUMULATED: Final = "folded"
    """what has become of an update, where replies are added up before the server reads them"""


class Name:
    """Names of the arrays of ``speech``, ``questions``, ``votes`` and ``residual``.

    Those of ``arrays`` are the model's, except in a reply whose update is encoded.
    """

    FRAMES: Final = "frames"
    """features of all utterances one after the other, shape ``(total, mel)``"""
    LENGTHS: Final = "lengths"
    """frames of each utterance, or tokens of each sequence"""
    TOKENS: Final = "tokens"
    """sequences one after the other"""
    VOTES: Final = "votes"
    ENCODED: Final = "encoded"
    """an update as bytes"""
    RESIDUAL: Final = "residual"


class Key:
    """Keys of the records of values, but for ``metrics``."""

    ROUND: Final = "round"
    EXPERIMENT: Final = "experiment"
    BATCH: Final = "batch"
    START: Final = "start"
    UNIT: Final = "unit"
    INTERNAL_LM: Final = "internal_lm"
    CLASSES: Final = "classes"
    NUMBER: Final = "number"
    BASE: Final = "base"
    TEACHERS: Final = "teachers"
    CLIENT: Final = "client"
    NAME: Final = "name"
    PARTITION: Final = "partition-id"
    """also of Flower's node configuration"""
    UTTERANCES: Final = "utterances"
    SECONDS: Final = "seconds"
    VERSION: Final = "fedasr"
    EPSILON: Final = "epsilon"
    SPENT: Final = "spent"
    ROUNDS: Final = "rounds"
    LEDGER: Final = "ledger"
    STEPS: Final = "steps"
    ANSWERED: Final = "answered"
    BYTES: Final = "bytes"
    ABSENT: Final = "absent"
    NORM: Final = "norm"
    LARGEST: Final = "largest"
    WEIGHT: Final = "weight"
    REFUSED: Final = "refused"
    LISTED: Final = "keys"
    SEALED: Final = "sealed"
    SHARERS: Final = "sharers"
    COHORT: Final = "cohort"
    LIVING: Final = "living"
    DEAD: Final = "dead"
    OPENED: Final = "opened"
    STATE: Final = "state"
    LABELS: Final = "labels"
    GROUPS: Final = "groups"
    PURPOSE: Final = "purpose"
    CALIBRATION: Final = "calibration"
    COUNTS: Final = "counts"
    SIGNATURE: Final = "signature"
    SIGNATURES: Final = "signatures"
    NAMES: Final = "names"
    CLIENTS: Final = "clients"
    HASHES: Final = "hashes"
    RUN: Final = "run"


class Metric:
    """Keys of ``metrics``."""

    EXAMPLES: Final = "num-examples"
    """utterances that the device stores, or has evaluated"""
    AUDIO: Final = "audio-milliseconds"
    """of what it stores"""
    TRAIN_LOSS: Final = "train-loss"
    """mean over the utterances that were trained on, in nats a token; NaN without a step"""
    LOSS_SQUARE: Final = "loss-square"
    """mean of its square"""
    STEPS: Final = "steps"
    UTTERANCES: Final = "utterances"
    """that were trained on, repetitions counted"""
    SKIPPED: Final = "skipped"
    """utterances that could not be decoded"""
    SECONDS: Final = "seconds"
    """that the work took"""
    LOSS: Final = "loss"
    """of the global model, in nats a token"""
    WORDS: Final = "words"
    WORD_ERRORS: Final = "word-errors"
    CHARACTERS: Final = "characters"
    CHARACTER_ERRORS: Final = "character-errors"
    UNTRANSCRIBED: Final = "untranscribed"
    """utterances whose transcripts are not read, and that a label was looked for"""
    KEPT: Final = "labels-kept"
    """of them those that were learnt"""
    EMPTY: Final = "labels-empty"
    """of them those in which the teacher heard nothing"""
    AGREED: Final = "labels-agreed"
    """of them those in which the global model heard the same as the teacher"""
    FRAMES: Final = "frames"
    """output frames of a CTC head over them"""
    BLANK_FRAMES: Final = "blank-frames"
    """of these frames those whose likeliest token is the blank"""
    LABEL_WORDS: Final = "label-words"
    """words of the transcripts of what was learnt; told in a simulation alone"""
    LABEL_ERRORS: Final = "label-errors"
    """word errors of the labels against them"""


class Status:
    """What has become of a client that was selected: the column ``status`` of ``clients.parquet``."""

    OK: Final = "ok"
    FAILED: Final = "failed"
    SPENT: Final = "spent"
    """its privacy budget allows no more"""
    LATE: Final = "late"
    """by the virtual clock"""
    DROPPED: Final = "dropped"


class Code:
    """Codes of replies that are errors: Flower's, and one of our own."""

    CLIENT_FAILED: Final = 2
    """the client app has raised an exception"""
    EXPIRED: Final = 3
    """the message's time was over, and it is forgotten"""
    TIMED_OUT: Final = 4
    """no reply came in time"""
    UNREACHABLE: Final = 5
    """the node is not there"""
    WORKER_DIED: Final = 8
    """the client app's process went away"""
    BAD_INPUT: Final = 422
    """ours: the client met wrong input, and the run stops with its message as the one line"""


class Longest:
    """Limits on what somebody else's text may have, in characters."""

    CONFIG: Final = 1_000_000
    """a config that an edge device reads; more would keep it busy for minutes; a long vocabulary fits"""
    REASON: Final = 2000
    """why an edge device has failed, as it is taken in"""
    ROW: Final = 500
    """the same, as a table keeps it"""
    NOTE: Final = 300
    """the same, as the progress of a run shows it"""
    EXCHANGE: Final = 200
    """the same, for whoever watches the messages of a round"""
    DETAIL: Final = 200
    """what is wrong with a part of a reply"""
    VERSION: Final = 40
    """the version that an edge device says it has"""


def key(name: str, default: Any = MISSING) -> Any:
    """Declare a field: under which key its value travels; with a default, None for one that is left out."""
    return field(default=default, metadata={"key": name})


WANTED: Mapping[type, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    bytes: "bytes",
}


Layout = tuple[tuple[str, str, type, bool], ...]
LAYOUTS: dict[type, Layout] = {}


def layout_of(kind: type[Values]) -> Layout:
    """Return the fields of a class: name, key, type, and whether it may be left out; found out once."""
    if kind not in LAYOUTS:
        hints = get_type_hints(kind)
        layout = []
        for part in fields(kind):
            hint = hints[part.name]
            wanted = next(t for t in get_args(hint) if t is not type(None)) if isinstance(hint, UnionType) else hint
            layout.append((part.name, part.metadata["key"], wanted, part.default is not MISSING))
        LAYOUTS[kind] = tuple(layout)
    return LAYOUTS[kind]


def is_a(value: object, wanted: type) -> bool:
    """Say whether a value has a type; a whole number is a number, and true and false are none."""
    if wanted is bool or isinstance(value, bool):
        return wanted is bool and isinstance(value, bool)
    return isinstance(value, (int, float) if wanted is float else wanted)


def shown(value: object) -> str:
    """Return a value as a message may show it."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"


@dataclass(frozen=True)
class Values:
    """A record of values, typed."""

    RECORD: ClassVar[str]
    """its name in a message"""

    def values(self) -> dict[str, Any]:
        """Return key → value in the order of the wire; what is left out is None here, and has no key."""
        pairs = ((name, getattr(self, part)) for part, name, _, _ in layout_of(type(self)))
        return {name: value for name, value in pairs if value is not None}

    @classmethod
    def from_record(cls, record: object, sender: str) -> Self:
        """Read a record; keys that it has beside those of the class are of another version, and ignored.

        Args:
            record: Flower's, or any other mapping; None where the message has none.
            sender: who has sent it, as an error may name it.

        Raises:
            InputError: it is missing, or a key is, or a value has another type.
        """
        if not isinstance(record, Mapping):
            raise InputError(f"record '{cls.RECORD}' is missing", where=sender)
        values: dict[str, Any] = {}
        for part, name, wanted, optional in layout_of(cls):
            if name not in record:
                if optional:
                    continue
                raise InputError(f"'{name}' is missing in record '{cls.RECORD}'", where=sender)
            value = record[name]
            if not is_a(value, wanted):
                raise InputError(
                    f"'{name}' of record '{cls.RECORD}' is {shown(value)}; expected {WANTED[wanted]}", where=sender
                )
            values[part] = value
        return cls(**values)

    @classmethod
    def of(cls, message: Message, sender: str = SERVER) -> Self:
        """Read the record of a message.

        Raises:
            InputError: as ``from_record``.
        """
        return cls.from_record(message.content.get(cls.RECORD), sender)


class ConfigValues(Values):
    """Values of any type."""

    def to_record(self) -> ConfigRecord:
        """Return Flower's record of the values."""
        from flwr.app import ConfigRecord  # the words are needed where Flower is not

        return ConfigRecord(self.values())


class MetricValues(Values):
    """Numbers, ``metrics`` of a reply."""

    RECORD: ClassVar[str] = Record.METRICS

    def to_record(self) -> MetricRecord:
        """Return Flower's record of the values."""
        from flwr.app import MetricRecord

        return MetricRecord(self.values())


@dataclass(frozen=True)
class Order(ConfigValues):
    """What every message asks: for which round, under which config."""

    RECORD: ClassVar[str] = Record.CONFIG
    round: int = key(Key.ROUND)
    """counted from 1; 0: before the first"""
    experiment: str = key(Key.EXPERIMENT)
    """the run's resolved config, JSON"""


@dataclass(frozen=True)
class ModelNumber(ConfigValues):
    """Which of a run's models a message holds, or leads to; the device keeps it."""

    RECORD: ClassVar[str] = Record.MODEL
    number: int = key(Key.NUMBER)
    base: int | None = key(Key.BASE, None)
    """which one the message's differences are from; absent: it holds the whole"""


@dataclass(frozen=True)
class LossOrder(Order):
    """What ``query.loss`` asks."""

    batch: bool = key(Key.BATCH)
    """on one batch instead of on everything"""


@dataclass(frozen=True)
class VoteOrder(Order):
    """What ``query.votes`` asks; the questions themselves are arrays."""

    start: str = key(Key.START)
    """digest of the weights that every teacher started from"""
    unit: str = key(Key.UNIT)
    """``pate.unit``"""
    internal_lm: float = key(Key.INTERNAL_LM)
    """``pate.internal_lm``"""
    classes: int = key(Key.CLASSES)
    """how many answers there are"""
    number: int = key(Key.NUMBER)
    """of the first question, counted over the run"""
    teachers: int = key(Key.TEACHERS)
    """how many there are; with noise at the teachers each adds its share"""


@dataclass(frozen=True)
class EstimateOrder(Order):
    """What ``query.estimate`` asks."""

    calibration: str = key(Key.CALIBRATION)
    """how many errors are to be expected at which confidence, JSON"""
    groups: str | None = key(Key.GROUPS, None)
    """under secure aggregation: JSON, the column and value of each group that is counted, in the order of the sum"""


@dataclass(frozen=True)
class SecureOrder(Order):
    """What a step of secure aggregation asks beside training."""

    purpose: str | None = key(Key.PURPOSE, None)
    """of which sum; absent: of the updates"""


@dataclass(frozen=True)
class Counted(ConfigValues):
    """What a device counts of its speech: sums over its utterances, for all of it and for each group."""

    RECORD: ClassVar[str] = Record.COUNTED
    counts: str = key(Key.COUNTS)
    """JSON, see ``clients/estimate.py``"""


@dataclass(frozen=True)
class Address(ConfigValues):
    """Which client an edge device is."""

    RECORD: ClassVar[str] = Record.ADDRESS
    client: int = key(Key.CLIENT)
    name: str = key(Key.NAME)
    """as it was enrolled"""


@dataclass(frozen=True)
class Stored(MetricValues):
    """What a device says that trained in a private run: what its ε takes to be public."""

    examples: int = key(Metric.EXAMPLES)


@dataclass(frozen=True)
class Trained(Stored):
    """What a device says that trained."""

    audio_milliseconds: int = key(Metric.AUDIO)
    train_loss: float = key(Metric.TRAIN_LOSS)
    loss_square: float = key(Metric.LOSS_SQUARE)
    steps: int = key(Metric.STEPS)
    utterances: int = key(Metric.UTTERANCES)
    skipped: int = key(Metric.SKIPPED)
    seconds: float = key(Metric.SECONDS)
    untranscribed: int | None = key(Metric.UNTRANSCRIBED, None)
    kept: int | None = key(Metric.KEPT, None)
    empty: int | None = key(Metric.EMPTY, None)
    agreed: int | None = key(Metric.AGREED, None)
    frames: int | None = key(Metric.FRAMES, None)
    blank_frames: int | None = key(Metric.BLANK_FRAMES, None)
    label_words: int | None = key(Metric.LABEL_WORDS, None)
    label_errors: int | None = key(Metric.LABEL_ERRORS, None)


@dataclass(frozen=True)
class Taught(MetricValues):
    """What a device says whose teacher has learnt: nothing."""


@dataclass(frozen=True)
class Evaluated(MetricValues):
    """What a device says that evaluated: counts, which add up, not rates."""

    examples: int = key(Metric.EXAMPLES)
    loss: float = key(Metric.LOSS)
    words: int = key(Metric.WORDS)
    word_errors: int = key(Metric.WORD_ERRORS)
    characters: int = key(Metric.CHARACTERS)
    character_errors: int = key(Metric.CHARACTER_ERRORS)


@dataclass(frozen=True)
class Loss(MetricValues):
    """What a device answers to ``query.loss``; NaN without speech."""

    loss: float = key(Metric.LOSS)


@dataclass(frozen=True)
class SimulatedNode(ConfigValues):
    """What a simulated device says of itself, since Flower's node ids do not tell."""

    RECORD: ClassVar[str] = Record.NODE
    partition: int = key(Key.PARTITION)


@dataclass(frozen=True)
class EdgeNode(ConfigValues):
    """What an edge device says of itself."""

    RECORD: ClassVar[str] = Record.NODE
    utterances: int = key(Key.UTTERANCES)
    seconds: float = key(Key.SECONDS)
    """of audio"""
    version: str = key(Key.VERSION)
    """of fedasr"""


@dataclass(frozen=True)
class Statement(ConfigValues):
    """What a device says of its privacy ledger."""

    RECORD: ClassVar[str] = Record.PRIVACY
    epsilon: float = key(Key.EPSILON)
    spent: bool = key(Key.SPENT)
    """whether it cannot afford another round like the last"""
    rounds: int = key(Key.ROUNDS)
    """of this run that were charged"""
    ledger: str = key(Key.LEDGER)
    """JSON"""


@dataclass(frozen=True)
class NoParticipationLeft(ConfigValues):
    """What a device says that adds noise to its updates and may send no more of them."""

    RECORD: ClassVar[str] = Record.PRIVACY
    spent: bool = key(Key.SPENT, True)


@dataclass(frozen=True)
class KeptLedger(ConfigValues):
    """How a simulated device keeps its privacy ledger in Flower's state for it."""

    RECORD: ClassVar[str] = Record.PRIVACY
    ledger: str = key(Key.LEDGER)
    """JSON"""
    rounds: int = key(Key.ROUNDS)
    steps: int = key(Key.STEPS)
    answered: str = key(Key.ANSWERED, "")
    """digest of the question that was answered last"""


@dataclass(frozen=True)
class KeptLabels(ConfigValues):
    """The labels that a device has made of its own speech, in Flower's state for it; they never leave it."""

    RECORD: ClassVar[str] = Record.LABELS
    labels: str = key(Key.LABELS)
    """JSON: digest of an utterance → its text and how sure the teacher was"""


@dataclass(frozen=True)
class KeyList(ConfigValues):
    """Public keys: of one client, which advertises them, or of it and its neighbours, as the server shows them."""

    RECORD: ClassVar[str] = Record.SECURE
    keys: bytes = key(Key.LISTED)
    names: str | None = key(Key.NAMES, None)
    """of edge devices, by which they know each other: JSON, of all, in ascending order of their numbers"""
    clients: bytes | None = key(Key.CLIENTS, None)
    """the numbers of all; absent: the keys of all are there"""
    hashes: bytes | None = key(Key.HASHES, None)
    """those that lead from each row to the root of the whole list"""


@dataclass(frozen=True)
class SealedShares(ConfigValues):
    """Shares of a client's secrets, sealed for its neighbours, in their order."""

    RECORD: ClassVar[str] = Record.SECURE
    sealed: bytes = key(Key.SEALED)
    signature: bytes = key(Key.SIGNATURE)
    """of the list of keys that it was sent"""


@dataclass(frozen=True)
class Masking(ConfigValues):
    """How a message wants the update, or the counts for an estimate: as whole numbers, whose sum alone is used."""

    RECORD: ClassVar[str] = Record.SECURE
    cohort: int = key(Key.COHORT)
    """how many clients are in the sum at most"""
    largest: int = key(Key.LARGEST)
    """weight of a client, at most"""
    sharers: bytes | None = key(Key.SHARERS, None)
    """who has shared secrets, at least of a client and its neighbours"""
    signatures: bytes | None = key(Key.SIGNATURES, None)
    """theirs, of the list of keys, in ascending order"""


@dataclass(frozen=True)
class Unmasking(ConfigValues):
    """Which shares a client is to open."""

    RECORD: ClassVar[str] = Record.SECURE
    living: bytes = key(Key.LIVING)
    """who is in the sum, of the client and those that it shares masks with"""
    sealed: bytes = key(Key.SEALED)
    """what they have sealed for it, in ascending order"""
    dead: bytes | None = key(Key.DEAD, None)
    """who of them is not; absent: nobody (Flower counts no bytes of an empty value)"""


@dataclass(frozen=True)
class OpenedShares(ConfigValues):
    """The shares that a client has opened."""

    RECORD: ClassVar[str] = Record.SECURE
    opened: bytes = key(Key.OPENED)


@dataclass(frozen=True)
class KeptSecrets(ConfigValues):
    """What a client keeps of a round of secure aggregation, in Flower's state for it; gone when shares are opened."""

    RECORD: ClassVar[str] = Record.SECURE
    round: int = key(Key.ROUND)
    state: bytes = key(Key.STATE)
    run: bytes = key(Key.RUN)
    """what tells the run from others"""
    client: int = key(Key.CLIENT)
    """the number by which the server calls it"""
    names: str | None = key(Key.NAMES, None)
    """of edge devices; JSON: number → name"""


@dataclass(frozen=True)
class Accumulated(ConfigValues):
    """What has become of a reply's update, where replies are added up before the server reads them."""

    RECORD: ClassVar[str] = Record.ACCUMULATED
    bytes: int = key(Key.BYTES)
    """of the whole reply"""
    absent: bool | None = key(Key.ABSENT, None)
    """true: there was none, for the device's budget is spent"""
    norm: float | None = key(Key.NORM, None)
    """of the update, L2, before clipping"""
    largest: float | None = key(Key.LARGEST, None)
    """its largest change of a parameter, as it was added"""
    weight: int | None = key(Key.WEIGHT, None)
    """with which it was added"""
    refused: str | None = key(Key.REFUSED, None)
    """why nothing was"""
