"""Shared memory for arrays: the round's model goes out once, replies come back without a copy through a pipe."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from mmap import mmap
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import ArrayRecord, RecordDict

from fedasr.flower.records import array_record, numpy_arrays

Bytes = npt.NDArray[np.uint8]

ALIGNMENT = 64
SHARED = Path("/dev/shm")
"""Where Linux shows shared memory; elsewhere it is no folder."""


@dataclass(frozen=True)
class Place:
    """Where one array lies in a region."""

    record: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int


@dataclass(frozen=True)
class Packed:
    """A message's content: the arrays' places, and the other records as they are."""

    places: tuple[Place, ...]
    size: int
    rest: Mapping[str, Any]
    order: tuple[str, ...]


def plan(content: RecordDict) -> tuple[Packed, list[npt.NDArray[Any]]]:
    """Return where each array of ``content`` would lie, and the arrays."""
    places: list[Place] = []
    arrays: list[npt.NDArray[Any]] = []
    rest: dict[str, Any] = {}
    start = 0
    for record_name, record in content.items():
        if not isinstance(record, ArrayRecord):
            rest[record_name] = record
            continue
        for name, array in numpy_arrays(record).items():
            places.append(Place(record_name, name, array.dtype.str, array.shape, start, array.nbytes))
            arrays.append(array)
            start += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
    return Packed(tuple(places), start, rest, tuple(content)), arrays


def write(region: Bytes, packed: Packed, arrays: list[npt.NDArray[Any]]) -> None:
    """Copy the arrays to their places in ``region``."""
    for place, array in zip(packed.places, arrays, strict=True):
        target = region[place.start : place.start + place.size].view(place.dtype).reshape(place.shape)
        np.copyto(target, array)


def unpack(region: Bytes, packed: Packed) -> RecordDict:
    """Return the content whose arrays are read-only views of ``region``."""
    groups: dict[str, dict[str, npt.NDArray[Any]]] = {}
    for place in packed.places:
        view = region[place.start : place.start + place.size].view(place.dtype).reshape(place.shape)
        groups.setdefault(place.record, {})[place.name] = view
    content = RecordDict()
    for name in packed.order:
        content[name] = packed.rest[name] if name in packed.rest else array_record(groups.get(name, {}))
    return content


class SharedRegion(shared_memory.SharedMemory):
    """A region of the system's shared memory."""

    def close(self) -> None:
        """Unmap the region, or leave that to the end of the process where an array still looks into it."""
        with suppress(BufferError):
            super().close()

    def bytes(self) -> Bytes:
        """Return the bytes of the region, a view."""
        assert self.buf is not None, "the region is closed"
        return np.frombuffer(self.buf, dtype=np.uint8)


class FileRegion:
    """A region in a file, for machines whose shared memory is small, as in a container.

    Args:
        path: the file, made where ``size`` is given.
        size: bytes.
    """

    def __init__(self, path: Path, size: int | None = None) -> None:
        self.path = path
        self.name = str(path)
        flags = os.O_RDWR if size is None else os.O_RDWR | os.O_CREAT | os.O_EXCL
        descriptor = os.open(path, flags, 0o600)
        try:
            if size is not None:
                os.ftruncate(descriptor, size)
                reserve(descriptor, size)
            self.map = mmap(descriptor, 0)
        except BaseException:
            if size is not None:
                path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        self.size = len(self.map)

    def bytes(self) -> Bytes:
        """Return the bytes of the region, a view."""
        return np.frombuffer(self.map, dtype=np.uint8)

    def close(self) -> None:
        """Unmap the region, or leave that to the end of the process where an array still looks into it."""
        with suppress(BufferError):
            self.map.close()

    def unlink(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)


Region = SharedRegion | FileRegion
"""Memory that several processes see. It outlives its name for as long as an array looks into it."""


def reserve(descriptor: int, size: int) -> None:
    """Take the room that a file says it has: whoever writes where there is none dies of SIGBUS, without a word.

    Raises:
        OSError: there is not enough.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)


def shared_region(size: int) -> SharedRegion:
    """Return a new region of the system's shared memory.

    Raises:
        OSError: there is not enough of it, or none at all.
    """
    region = SharedRegion(create=True, size=size)
    try:
        place = SHARED / region.name
        if place.is_file():
            descriptor = os.open(place, os.O_RDWR)
            try:
                reserve(descriptor, size)
            finally:
                os.close(descriptor)
    except BaseException:
        region.close()
        region.unlink()
        raise
    return region


class Regions:
    """Shared-memory regions of the parent process, lent out and taken back.

    A region goes back to the free ones when the last array that looks into it is gone, so a consumer may keep
    replies for as long as it likes: it then simply costs memory.
    """

    def __init__(self) -> None:
        self.memory: dict[str, Region] = {}
        self.free: list[str] = []
        self.folder: Path | None = None
        """of the files, once shared memory is used up"""
        self.numbers = itertools.count()

    def take(self, size: int) -> str:
        """Return the name of a region of at least ``size`` bytes that nobody uses."""
        for position, name in enumerate(self.free):
            if self.memory[name].size >= size:
                del self.free[position]
                return name
        memory = self.make(max(size, 4096))
        self.memory[memory.name] = memory
        return memory.name

    def make(self, size: int) -> Region:
        """Return a new region: in shared memory, or in a file of the temporary folder where there is too little of it.

        Raises:
            OSError: there is no room in either.
        """
        if self.folder is None:
            try:
                return shared_region(size)
            except OSError:
                self.folder = Path(tempfile.mkdtemp(prefix="fedasr-memory-"))
        try:
            return FileRegion(self.folder / str(next(self.numbers)), size)
        except OSError as error:
            raise OSError(
                error.errno,
                f"no room for {size:,} bytes that the workers share, neither in {SHARED} nor here; lower"
                " 'runtime.workers', make shared memory larger (docker run --shm-size), or set TMPDIR",
                str(self.folder),
            ) from None

    def view(self, name: str) -> Bytes:
        """Return the bytes of a region; the region is given back when the last view of them is gone."""
        base = self.memory[name].bytes()
        weakref.finalize(base, self.give, name)
        return base[:]

    def give(self, name: str) -> None:
        """Give a region back."""
        if name in self.memory:
            self.free.append(name)

    def close(self) -> None:
        """Remove all regions."""
        regions, self.memory = self.memory, {}
        self.free = []
        for memory in regions.values():
            memory.unlink()
            memory.close()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None


class Attachments:
    """Regions of the parent, as a worker sees them."""

    def __init__(self) -> None:
        self.memory: dict[str, Region] = {}

    def view(self, name: str) -> Bytes:
        """Return the bytes of the parent's region ``name``."""
        if name not in self.memory:
            self.memory[name] = FileRegion(Path(name)) if os.sep in name else SharedRegion(name=name)
        return self.memory[name].bytes()

    def remove_files(self) -> None:
        """Remove the files among the regions, which a parent that was killed leaves behind."""
        for folder in {region.path.parent for region in list(self.memory.values()) if isinstance(region, FileRegion)}:
            shutil.rmtree(folder, ignore_errors=True)
