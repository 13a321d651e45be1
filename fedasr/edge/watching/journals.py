"""The journals of a run folder, read from their end while the run writes them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fedasr.errors import InputError

BLOCK_BYTES = 1 << 16


def backwards(path: Path, block: int = BLOCK_BYTES) -> Iterator[dict[str, Any]]:
    """Yield the rows of a journal, the last first; none where there is no file. A line that is being written is left.

    Args:
        path: of the journal: JSON Lines.
        block: how many bytes are read at once.

    Raises:
        InputError: a line is damaged.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        end = file.seek(0, os.SEEK_END)
        kept = b""  # the beginning of what was read so far: the end of a line
        whole = False
        while end > 0:
            start = max(0, end - block)
            file.seek(start)
            lines = (file.read(end - start) + kept).split(b"\n")
            kept = lines.pop(0)
            if not whole and lines:
                lines.pop()  # what follows the last line break
                whole = True
            for line in reversed(lines):
                yield row(line, path)
            end = start
        if whole and kept:
            yield row(kept, path)


def row(line: bytes, path: Path) -> dict[str, Any]:
    """Return the row in a line of a journal."""
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict):
        raise InputError("is damaged: a line is not a JSON object", where=str(path))
    return entry
