"""Whatever a client answers, it is taken in as it is meant, or refused with a reason and without a trace."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.data.roster import Roster
from fedasr.flower.messages import assume_identity, set_message_id
from fedasr.flower.records import array_record, entries, values_of
from fedasr.models.weights import Layout
from fedasr.privacy.ledger import Ledger
from fedasr.strategies.aggregation.accumulating import Expectations, UpdateAccumulator
from fedasr.strategies.aggregation.exact_mean import ExactSum
from fedasr.strategies.aggregation.replies import ReplyRefused, Store, error_counts, loss_of, partition_of, stores
from fedasr.strategies.aggregation.weighting import Weighting
from fedasr.strategies.label_counts import LabelCounts
from tests.tiers import examples

LAYOUT = Layout.of({"w": np.zeros((2, 2), np.float32), "b": np.zeros(1, np.float32)})
ARRAYS = {"w": np.ones((2, 2), np.float32), "b": np.ones(1, np.float32)}
CLIENT = 3
STORE = Store(utterances=4, seconds=6.5)
METRICS = {
    "num-examples": 4,
    "audio-milliseconds": 6500,
    "train-loss": 2.5,
    "loss-square": 7.0,
    "steps": 2,
    "utterances": 4,
    "skipped": 0,
    "seconds": 0.1,
}
STATEMENT = {"epsilon": 0.5, "spent": False, "rounds": 1, "ledger": json.dumps(Ledger("rdp").state_dict())}


def sent() -> RecordDict:
    order = ConfigRecord({"round": 1})
    return RecordDict({"arrays": array_record(LAYOUT.views(np.zeros(5, np.float32))), "config": order})


def answer(content: RecordDict, kind: str = "train") -> Message:
    assume_identity()
    question = Message(sent(), CLIENT, kind, group_id="1")
    set_message_id(question, "1")
    return Message(content, reply_to=question)


def metrics(**changes: Any) -> MetricRecord:
    """Return the metrics with changes, ``__`` for the hyphen; None leaves one out; types are not checked."""
    record = MetricRecord()
    named = {name.replace("__", "-"): value for name, value in changes.items()}
    entries(record).update({k: v for k, v in {**METRICS, **named}.items() if v is not None})
    return record


def network(arrays: dict[str, np.ndarray]) -> ArrayRecord:
    """Return arrays as they come over a network: bytes."""
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})


def lying_header(shape: tuple[int, ...], dtype: str = "<f4") -> ArrayRecord:
    """Return arrays of which the first has a serialised header that its record does not know of."""
    buffer = BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return ArrayRecord(
        {"w": Array("float32", (2, 2), "numpy.ndarray", buffer.getvalue() + bytes(16)), "b": Array(ARRAYS["b"])}
    )


def taken_in(content: RecordDict, **expected: Any) -> tuple[np.ndarray, Message]:
    """Let an accumulator take a reply in; return what was added and what is left of the reply."""
    accumulator = UpdateAccumulator(
        ExactSum(LAYOUT, 4.0), Weighting("examples", {}, 4.0), None, Expectations({CLIENT: STORE}, **expected)
    )
    total = np.zeros(5)
    return total, accumulator.accumulate(total, sent(), answer(content))


def refused(content: RecordDict, **expected: Any) -> str:
    total, rest = taken_in(content, **expected)
    assert not total.any()
    accumulated = values_of(rest, "folded")
    assert "weight" not in accumulated
    return str(accumulated["refused"])


@pytest.mark.parametrize("arrays", [array_record(ARRAYS), network(ARRAYS)], ids=["views", "bytes"])
def test_a_reply_as_it_is_meant(arrays: ArrayRecord) -> None:
    extra = ConfigRecord({"note": "of no use"})
    total, rest = taken_in(RecordDict({"arrays": arrays, "metrics": metrics(own=1), "extra": extra}))
    np.testing.assert_array_equal(total, np.full(5, 4 / 4 * 2.0**42))
    assert sorted(rest.content) == ["folded", "metrics"]
    assert values_of(rest, "folded")["weight"] == 4


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"num__examples": None}, "'num-examples' is missing"),
        ({"num__examples": 10**9}, "'num-examples' is 1000000000; plausible is at most 4"),
        ({"num__examples": 10**40}, "plausible is at most 4"),
        ({"num__examples": 5}, "'num-examples' is 5; plausible is at most 4"),
        ({"num__examples": -1}, "'num-examples' is -1; expected a whole number of at least 0"),
        ({"num__examples": 0}, "weight 0 is not positive"),
        ({"num__examples": 4.0}, "'num-examples' is 4.0; expected a whole number"),
        ({"num__examples": True}, "'num-examples' is True; expected a whole number"),
        ({"num__examples": [4]}, r"'num-examples' is [4]; expected a whole number"),
        ({"num__examples": [4] * 1000}, "…; expected a whole number"),
        ({"audio__milliseconds": None}, "'audio-milliseconds' is missing"),
        ({"audio__milliseconds": 7000}, "'audio-milliseconds' is 7000; plausible is at most 6501"),
        ({"audio__milliseconds": float("nan")}, "'audio-milliseconds' is nan; expected a whole number"),
        ({"steps": None}, "'steps' is missing"),
        ({"steps": -2}, "'steps' is -2"),
        ({"skipped": 5}, "'skipped' is 5; plausible is at most 4"),
        ({"seconds": float("inf")}, "'seconds' is inf; expected a finite number of at least 0"),
        ({"seconds": -1.0}, "'seconds' is -1.0; expected a finite number of at least 0"),
        ({"seconds": None}, "'seconds' is missing"),
        ({"train__loss": None}, "'train-loss' is missing"),
        ({"train__loss": float("nan")}, "'train-loss' is nan; expected a finite number"),
        ({"train__loss": 1e300}, "'train-loss' is 1e+300; expected a finite number"),
        ({"train__loss": 10**400}, "'train-loss' is 1000"),
        ({"train__loss": [1.0]}, "'train-loss' is [1.0]; expected a number"),
        ({"loss__square": -1.0}, "'loss-square' is -1.0; expected a finite number of at least 0"),
    ],
)
def test_metrics_that_cannot_be(changes: dict[str, Any], why: str) -> None:
    assert why in refused(RecordDict({"arrays": array_record(ARRAYS), "metrics": metrics(**changes)}))


OWN_LABELS = {
    "untranscribed": 4,
    "labels__kept": 3,
    "labels__empty": 1,
    "labels__agreed": 2,
    "frames": 100,
    "blank__frames": 60,
    "label__words": 9,
    "label__errors": 2,
}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None),
        ({"label__words": None, "label__errors": None}, None),
        ({"untranscribed": 5}, "'untranscribed' is 5; plausible is at most 4"),
        ({"labels__kept": 5}, "'labels-kept' is 5; plausible is at most 4"),
        ({"labels__empty": -1}, "'labels-empty' is -1"),
        ({"labels__agreed": None}, "'labels-agreed' is missing"),
        ({"blank__frames": 101}, "'blank-frames' is 101; plausible is at most 100"),
        ({"frames": 1.5}, "'frames' is 1.5; expected a whole number"),
        ({"label__words": 10**6}, "'label-words' is 1000000"),
        ({"label__words": None}, "'label-words' is missing"),
        ({"label__errors": 10**6}, "'label-errors' is 1000000"),
    ],
)
def test_counts_of_labels_that_cannot_be(changes: dict[str, Any], why: str | None) -> None:
    content = RecordDict({"arrays": array_record(ARRAYS), "metrics": metrics(**{**OWN_LABELS, **changes})})
    if why is not None:
        assert why in refused(content)
        return
    total, rest = taken_in(content)
    assert total.any()
    assert LabelCounts.of(values_of(rest, "metrics")).kept == 3


def test_counts_of_labels_that_nobody_checked_are_not_read() -> None:
    stray = metrics(labels__kept=[1, 2], blank__frames=float("nan"))
    _, rest = taken_in(RecordDict({"arrays": array_record(ARRAYS), "metrics": stray}))
    assert LabelCounts.of(values_of(rest, "metrics")) == LabelCounts()


def test_a_client_that_made_no_step_has_no_loss() -> None:
    nothing = metrics(steps=0, train__loss=float("nan"), loss__square=float("nan"))
    total, _ = taken_in(RecordDict({"arrays": array_record(ARRAYS), "metrics": nothing}))
    assert total.any()


def test_private_clients_tell_no_losses() -> None:
    silent = metrics(train__loss=None, loss__square=None, skipped=None, utterances=None)
    content = RecordDict({"arrays": array_record(ARRAYS), "metrics": silent})
    assert taken_in(content, losses=False)[0].any()
    loud = RecordDict({"arrays": array_record(ARRAYS), "metrics": metrics(train__loss=float("inf"))})
    assert "'train-loss' is inf" in refused(loud, losses=False)


def changed(**arrays: np.ndarray) -> dict[str, np.ndarray]:
    return {**ARRAYS, **arrays}


@pytest.mark.parametrize("record", [array_record, network], ids=["views", "bytes"])
@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        (changed(w=np.ones((4, 1), np.float32)), "array 'w' is float32 (4, 1); expected float32 (2, 2)"),
        (changed(w=np.ones((2, 2))), "array 'w' is float64 (2, 2); expected float32 (2, 2)"),
        (changed(b=np.ones(1, np.int32)), "array 'b' is int32 (1,); expected float32 (1,)"),
        (changed(b=np.array(["x"])), "array 'b' is <U1 (1,)"),
        (changed(w=np.ones((1000, 1000), np.float32)), "the reply has 4000"),
        ({"w": ARRAYS["w"]}, "the arrays do not match the model: 'b'"),
        (changed(c=ARRAYS["b"]), "the arrays do not match the model: 'c'"),
        ({"b": ARRAYS["b"], "w": ARRAYS["w"]}, "the arrays do not match the model: another order"),
        ({}, "the arrays do not match the model: 'b', 'w'"),
        (changed(b=np.array([np.nan], np.float32)), "the update holds values that are not finite"),
        (changed(b=np.array([np.inf], np.float32)), "the update holds values that are not finite"),
        (changed(b=np.array([1e9], np.float32)), "the update is too large to be meant (L2 norm 1e+09)"),
        (changed(b=np.array([3e38], np.float32)), "beyond single precision"),
    ],
)
def test_arrays_that_are_not_the_models(
    arrays: dict[str, np.ndarray], why: str, record: Callable[..., ArrayRecord]
) -> None:
    assert why in refused(RecordDict({"arrays": record(arrays), "metrics": metrics()}))


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        (lying_header((10**12,)), "array 'w' holds 16 bytes of float32 (1000000000000,); expected float32 (2, 2)"),
        (lying_header((2, 2), "<f8"), "array 'w' holds 16 bytes of float64 (2, 2)"),
        (lying_header((2, 2), "|O"), "array 'w' holds 16 bytes of object (2, 2)"),
        (
            ArrayRecord({"w": Array("float32", (2, 2), "numpy.ndarray", b"junk"), "b": Array(ARRAYS["b"])}),
            "array 'w' cannot be read",
        ),
        (
            ArrayRecord({"w": Array("float32", (2, 2), "pickle", b""), "b": Array(ARRAYS["b"])}),
            "array 'w' cannot be read: not in the format of numpy.save",
        ),
    ],
    ids=["huge", "other kind", "objects", "junk", "another format"],
)
def test_bytes_are_looked_at_before_they_are_read(arrays: ArrayRecord, why: str) -> None:
    assert why in refused(RecordDict({"arrays": arrays, "metrics": metrics()}))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (RecordDict(), "the reply has no metrics"),
        (RecordDict({"metrics": metrics()}), "the reply has no arrays"),
        (RecordDict({"arrays": metrics(), "metrics": metrics()}), "the reply has no arrays"),
        (RecordDict({"arrays": array_record(ARRAYS)}), "the reply has no metrics"),
        (RecordDict({"arrays": array_record(ARRAYS), "metrics": ConfigRecord({"steps": 1})}), "has no metrics"),
        (RecordDict({"metrics": metrics(), "privacy": ConfigRecord(STATEMENT)}), "the reply has no arrays"),
    ],
)
def test_records_that_are_not_there(content: RecordDict, why: str) -> None:
    assert why in refused(content)


def test_a_reply_with_ballast_is_refused_and_the_ballast_dropped() -> None:
    ballast = ConfigRecord({"x": bytes(2 * 2**20)})
    content = RecordDict({"arrays": array_record(ARRAYS), "metrics": metrics(), "x": ballast})
    _, rest = taken_in(content)
    assert "expected at most" in values_of(rest, "folded")["refused"]
    assert "x" not in rest.content


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"epsilon": float("nan")}, "'epsilon' is nan"),
        ({"epsilon": -1.0}, "'epsilon' is -1.0"),
        ({"epsilon": "x"}, "'epsilon' is 'x'; expected a number"),
        ({"spent": 1}, "'spent' is 1; expected true or false"),
        ({"rounds": -1}, "'rounds' is -1"),
        ({"ledger": "{"}, "the privacy ledger is damaged"),
        ({"ledger": "[]"}, "the privacy ledger is damaged"),
        ({"ledger": "{}"}, "the privacy ledger is damaged"),
        ({"ledger": "[" * 100_000}, "the privacy ledger is damaged"),
    ],
)
def test_statements_of_privacy_accounts_that_cannot_be(changes: dict[str, Any], why: str) -> None:
    statement = ConfigRecord({**STATEMENT, **changes})
    content = RecordDict({"arrays": array_record(ARRAYS), "metrics": metrics(), "privacy": statement})
    total, rest = taken_in(content, losses=False, accountant="rdp")
    assert why in values_of(rest, "folded")["refused"]
    assert "privacy" not in rest.content
    assert not total.any()


def test_what_a_device_has_spent_counts_though_its_update_does_not() -> None:
    content = RecordDict({"metrics": metrics(), "privacy": ConfigRecord(STATEMENT)})
    _, rest = taken_in(content, accountant="rdp")
    assert values_of(rest, "folded")["refused"] == "the reply has no arrays"
    assert values_of(rest, "privacy")["epsilon"] == 0.5
    over = RecordDict({"metrics": metrics(), "privacy": ConfigRecord({**STATEMENT, "spent": True})})
    assert values_of(taken_in(over, accountant="rdp")[1], "folded")["absent"] is True


def test_stores_are_the_rosters() -> None:
    roster = Roster.from_counts(np.array([3, 4]), np.array([1.5, 2.5]))
    assert stores(roster, [1, 0]) == {1: Store(4, 2.5), 0: Store(3, 1.5)}
    assert stores(roster, []) == {}
    assert stores(roster, [1], recording=True)[1].utterances > 4
    assert stores(roster, [1], recording=True)[1].seconds > 2.5


COUNTS = {"num-examples": 4, "words": 10, "word-errors": 12}


def test_evaluation_counts() -> None:
    assert error_counts(answer(RecordDict({"metrics": MetricRecord(COUNTS)}), "evaluate"), STORE) == (10, 12)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"words": 10**9}, "'words' is 1000000000; plausible is at most 134"),
        ({"words": -1}, "'words' is -1"),
        ({"words": 1.5}, "'words' is 1.5"),
        ({"word-errors": 10**9}, "'word-errors' is 1000000000; plausible is at most 664"),
        ({"num-examples": 10**9}, "'num-examples' is 1000000000; plausible is at most 4"),
    ],
)
def test_evaluation_counts_that_cannot_be(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ReplyRefused, match=why):
        error_counts(answer(RecordDict({"metrics": MetricRecord({**COUNTS, **changes})}), "evaluate"), STORE)


def test_losses_that_are_answered() -> None:
    def answered(values: dict[str, Any]) -> float:
        return loss_of(answer(RecordDict({"metrics": MetricRecord(values)}), "query.loss"))

    assert answered({"loss": 2.5}) == 2.5
    assert np.isnan(answered({"loss": float("nan")})), "a device without speech"
    for values, why in (({"loss": float("inf")}, "'loss' is inf"), ({}, "missing"), ({"loss": [1.0]}, "a number")):
        with pytest.raises(ReplyRefused, match=why):
            answered(values)


def test_who_a_node_says_it_is() -> None:
    def answered(content: dict[str, Any]) -> int:
        return partition_of(answer(RecordDict(content), "query.describe"), 5)

    assert answered({"node": ConfigRecord({"partition-id": 4})}) == 4
    for value, why in ((5, "plausible is at most 4"), (-1, "at least 0"), ("1", "whole number"), (1.0, "whole number")):
        with pytest.raises(ReplyRefused, match=why):
            answered({"node": ConfigRecord({"partition-id": value})})
    with pytest.raises(ReplyRefused, match="does not describe the node"):
        answered({})


scalars = st.one_of(st.integers(), st.floats(), st.booleans(), st.text(max_size=3), st.binary(max_size=3), st.none())
values = st.one_of(scalars, st.lists(st.integers(), max_size=2))


@settings(max_examples=examples(200), deadline=None)
@given(
    changes=st.dictionaries(st.sampled_from(sorted(METRICS)), values, max_size=3),
    leave_out=st.sets(st.sampled_from(["arrays", "metrics"])),
    shape=st.lists(st.integers(0, 3), max_size=3),
    dtype=st.sampled_from(["float32", "float16", "int8", "complex64", "bool", "<U2"]),
    fill=st.floats(width=16),
)
def test_any_reply_is_an_update_or_refused(
    changes: dict[str, Any], leave_out: set[str], shape: list[int], dtype: str, fill: float
) -> None:
    with np.errstate(all="ignore"):
        array = np.full(shape, 0.5, np.float64).astype(dtype) if dtype != "float32" else np.full(shape, fill, dtype)
    record = MetricRecord()
    entries(record).update({**METRICS, **changes})
    content = RecordDict({"arrays": array_record({**ARRAYS, "b": array}), "metrics": record})
    for name in leave_out:
        del content[name]
    total, rest = taken_in(content)
    accumulated = values_of(rest, "folded")
    assert ("refused" in accumulated) != ("weight" in accumulated)
    assert np.isfinite(total).all()
    if "weight" in accumulated:
        assert 0 < accumulated["weight"] <= STORE.utterances
        assert dtype == "float32"
        assert shape == [1]
    else:
        assert not total.any()
