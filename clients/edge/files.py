"""Small files that a box must find whole after a power cut."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from fedasr.errors import InputError


def write_durably(path: Path, value: Any) -> None:
    """Write JSON that is there whole or not at all, and stays when the power goes the moment this returns.

    Raises:
        InputError: it cannot be written, such as to a full disk; what was there before is there still.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise InputError(f"cannot be written: {error.strerror}", where=str(path)) from None
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file, empty where there is no file.

    Raises:
        InputError: the file is damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, OSError) as error:
        raise InputError(f"cannot be read: {error}; restore it from a copy", where=str(path)) from None
    if not isinstance(found, dict):
        raise InputError("is damaged: it holds no JSON object; restore it from a copy", where=str(path))
    return found
