"""Records are Flower's own, and survive its serialisation; only copies are saved."""

from __future__ import annotations

import pickle
from io import BytesIO

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common.serde import message_from_proto, message_to_proto, recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as RecordDictProto
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedasr.flower.messages import assume_identity
from fedasr.flower.records import (
    LazyArray,
    array_record,
    arrays_of,
    content_bytes,
    entries,
    numpy_arrays,
    record_of,
    shallow_copy,
    values_of,
)

ARRAYS = hnp.arrays(
    st.sampled_from(["<f4", "<f8", "<i8", "|u1", "|b1", "<f2"]),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3),
)


def content() -> RecordDict:
    """Return what a client answers: arrays, numbers, text."""
    arrays = array_record({"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4)})
    metrics = MetricRecord({"num-examples": 7, "train-loss": 1.25, "losses": [1.0, 2.0]})
    config = ConfigRecord({"round": 3, "name": "a", "flag": True, "raw": b"\x00\x01", "names": ["x", "yz"]})
    return RecordDict({"arrays": arrays, "metrics": metrics, "config": config})


def instruction(payload: RecordDict | None = None) -> Message:
    assume_identity()
    return Message(payload if payload is not None else content(), 5, "train", group_id="1")


def test_lazy_arrays_are_arrays() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    lazy, plain = LazyArray(values), Array(values)
    assert isinstance(lazy, Array)
    assert (lazy.dtype, lazy.shape, lazy.stype, lazy.data) == (plain.dtype, plain.shape, plain.stype, plain.data)
    assert lazy == plain
    assert plain == lazy
    assert lazy == LazyArray(values.copy())
    assert lazy != LazyArray(values + 1)
    assert lazy != Array(values.reshape(3, 2))
    assert lazy != LazyArray(values.astype(np.float64))
    assert lazy != "array"


def test_lazy_arrays_are_read_only_views_and_leave_the_original_writable() -> None:
    values = np.zeros(3, np.float32)
    lazy = LazyArray(values)
    assert np.shares_memory(lazy.numpy(), values)
    with pytest.raises(ValueError, match="read-only"):
        lazy.numpy()[0] = 1
    values[0] = 5
    assert lazy.numpy()[0] == 5
    assert np.load(BytesIO(lazy.data))[0] == 5


def test_lazy_arrays_are_pickled_as_plain_ones() -> None:
    result = pickle.loads(pickle.dumps(content()))
    assert all(type(array) is Array for array in result["arrays"].values())
    assert result == content()


@settings(deadline=None)
@given(ARRAYS)
def test_any_array_survives_flowers_serialisation(values: np.ndarray) -> None:
    payload = RecordDict({"arrays": array_record({"x": values})})
    wire = recorddict_to_proto(payload).SerializeToString()
    array = recorddict_from_proto(RecordDictProto.FromString(wire))["arrays"]["x"]
    assert type(array) is Array
    np.testing.assert_array_equal(array.numpy(), values)
    assert array.numpy().dtype == values.dtype
    assert array.numpy().shape == values.shape


def test_a_message_survives_flowers_serialisation() -> None:
    message = instruction()
    result = message_from_proto(message_to_proto(message))
    assert result.content == message.content
    assert result.metadata.message_type == "train"


def test_a_message_survives_flowers_object_tree() -> None:
    """What a SuperLink stores and a SuperNode pulls: an object a record and an array, found by their hashes."""
    message = instruction()
    objects = get_all_nested_objects(message)
    contents = {name: result.deflate() for name, result in objects.items()}
    result = inflate_object_from_contents(message.object_id, contents)
    assert isinstance(result, Message)
    assert result.content == message.content
    assert all(type(array) is Array for array in result.content["arrays"].values())
    plain = RecordDict({"arrays": ArrayRecord({"x": Array(np.ones(3))})})
    assert RecordDict({"arrays": array_record({"x": np.ones(3)})}).object_id == plain.object_id


@settings(deadline=None)
@given(st.dictionaries(st.text("abc.", min_size=1), ARRAYS | ARRAYS.map(np.transpose), max_size=3))
def test_counted_bytes_are_serialised_bytes(arrays: dict[str, np.ndarray]) -> None:
    payload = content()
    payload["arrays"] = array_record(arrays)
    plain = RecordDict({**payload, "arrays": ArrayRecord({name: Array(array) for name, array in arrays.items()})})
    expected = sum(record.count_bytes() for record in plain.values())
    assert content_bytes(payload) == content_bytes(plain) == expected
    assert sum(len(name) + len(array.data) for name, array in plain["arrays"].items()) <= expected


def test_counted_bytes_are_about_what_travels() -> None:
    payload = content()
    payload["arrays"] = array_record({f"layer{i}.weight": np.ones((64, 64), np.float32) for i in range(4)})
    travels = recorddict_to_proto(payload).ByteSize()
    assert content_bytes(payload) <= travels <= 1.01 * content_bytes(payload)


def test_records_are_read_and_filled_without_copies() -> None:
    payload = content()
    lazy = payload["arrays"]["w"]
    assert record_of({"w": lazy})["w"] is lazy
    assert numpy_arrays(payload["arrays"])["w"] is lazy.numpy()
    message = instruction(payload)
    assert list(arrays_of(message)) == ["w", "b"]
    assert values_of(message, "metrics") == {"num-examples": 7, "train-loss": 1.25, "losses": [1.0, 2.0]}
    assert values_of(message, "config")["name"] == "a"
    assert entries(payload["metrics"]) == dict(payload["metrics"])


def test_a_shallow_copy_is_edited_alone() -> None:
    payload = content()
    copy = shallow_copy(payload)
    assert copy == payload
    assert copy["arrays"]["w"] is payload["arrays"]["w"]
    copy["config"]["round"] = 99
    copy["metrics"]["num-examples"] = 0
    copy["arrays"]["w"] = Array(np.zeros(1))
    copy["more"] = ConfigRecord()
    del copy["arrays"]["b"]
    assert payload == content()
    with pytest.raises(TypeError):
        copy["metrics"]["text"] = "a metric is a number"
    with pytest.raises(TypeError):
        copy["arrays"]["text"] = "an array"
