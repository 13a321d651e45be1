"""The part of a store that one process writes, and goes on with after it was killed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from fedasr.data.posteriors.layout import Layout, index_type
from fedasr.errors import InputError
from fedasr.files import locked, on_disk

INDEX, LOCK = "index.bin", "lock"
PREFIX = "shard-"


def table_file(folder: Path, table: str) -> Path:
    """Return the file of a table."""
    return folder / f"{table}.bin"


class ShardWriter:
    """Appends utterances; each ``commit`` makes what was added last, whatever happens to the process or the machine.

    The rows are on the disk before the index says that they are there. What was not committed is cut off when the
    shard is opened again.

    Args:
        folder: of the shard; made where it is not there.
        layout: of the store.

    Raises:
        InputError: another process writes the shard.
    """

    def __init__(self, folder: Path, layout: Layout) -> None:
        self.layout, self.record = layout, index_type(layout)
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(locked(folder / LOCK, "another process writes this part; wait for it", folder))
            self.index = stack.enter_context(open_to_append(folder / INDEX))
            self.tables = {table: stack.enter_context(open_to_append(table_file(folder, table))) for table in layout}
            self.ends = self.recovered()
            self.closing = stack.pop_all()
        self.waiting: list[npt.NDArray[Any]] = []

    def recovered(self) -> dict[str, int]:
        """Cut off what was not committed; return the rows of each table."""
        self.index.seek(0)
        records = np.frombuffer(self.index.read(), np.uint8)
        whole = len(records) // self.record.itemsize
        index = records[: whole * self.record.itemsize].view(self.record)
        for table, kind in self.layout.items():
            there = os.fstat(self.tables[table].fileno()).st_size // kind.itemsize
            # A power cut may lose rows of a disk that promised them.
            whole = min(whole, int(np.searchsorted(index[f"{table}_first"] + index[f"{table}_rows"], there, "right")))
        last = index[whole - 1] if whole else None
        ends = {t: 0 if last is None else int(last[f"{t}_first"]) + int(last[f"{t}_rows"]) for t in self.layout}
        cut(self.index, whole * self.record.itemsize)
        for table, kind in self.layout.items():
            cut(self.tables[table], ends[table] * kind.itemsize)
        return ends

    def add(self, key: npt.NDArray[np.uint64], rows: Mapping[str, npt.NDArray[Any]]) -> None:
        """Append an utterance.

        Args:
            key: its digest, shape ``(2,)``.
            rows: of each table, of the type of the layout.
        """
        record = np.zeros(1, self.record)
        record["utterance"] = key
        for table, kind in self.layout.items():
            added = rows[table]
            if added.dtype != kind:
                raise ValueError(f"rows of '{table}' are {added.dtype}; expected {kind}")
            self.tables[table].write(np.ascontiguousarray(added).tobytes())
            record[f"{table}_first"], record[f"{table}_rows"] = self.ends[table], len(added)
            self.ends[table] += len(added)
        self.waiting.append(record)

    def commit(self) -> None:
        """Make what was added last."""
        if not self.waiting:
            return
        for file in self.tables.values():
            flushed(file)
        self.index.write(b"".join(record.tobytes() for record in self.waiting))
        flushed(self.index)
        self.waiting = []

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.closing.close()


def open_to_append(path: Path) -> IO[bytes]:
    """Return a file to read and to append to."""
    try:
        return path.open("a+b")
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", where=str(path)) from None


def cut(file: IO[bytes], size: int) -> None:
    """Leave the first bytes of a file."""
    if os.fstat(file.fileno()).st_size != size:
        file.truncate(size)


def flushed(file: IO[bytes]) -> None:
    """Wait until what was written is on the disk."""
    file.flush()
    on_disk(Path(file.name))
