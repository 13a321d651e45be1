"""The updates of a cohort on disk: a median needs them all, and memory should hold a few."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO
from weakref import finalize

import numpy as np
import numpy.typing as npt

from fedasr.errors import RunFailed
from fedasr.models.weights import Vector

BLOCK_VALUES = 2**20
"""Values in memory at a time, 4 MiB: few reads, and a sort that stays near the processor."""

Block = npt.NDArray[np.float32]


class UpdateFile:
    """Vectors of one size, written one by one and read back by columns. The file has no name: nobody has to remove it.

    It is written through the system's page cache and not mapped: what the system keeps of it in memory is not this
    process's, and is given up when somebody needs it.

    Args:
        folder: on a disk with room for a cohort of models; used when the first vector comes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file: IO[bytes] | None = None
        self.rows = 0

    def clear(self) -> None:
        """Begin anew, in the same place."""
        self.rows = 0

    def append(self, vector: Vector) -> None:
        """Add a vector, shape ``(size,)``, the same for all.

        Raises:
            RunFailed: it cannot be written.
        """
        try:
            if self.file is None:
                self.file = TemporaryFile(dir=self.folder)  # noqa: SIM115 - it lives as long as this object
                finalize(self, self.file.close)
            self.file.seek(self.rows * vector.nbytes)
            self.file.write(vector.data)
            self.file.flush()
        except OSError as error:
            raise RunFailed(f"{self.folder}: the updates of a round cannot be kept here: {error.strerror}") from None
        self.rows += 1

    def blocks(self, size: int, values: int = BLOCK_VALUES) -> Iterator[tuple[slice, Block]]:
        """Yield the columns from left to right, as many at a time as memory allows.

        Args:
            size: of a vector.
            values: in memory at a time, or one column if that is more.

        Yields:
            Which columns, and their values, shape ``(vectors, columns)``; overwritten by the next.
        """
        if self.file is None or not self.rows:
            return
        width = max(1, min(size, values // self.rows))
        for start in range(0, size, width):
            part = slice(start, min(start + width, size))
            block = np.empty((self.rows, part.stop - part.start), np.float32)
            for row in range(self.rows):
                self.file.seek(4 * (row * size + start))
                if self.file.readinto(block[row].data) != block[row].nbytes:  # type: ignore[attr-defined]
                    raise RunFailed(f"{self.folder}: the updates of a round cannot be read back")
            yield part, block
