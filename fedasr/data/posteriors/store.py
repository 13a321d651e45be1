"""A finished or half-written store: which utterances it has, and their rows, memory-mapped."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.data.corpus import BadAudio, Corpus
from fedasr.data.posteriors.header import read_header
from fedasr.data.posteriors.layout import FRAMES, index_type
from fedasr.data.posteriors.shard import INDEX, PREFIX, table_file
from fedasr.errors import InputError
from fedasr.paths import is_file

Keys = npt.NDArray[np.uint64]
"""Digests of utterances, shape ``(utterances, 2)``."""

AT_A_TIME = 1 << 20
"""Rows that ``captured_mass`` looks at together."""


def keys_of(corpus: Corpus, rows: npt.NDArray[np.integer]) -> Keys:
    """Return the digest of each of some utterances: of what its audio is, wherever it lies.

    Audio that cannot be read has the digest of nothing.
    """
    keys = np.zeros((len(rows), 2), np.uint64)
    for place, row in enumerate(rows.tolist()):
        try:
            content = corpus.content_key(row)
        except BadAudio:
            content = b""
        keys[place] = np.frombuffer(blake2b(content, digest_size=16).digest(), "<u8")
    return keys


class PosteriorStore:
    """The utterances of all shards.

    In memory are 12 bytes an utterance, to find them; the rows stay on the disk until they are asked for.

    Args:
        folder: of the store.

    Raises:
        InputError: it holds no store, or a shard is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.header = read_header(folder)
        layout = self.header.layout
        record = index_type(layout)
        shards = [path for path in sorted(folder.glob(f"{PREFIX}*")) if is_file(path / INDEX)]
        self.indices = [mapped(path / INDEX, record) for path in shards]
        self.tables = [
            {table: mapped(table_file(path, table), kind) for table, kind in layout.items()} for path in shards
        ]
        for path, index, tables in zip(shards, self.indices, self.tables, strict=True):
            check_shard(path, index, tables)
        sizes = [len(index) for index in self.indices]
        self.starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)
        first = np.concatenate([index["utterance"][:, 0] for index in self.indices] or [np.zeros(0, np.uint64)])
        self.order = np.argsort(first, kind="stable").astype(np.int32)
        self.sorted = first[self.order]

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self.order)

    def find(self, keys: Keys) -> npt.NDArray[np.int64]:
        """Return the place of each utterance, −1 where it is not there, shape ``(utterances,)``."""
        result = np.full(len(keys), -1, np.int64)
        if not len(self):
            return result
        at = np.searchsorted(self.sorted, keys[:, 0])
        open_ones = np.arange(len(keys))
        while len(open_ones):  # more than once only for digests that share their first half
            inside = at[open_ones] < len(self)
            open_ones = open_ones[inside]
            open_ones = open_ones[self.sorted[at[open_ones]] == keys[open_ones, 0]]
            places = self.order[at[open_ones]].astype(np.int64)
            same = self.second_halves(places) == keys[open_ones, 1]
            result[open_ones[same]] = places[same]
            open_ones = open_ones[~same]
            at[open_ones] += 1
        return result

    def second_halves(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
        """Return the second half of the digests at some places."""
        halves = np.zeros(len(places), np.uint64)
        shards = np.searchsorted(self.starts, places, "right") - 1
        for shard in np.unique(shards).tolist():
            here = shards == shard
            halves[here] = self.indices[shard]["utterance"][places[here] - self.starts[shard], 1]
        return halves

    def rows(self, place: int, table: str) -> npt.NDArray[Any]:
        """Return the rows of an utterance in a table, a view of the disk."""
        shard = int(np.searchsorted(self.starts, place, "right")) - 1
        record = self.indices[shard][place - self.starts[shard]]
        first = int(record[f"{table}_first"])
        return self.tables[shard][table][first : first + int(record[f"{table}_rows"])]

    def counts(self, table: str) -> npt.NDArray[np.int64]:
        """Return the rows that each utterance has in a table, shape ``(utterances,)``."""
        counts = [index[f"{table}_rows"].astype(np.int64) for index in self.indices]
        return np.concatenate(counts or [np.zeros(0, np.int64)])

    def bytes(self) -> dict[str, int]:
        """Return the bytes of each table and of the index, all shards together."""
        tables = {table: sum(shard[table].nbytes for shard in self.tables) for table in self.header.layout}
        return {**tables, "index": sum(index.nbytes for index in self.indices)}

    def captured_mass(self) -> float:
        """Return the posterior mass of the classes that are stored, the mean over all frames; 1 where all are."""
        if self.header.targets != "frames" or "rest" not in (self.header.layout[FRAMES].names or ()):
            return 1.0
        frames, lost = 0, 0.0
        for shard in self.tables:
            rows = shard[FRAMES]
            for start in range(0, len(rows), AT_A_TIME):
                lost += float(np.exp(rows["rest"][start : start + AT_A_TIME].astype(np.float64)).sum())
            frames += len(rows)
        return 1.0 - lost / frames if frames else float("nan")


def mapped(path: Path, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return the whole rows in a file, memory-mapped.

    Raises:
        InputError: it cannot be read.
    """
    try:
        rows = path.stat().st_size // kind.itemsize
        return np.memmap(path, kind, "r", shape=(rows,)) if rows else np.zeros(0, kind)
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror or error}; write the posteriors anew", where=str(path)
        ) from None


def check_shard(folder: Path, index: npt.NDArray[Any], tables: dict[str, npt.NDArray[Any]]) -> None:
    """Raise where the index speaks of rows that are not there.

    Raises:
        InputError: it does.
    """
    for table, rows in tables.items():
        if len(index) and int((index[f"{table}_first"] + index[f"{table}_rows"]).max()) > len(rows):
            raise InputError(
                f"is damaged: it is shorter than its {INDEX} says; give the command that wrote it once more, which"
                " goes on from what is whole",
                where=str(table_file(folder, table)),
            )
