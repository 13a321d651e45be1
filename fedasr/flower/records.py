"""Records without copies: arrays that are serialised only when somebody asks for their bytes, and what records hold."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, Message, RecordDict

from fedasr.flower.surface import supported

with supported():
    from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
    from flwr.proto.recorddict_pb2 import RecordDict as RecordDictProto


class LazyArray(Array):
    """A Flower array that stays a view and is serialised (``np.save``) only when somebody asks for its bytes.

    Serialisation costs about 1 ms a client message, a view nothing. The view is read-only, so that a client cannot
    write into the arrays of another.
    """

    def __init__(self, view: npt.NDArray[Any]) -> None:  # the parent's fields are set without serialising
        view = view.view()
        view.flags.writeable = False
        self.__dict__.update(
            {"dtype": dtype_name(view.dtype), "shape": view.shape, "stype": "numpy.ndarray", "_view": view}
        )

    @property
    def data(self) -> bytes:  # type: ignore[override]
        """Serialised bytes, made on demand."""
        buffer = BytesIO()
        np.save(buffer, self.__dict__["_view"], allow_pickle=False)
        return buffer.getvalue()

    def numpy(self) -> npt.NDArray[Any]:
        """Return the read-only view, without a copy."""
        return cast("npt.NDArray[Any]", self.__dict__["_view"])

    def __eq__(self, other: object) -> bool:
        """Equal when the serialised arrays are."""
        if not isinstance(other, Array):
            return NotImplemented
        return self.dtype == other.dtype and self.shape == other.shape and self.data == other.data

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        # Whoever pickles an array (Ray does) gets a plain one.
        return Array, (self.dtype, self.shape, self.stype, self.data)


# Flower writes the class name into the header of a serialised object and looks it up when it reads it back.
LazyArray.__name__ = LazyArray.__qualname__ = "Array"


def array_record(arrays: dict[str, npt.NDArray[Any]]) -> ArrayRecord:
    """Return an array record whose arrays are views of ``arrays``."""
    return record_of({name: LazyArray(array) for name, array in arrays.items()})


def record_of(arrays: Mapping[str, Array]) -> ArrayRecord:
    """Return an array record that holds these very objects (``ArrayRecord(dict)`` would serialise and copy them)."""
    record = ArrayRecord()
    entries(record).update(arrays)
    return record


def entries(record: Any) -> dict[str, Any]:
    """Return the dictionary inside a record: reading and filling it directly skips a type check for every value."""
    return cast("dict[str, Any]", record.__dict__["_data"])


def numpy_arrays(record: ArrayRecord) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a record; views where they are lazy, so do not write into them."""
    return {name: array.numpy() for name, array in entries(record).items()}


def arrays_of(message: Message, record: str = "arrays") -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a message's array record."""
    return numpy_arrays(cast("ArrayRecord", message.content[record]))


def values_of(message: Message, record: str) -> dict[str, Any]:
    """Return the values of a message's metric or config record."""
    return dict(entries(message.content[record]))


@lru_cache
def dtype_name(dtype: np.dtype[Any]) -> str:
    """Return NumPy's name of a dtype, which it makes up anew at every call."""
    return str(dtype)


@lru_cache(maxsize=4096)
def header_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    """Return the size of the ``np.save`` header of such an array: it depends on how many digits the sides have."""
    rounded = tuple(10 ** (len(str(side)) - 1) for side in shape)
    return header_bytes(dtype, rounded) if rounded != shape else measured_header(dtype, shape)


def measured_header(dtype: str, shape: tuple[int, ...]) -> int:
    """Return the size of the ``np.save`` header of an array, written for it."""
    buffer = BytesIO()
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return len(buffer.getvalue())


def content_bytes(content: RecordDict) -> int:
    """Return the serialised size of a message's content in bytes, without serialising lazy arrays."""
    total = 0
    for record in content.values():
        if isinstance(record, ArrayRecord):
            for name, array in entries(record).items():
                total += len(name)
                if isinstance(array, LazyArray):
                    total += array.numpy().nbytes + header_bytes(array.dtype, array.shape)
                else:
                    total += len(array.data)
        else:
            total += record.count_bytes()
    return total


def shallow_copy(content: RecordDict) -> RecordDict:
    """Return a copy whose records can be edited without the other clients of the round seeing it."""
    copy = RecordDict()
    for name, record in entries(content).items():
        twin = type(record)()
        entries(twin).update(entries(record))
        entries(copy)[name] = twin
    return copy


def to_bytes(records: RecordDict) -> bytes:
    """Return records in Flower's own serialisation."""
    return bytes(recorddict_to_proto(records).SerializeToString())


def from_bytes(serialised: bytes) -> RecordDict:
    """Return what ``to_bytes`` has serialised."""
    return recorddict_from_proto(RecordDictProto.FromString(serialised))
