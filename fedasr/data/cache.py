"""A cache of float32 arrays on disk and in memory: bounded, safe for several processes, and never in the way."""

from __future__ import annotations

import os
import sqlite3
import struct
import warnings
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.config.schema import CacheConfig
from fedasr.errors import InputError
from fedasr.paths import home, own_temporary

Array = npt.NDArray[np.float32]

SHARDS = 4
"""Databases that keys are spread over: writers in different ones do not wait for each other."""

LARGEST_ROW = 1 << 17
"""Larger values, in bytes, are files beside the database."""

PATIENCE_S = 1.0
"""How long a process waits for another one's write before it goes on without the cache."""

_HEADER = struct.Struct("<4sIIII")
_MAGIC = b"fa1\n"

_inherited: list[Any] = []
"""Connections of a parent process: SQLite forbids a child to use or close them, so they are kept alive untouched."""


class FeatureCache:
    """Arrays by key, computed once.

    On disk by diskcache (SQLite), at most ``disk_mb``, oldest out first; reads do not write. In memory at most
    ``memory_mb``, least recently used out first. Values are float32 as computed: a cached one is bit-identical to a
    fresh one. Whatever is wrong with the disk (full, damaged, read-only, deleted) costs a warning and the time to
    compute, never the run.

    Args:
        config: the folder (None: ``fedasr`` in the user's cache folder; ``off``: memory only) and the bounds.
    """

    def __init__(self, config: CacheConfig) -> None:
        self.config = config
        self.folder = None if config.directory == "off" else cache_folder(config.directory)
        self._start()

    def get_or_compute(self, key: bytes, compute: Callable[[], Array]) -> Array:
        """Return the array of ``key``, float32, one or two dimensions, read-only; ``compute`` it where it is absent.

        Raises:
            Exception: what ``compute`` raises.
        """
        if self._pid != os.getpid():
            _inherited.append(self._disk)
            self._start()
        with self._lock:
            array = self._memory.get(key)
            if array is not None:
                self._memory.move_to_end(key)
                return array
        array = self._read(key)
        if array is None:
            # A view: whoever computed the array may go on writing to it.
            array = np.ascontiguousarray(compute(), dtype=np.float32).view()
            array.setflags(write=False)
            self._write(key, array)
        self._remember(key, array)
        return array

    def _start(self) -> None:
        """Begin empty in this process; the disk is opened when it is first needed."""
        self._pid = os.getpid()
        self._memory: OrderedDict[bytes, Array] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()
        self._disk: Any = None
        self._broken = self.folder is None

    def _remember(self, key: bytes, value: Array) -> None:
        bound = self.config.memory_mb * 1e6
        if value.nbytes > bound:
            return
        with self._lock:
            if key in self._memory:
                return
            self._memory[key] = value
            self._bytes += value.nbytes
            while self._bytes > bound:
                _, oldest = self._memory.popitem(last=False)
                self._bytes -= oldest.nbytes

    def _read(self, key: bytes) -> Array | None:
        disk = self._open()
        if disk is None:
            return None
        try:
            stored = disk.get(key)
        except Exception as error:  # whatever a damaged database or file raises, the run goes on
            self._give_up(error)
            return None
        return unpack(stored)

    def _write(self, key: bytes, value: Array) -> None:
        disk = self._open()
        if disk is None:
            return
        try:
            disk.set(key, pack(value))
        except Exception as error:  # a full disk, a damaged database: the run goes on
            self._give_up(error)

    def _open(self) -> Any:
        """Return this process's connection, or None where the disk cannot be used."""
        if self._broken or self._disk is not None:
            return self._disk
        from diskcache import FanoutCache

        for attempt in range(5):
            try:
                self._disk = FanoutCache(
                    str(self.folder),
                    shards=SHARDS,
                    timeout=PATIENCE_S,
                    size_limit=int(self.config.disk_mb * 1e6),
                    disk_min_file_size=LARGEST_ROW,
                    # Per shard and process; diskcache's own 32 MB and 64 MB would dwarf the workers.
                    sqlite_cache_size=256,
                    sqlite_mmap_size=0,
                )
                break
            except sqlite3.OperationalError as error:
                # Several processes that create the same cache at once may find it locked or half made.
                if attempt == 4:
                    self._give_up(error)
            except Exception as error:  # no permission, a file in the folder's place, a damaged database
                self._give_up(error)
                break
        return self._disk

    def _give_up(self, error: Exception) -> None:
        """Go on without the disk."""
        self._broken = True
        self._disk = None
        warnings.warn(
            f"the feature cache in {self.folder} cannot be used ({error or type(error).__name__}); features are"
            " computed anew. Delete the folder, or set data.cache.directory to another one or to 'off'",
            RuntimeWarning,
            stacklevel=2,
        )

    def __reduce__(self) -> tuple[type[FeatureCache], tuple[CacheConfig]]:
        return FeatureCache, (self.config,)


def cache_folder(directory: str | None) -> Path:
    """Return the folder of the cache: as given, or ``fedasr`` in the user's cache folder.

    A user without a home has it in the temporary folder.

    Raises:
        InputError: the folder given begins with the home of somebody whom the system does not know.
    """
    if directory is not None:
        try:
            return Path(directory).expanduser()
        except RuntimeError:
            raise InputError(f"'data.cache.directory' is '{directory}', but there is no such home folder") from None
    given = os.environ.get("XDG_CACHE_HOME")
    if given:
        return Path(given) / "fedasr"
    folder = home()
    return own_temporary() / "cache" if folder is None else folder / ".cache" / "fedasr"


def pack(value: Array) -> bytes:
    """Return an array of one or two dimensions as bytes with its shape and a checksum."""
    rows, columns = value.shape if value.ndim == 2 else (len(value), 0)
    content = value.tobytes()
    return _HEADER.pack(_MAGIC, rows, columns, zlib.crc32(content), 0) + content


def unpack(stored: object) -> Array | None:
    """Return the array in ``stored``, read-only, or None where it is not what ``pack`` made."""
    if not isinstance(stored, bytes) or len(stored) < _HEADER.size:
        return None
    magic, rows, columns, checksum, _ = _HEADER.unpack_from(stored)
    content = memoryview(stored)[_HEADER.size :]
    shape = (rows, columns) if columns else (rows,)
    if magic != _MAGIC or len(content) != 4 * rows * max(1, columns) or zlib.crc32(content) != checksum:
        return None
    return np.frombuffer(content, np.float32).reshape(shape)
