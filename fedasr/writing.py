"""Write a file whole or not at all: what a reader finds is never half of it, and a failure names the file."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from errno import EDQUOT, EFBIG, EIO, ENOSPC
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FULL = (ENOSPC, EDQUOT, EFBIG)
"""What the system says where there is no room: no fault of the input."""


def system_refusal(error: OSError | MemoryError) -> str | None:
    """Return what the machine refused (a file, disk space, memory) in words; None where the code is to blame."""
    if isinstance(error, MemoryError):
        return f"out of memory: {error}"
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return error.strerror if error.errno in FULL else None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a file to write in the place of ``path``, and put it there where all went well; else it is removed.

    Raises:
        OSError: the system refuses, such as a full disk; it names ``path``, which is as it was before.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise named(error, path) from None
        raise


def named(error: OSError, path: Path) -> OSError:
    """Return an error of the system that names the file that was being written."""
    number = error.errno or EIO
    return OSError(number, os.strerror(number), str(path))


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all; NaN becomes null."""
    write_text(path, as_text(value))


def write_json_anyhow(path: Path, value: Any) -> None:
    """Write JSON even to a full disk, in the room that the old file has, where it suffices.

    Raises:
        OSError: it does not.
    """
    try:
        write_json(path, value)
    except OSError as error:
        if error.errno not in FULL or not path.is_file():
            raise
        with path.open("r+b") as file:
            file.write(as_text(value).encode())
            file.truncate()


def write_arrays(
    path: Path,
    arrays: Mapping[str, npt.NDArray[Any]],
    facts: Mapping[str, str] | None = None,
    mode: int | None = None,
) -> None:
    """Write arrays (safetensors), whole or not at all.

    Args:
        path: the file.
        arrays: by name.
        facts: of the file's header.
        mode: of the file, from before anything is in it; None: what the umask says.

    Raises:
        OSError: the system refuses, such as a full disk; it names ``path``, which is as it was before.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    with replacing(path) as temporary:
        if mode is not None:
            temporary.touch(mode)
            temporary.chmod(mode)
        try:
            save_file(
                {name: np.ascontiguousarray(array) for name, array in arrays.items()},
                temporary,
                None if facts is None else dict(facts),
            )
        except SafetensorError as error:
            raise OSError(number_in(str(error)), str(error)) from None
        if mode is not None:
            temporary.chmod(mode)


def number_in(text: str) -> int:
    """Return the system's number in what safetensors says of a failed write: ``… (os error 28)``, ``… code: 28, …``."""
    found = re.search(r"(?:os error |code: )(\d+)", text)
    return int(found[1]) if found else EIO


def as_text(value: Any) -> str:
    """Return a value as the text of a JSON file."""
    return json.dumps(finite(value), indent=2, ensure_ascii=False) + "\n"


def finite(value: Any) -> Any:
    """Return ``value`` with floats that JSON cannot say as None."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
