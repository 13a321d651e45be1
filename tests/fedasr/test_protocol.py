"""The words between server and device: what is on the wire stays, what is read is checked, and nobody spells a word."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr import protocol
from fedasr.errors import InputError
from fedasr.flower.messages import assume_identity
from fedasr.flower.records import from_bytes, to_bytes
from fedasr.protocol import (
    KINDS,
    Accumulated,
    Address,
    ConfigValues,
    Counted,
    EdgeNode,
    EstimateOrder,
    Evaluated,
    KeptLabels,
    KeptLedger,
    KeptSecrets,
    KeyList,
    Kind,
    Loss,
    LossOrder,
    Masking,
    MetricValues,
    ModelNumber,
    NoParticipationLeft,
    OpenedShares,
    Order,
    SealedShares,
    SecureOrder,
    SimulatedNode,
    Statement,
    Stored,
    Taught,
    Trained,
    Unmasking,
    Values,
    VoteOrder,
    action,
    layout_of,
)
from tests.tiers import examples

ROOT = Path(__file__).parents[2]

GOLDEN: dict[type[Values], tuple[str, dict[str, type]]] = {
    Order: ("config", {"round": int, "experiment": str}),
    LossOrder: ("config", {"round": int, "experiment": str, "batch": bool}),
    VoteOrder: (
        "config",
        {"round": int, "experiment": str, "start": str, "unit": str, "internal_lm": float}
        | {"classes": int, "number": int, "teachers": int},
    ),
    EstimateOrder: ("config", {"round": int, "experiment": str, "calibration": str, "groups": str}),
    SecureOrder: ("config", {"round": int, "experiment": str, "purpose": str}),
    Counted: ("counted", {"counts": str}),
    Address: ("box", {"client": int, "name": str}),
    Stored: ("metrics", {"num-examples": int}),
    Trained: (
        "metrics",
        {"num-examples": int, "audio-milliseconds": int, "train-loss": float, "loss-square": float}
        | {"steps": int, "utterances": int, "skipped": int, "seconds": float}
        | {"untranscribed": int, "labels-kept": int, "labels-empty": int, "labels-agreed": int}
        | {"frames": int, "blank-frames": int, "label-words": int, "label-errors": int},
    ),
    Taught: ("metrics", {}),
    Evaluated: (
        "metrics",
        {"num-examples": int, "loss": float, "words": int, "word-errors": int}
        | {"characters": int, "character-errors": int},
    ),
    Loss: ("metrics", {"loss": float}),
    SimulatedNode: ("node", {"partition-id": int}),
    EdgeNode: ("node", {"utterances": int, "seconds": float, "fedasr": str}),
    Statement: ("privacy", {"epsilon": float, "spent": bool, "rounds": int, "ledger": str}),
    NoParticipationLeft: ("privacy", {"spent": bool}),
    KeptLedger: ("privacy", {"ledger": str, "rounds": int, "steps": int, "answered": str}),
    KeptLabels: ("labels", {"labels": str}),
    KeyList: ("secure", {"keys": bytes, "names": str, "clients": bytes, "hashes": bytes}),
    SealedShares: ("secure", {"sealed": bytes, "signature": bytes}),
    ModelNumber: ("model", {"number": int, "base": int}),
    Masking: ("secure", {"cohort": int, "largest": int, "sharers": bytes, "signatures": bytes}),
    Unmasking: ("secure", {"living": bytes, "sealed": bytes, "dead": bytes}),
    OpenedShares: ("secure", {"opened": bytes}),
    KeptSecrets: ("secure", {"round": int, "state": bytes, "run": bytes, "client": int, "names": str}),
    Accumulated: (
        "folded",
        {"bytes": int, "absent": bool, "norm": float, "largest": float, "weight": int, "refused": str},
    ),
}
"""What servers and edge devices of every version write and read. A key may be added with a default; none may change."""
SAMPLES: dict[type, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**62), 2**62),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    str: st.text(st.characters(exclude_categories=("Cs",))),
    bytes: st.binary(),
}


def classes() -> list[type[Values]]:
    """Return the classes that stand for a record."""
    result, wave = [], list(Values.__subclasses__())
    while wave:
        kind = wave.pop()
        wave += kind.__subclasses__()
        result += [kind] if kind not in (ConfigValues, MetricValues) else []
    return result


@st.composite
def written(draw: st.DrawFn, kind: type[Values]) -> Values:
    """Return an instance with any values, some of those that may be left out left out."""
    given_values = {}
    for name, _, wanted, optional in layout_of(kind):
        if not optional or draw(st.booleans()):
            given_values[name] = draw(SAMPLES[wanted])
    return kind(**given_values)


def constants(group: type) -> list[Any]:
    return [value for name, value in vars(group).items() if not name.startswith("_")]


def test_the_words_on_the_wire_stay_as_they_are() -> None:
    assert list(KINDS) == [
        *("query.describe", "train", "train.teacher", "query.votes", "query.loss", "evaluate"),
        *("query.keys", "query.shares", "query.unmask", "query.estimate"),
    ]
    assert constants(protocol.Record) == [
        *("arrays", "differences", "model", "held", "held-number", "teacher", "control-variate"),
        *("config", "metrics", "node", "box", "privacy", "speech", "questions", "votes"),
        *("residual", "residual-round", "secure", "labels", "counted", "folded"),
    ]
    assert constants(protocol.Name) == ["frames", "lengths", "tokens", "votes", "encoded", "residual"]
    assert constants(protocol.Status) == ["ok", "failed", "spent", "late", "dropped"]
    assert constants(protocol.Code) == [2, 3, 4, 5, 8, 422]
    assert set(classes()) == set(GOLDEN)
    for kind, (record, keys) in GOLDEN.items():
        assert record == kind.RECORD
        assert {key: wanted for _, key, wanted, _ in layout_of(kind)} == keys
        assert [key for _, key, _, _ in layout_of(kind)] == list(keys), "their order is part of the bytes"


def test_a_kind_has_its_action_in_a_flower_app() -> None:
    named = ["describe", "", "teacher", "votes", "loss", "", "keys", "shares", "unmask", "estimate"]
    assert [action(kind) for kind in KINDS] == named


@pytest.mark.parametrize("kind", GOLDEN, ids=lambda kind: kind.__name__)
@settings(deadline=None, max_examples=examples(25))
@given(data=st.data())
def test_what_is_written_is_read_again(kind: Any, data: st.DataObject) -> None:
    values = data.draw(written(kind))
    record = values.to_record()
    assert isinstance(record, MetricRecord if issubclass(kind, MetricValues) else ConfigRecord)
    wire = from_bytes(to_bytes(RecordDict({kind.RECORD: record})))
    assert kind.from_record(wire[kind.RECORD], "somebody") == values


def test_the_bytes_are_those_of_records_without_classes() -> None:
    order = VoteOrder(0, "{}", "ab", "token", 0.5, 10, 3, 7)
    plain = ConfigRecord(
        {"round": 0, "experiment": "{}", "start": "ab", "unit": "token", "internal_lm": 0.5}
        | {"classes": 10, "number": 3, "teachers": 7}
    )
    assert order.to_record().deflate() == plain.deflate()
    refused = Accumulated(9, refused="no arrays").to_record()
    assert refused.deflate() == ConfigRecord({"bytes": 9, "refused": "no arrays"}).deflate()
    metrics = Evaluated(2, 1.5, 8, 1, 30, 2).to_record()
    assert list(metrics) == ["num-examples", "loss", "words", "word-errors", "characters", "character-errors"]


def test_a_record_is_read_from_a_message_with_what_is_new_in_it() -> None:
    assume_identity()
    record = ConfigRecord({"round": 3, "experiment": "{}", "of-a-later-version": 1})
    message = Message(RecordDict({"config": record}), 5, Kind.TRAIN, group_id="3")
    assert Order.of(message) == Order(3, "{}")
    with pytest.raises(InputError, match=r"^the server: record 'box' is missing$"):
        Address.of(message)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"utterances": None}, "edge device 'anna': 'utterances' is missing in record 'node'"),
        ({"utterances": 1.5}, "edge device 'anna': 'utterances' of record 'node' is 1.5; expected a whole number"),
        ({"utterances": True}, "edge device 'anna': 'utterances' of record 'node' is True; expected a whole number"),
        ({"seconds": "long"}, "edge device 'anna': 'seconds' of record 'node' is 'long'; expected a number"),
        ({"fedasr": b"\n"}, "edge device 'anna': 'fedasr' of record 'node' is b'\\n'; expected a text"),
        ({"fedasr": [1.0]}, "edge device 'anna': 'fedasr' of record 'node' is [1.0]; expected a text"),
    ],
)
def test_what_cannot_be_read_is_named_with_who_sent_it(changes: dict[str, Any], line: str) -> None:
    whole: dict[str, Any] = {"utterances": 3, "seconds": 2.5, "fedasr": "0.1.0", **changes}
    record = ConfigRecord({key: value for key, value in whole.items() if value is not None})
    with pytest.raises(InputError) as caught:
        EdgeNode.from_record(record, "edge device 'anna'")
    assert str(caught.value) == line


def test_a_whole_number_is_a_number_and_truth_is_none() -> None:
    assert EdgeNode.from_record({"utterances": 1, "seconds": 2, "fedasr": ""}, "an edge device").seconds == 2
    assert math.isnan(Loss.from_record(MetricRecord({"loss": float("nan")}), "a client").loss)
    with pytest.raises(InputError, match="'spent' of record 'privacy' is 1; expected true or false"):
        NoParticipationLeft.from_record({"spent": 1}, "a client")
    with pytest.raises(InputError, match="'round' is missing"):
        Order.from_record(ArrayRecord(), "the server")


READERS = {"values_of", "entries", "metrics_of", "dict"}
RECORDS = {"ConfigRecord", "MetricRecord", "RecordDict", "ArrayRecord", "array_record", "record_of"}
ELSEWHERE = {ROOT / "strategies" / "selection" / "flower.py"}
"""It speaks with any Flower app, in words that its user names."""


def spelt(tree: ast.AST) -> Iterator[ast.expr]:
    """Yield the words of messages that a module spells itself: of kinds, records and keys."""
    wire = {word for group in (protocol.Kind, protocol.Metric, protocol.Key) for word in constants(group)}
    own = {word for word in wire if not word.isidentifier()}  # nobody else has use for a word with a dash or a dot
    for scope in ast.walk(tree):
        if not isinstance(scope, ast.FunctionDef | ast.Module):
            continue
        read = {
            target.id
            for node in ast.walk(scope)
            if isinstance(node, ast.Assign) and is_record(node.value)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(scope):
            if isinstance(node, ast.Subscript) and is_record(node.value, read):
                yield from texts(node.slice)
            elif isinstance(node, ast.Compare) and any(is_record(side, read) for side in node.comparators):
                yield from texts(node.left)
            elif isinstance(node, ast.Compare) and "message_type" in ast.dump(node.left):
                yield from (word for side in node.comparators for word in texts(side))
            elif isinstance(node, ast.Call):
                yield from in_call(node, read)
            elif isinstance(node, ast.Constant) and node.value in own:
                yield node


def in_call(node: ast.Call, read: set[str]) -> Iterator[ast.expr]:
    """Yield the words that a call spells: a key that is got, a record's name, a message's kind, keys of a record."""
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    if isinstance(node.func, ast.Attribute) and name in ("get", "pop") and is_record(node.func.value, read):
        yield from texts(node.args[0])
    elif name in ("values_of", "arrays_of", "only_array"):
        yield from (word for argument in node.args[1:3] for word in texts(argument))
    elif name == "Message":
        yield from (word for argument in node.args[1:] for word in texts(argument))
    elif name in ("train", "evaluate", "query") and isinstance(node.func, ast.Attribute):
        yield from (word for argument in node.args for word in texts(argument))
    elif name in RECORDS:
        for argument in node.args:
            if isinstance(argument, ast.Dict):
                yield from (word for key in argument.keys if key is not None for word in texts(key))


def is_record(node: ast.expr, read: set[str] = frozenset()) -> bool:  # type: ignore[assignment]
    """Say whether an expression is the content of a message, or what a record holds."""
    if isinstance(node, ast.Name):
        return node.id in read
    if isinstance(node, ast.Attribute):
        return node.attr == "content" or ast.unparse(node).endswith("context.state")
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return (node.func.id in READERS and any(is_record(argument, read) for argument in node.args)) or (
            node.func.id in ("values_of", "arrays_of", "metrics_of")
        )
    return isinstance(node, ast.Subscript) and is_record(node.value, read)


def texts(node: ast.expr) -> Iterator[ast.expr]:
    """Yield the texts of an expression that stand there themselves, not within another call."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node
    elif isinstance(node, ast.IfExp):
        yield from (*texts(node.body), *texts(node.orelse))
    elif isinstance(node, ast.Tuple | ast.List | ast.Set):
        yield from (word for part in node.elts for word in texts(part))


@pytest.mark.thorough
@pytest.mark.parametrize("room", ["strategies", "clients", "fedasr/runtime", "fedasr/edge", "fedasr/privacy"])
def test_nobody_spells_a_word_of_a_message_himself(room: str) -> None:
    result = {
        f"{path.relative_to(ROOT)}:{word.lineno}: {ast.unparse(word)}"
        for path in sorted((ROOT / room).rglob("*.py"))
        if path not in ELSEWHERE
        for word in spelt(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert not result


@pytest.mark.parametrize(
    "line",
    [
        'reply.content["arrays"]',
        'values_of(message, "config")',
        'order = values_of(message, Record.CONFIG)\norder["round"]',
        'order = values_of(message, Record.CONFIG)\norder.get("batch", False)',
        '"privacy" in reply.content',
        'ConfigRecord({"round": 1})',
        'RecordDict({"config": order})',
        'Message(content, node, "query.loss", group_id="0")',
        'message.metadata.message_type == "train"',
        'name = "num-examples"',
        '@app.train("teacher")\ndef teach(message, context): ...',
        'context.node_config["partition-id"]',
    ],
)
def test_the_law_sees_a_word_that_is_spelt(line: str) -> None:
    assert list(spelt(ast.parse(line)))
