"""The one way in which files are written: whole or not at all. A reader never finds half of one, a failure names it."""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from errno import EDQUOT, EFBIG, EIO, ENOSPC
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedasr.errors import InputError, nearest

if TYPE_CHECKING:  # the command line shows an error without NumPy
    import numpy.typing as npt

FULL = (ENOSPC, EDQUOT, EFBIG)
"""What the system says where there is no room: no fault of the input."""
PRIVATE, READABLE = 0o600, 0o644
"""Modes of a file: for its owner alone, or for others to read."""


def check_suffix(out: str | Path, known: Sequence[str]) -> Path:
    """Return the path of a file to write.

    Raises:
        InputError: its suffix is none of those known.
    """
    path = Path(out)
    suffix = path.suffix.lower()
    if suffix not in known:
        raise InputError(
            f"cannot write '{path.suffix}'{nearest(suffix, known)}; expected one of: {', '.join(known)}",
            where=str(path),
        )
    return path


def system_refusal(error: OSError | MemoryError) -> str | None:
    """Return what the machine refused (a file, disk space, memory) in words; None where the code is to blame."""
    if isinstance(error, MemoryError):
        return f"out of memory: {error}"
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return error.strerror if error.errno in FULL else None


@contextmanager
def replacing(path: Path, *, mode: int | None = None, durable: bool = False, shared: bool = False) -> Iterator[Path]:
    """Yield a file to write in the place of ``path``, and put it there where all went well; else it is removed.

    Args:
        path: the file; its folder exists.
        mode: of the file, from before anything is in it; None: what the umask says.
        durable: it is on the disk when this returns: after a power cut there is the new file, or before that the old.
        shared: several processes may write the file at once; the last one wins.

    Raises:
        OSError: the system refuses, such as a full disk; it names ``path``, which is as it was before.
    """
    owner = f".{os.getpid()}-{secrets.token_hex(4)}" if shared else ""
    temporary = path.with_name(f".{path.name}{owner}.part")
    try:
        temporary.unlink(missing_ok=True)
        if mode is not None:
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        yield temporary
        if mode is not None:
            temporary.chmod(mode)
        if durable:
            on_disk(temporary)
        temporary.replace(path)
        if durable and os.name == "posix":
            on_disk(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            raise named(error, path) from None
        raise


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder to fill, and put it in the place of ``path`` where all went well; else it is removed.

    Args:
        path: absent or an empty folder; its parents are made.

    Raises:
        OSError: the system refuses.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if path.is_dir():
            path.rmdir()
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def locked(path: Path, refusal: str, where: Path) -> Iterator[None]:
    """Keep other processes from what a file stands for meanwhile; whoever is killed keeps nobody away.

    Args:
        path: of the file, which is made; its folder exists.
        refusal: what to say where another process has it.
        where: the place that the line names.

    Raises:
        InputError: another process has it.
    """
    if os.name != "posix":
        yield
        return
    import fcntl

    # A lock of the process: forked workers, which may outlive it for a moment, do not hold it.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if isinstance(error, (BlockingIOError, PermissionError)):
                raise InputError(refusal, where=str(where)) from None
            # A file system without locks keeps nobody from working.
        yield
    finally:
        os.close(descriptor)


@contextmanager
def refused(path: Path) -> Iterator[None]:
    """Turn what the system says against writing a file into a line.

    Raises:
        InputError: it cannot be written, such as to a full disk.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", where=str(path)) from None


def on_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def named(error: OSError, path: Path) -> OSError:
    """Return an error of the system that names the file that was being written."""
    number = error.errno or EIO
    return OSError(number, os.strerror(number), str(path))


def create(path: Path, content: bytes, mode: int = PRIVATE) -> None:
    """Write a file that is not there yet, whole or not at all; whoever is first decides what is in it.

    Raises:
        OSError: the system refuses.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        temporary.touch(mode, exist_ok=False)
        temporary.write_bytes(content)
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(
    path: Path, content: bytes, *, mode: int | None = None, durable: bool = False, shared: bool = False
) -> None:
    """Write a file whole or not at all; arguments and errors as ``replacing``."""
    with replacing(path, mode=mode, durable=durable, shared=shared) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str, *, durable: bool = False) -> None:
    """Write a file whole or not at all, in UTF-8; errors as ``replacing``."""
    write_bytes(path, text.encode(), durable=durable)


def write_durably(path: Path, value: Any) -> None:
    """Write JSON for its owner alone that stays when the power goes the moment this returns; its folder is made.

    Raises:
        InputError: it cannot be written, such as to a full disk; what was there before is there still.
    """
    with refused(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_bytes(path, json.dumps(value, indent=1).encode(), mode=PRIVATE, durable=True)


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file, empty where there is no file.

    Raises:
        InputError: the file is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, OSError) as error:
        raise InputError(f"cannot be read: {error}; restore it from a copy", where=str(path)) from None
    if not isinstance(content, dict):
        raise InputError("is damaged: it holds no JSON object; restore it from a copy", where=str(path))
    return content


def write_json(path: Path, value: Any, *, durable: bool = False) -> None:
    """Write JSON whole or not at all; NaN becomes null; errors as ``replacing``."""
    write_text(path, as_text(value), durable=durable)


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
    *,
    mode: int | None = None,
    durable: bool = False,
    shared: bool = False,
) -> None:
    """Write arrays (safetensors), whole or not at all.

    Args:
        path: the file.
        arrays: by name.
        facts: of the file's header.
        mode: as in ``replacing``, and the next two.
        durable: see there.
        shared: see there.

    Raises:
        OSError: the system refuses, such as a full disk; it names ``path``, which is as it was before.
    """
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    with replacing(path, mode=mode, durable=durable, shared=shared) as temporary:
        try:
            save_file(
                {name: np.ascontiguousarray(array) for name, array in arrays.items()},
                temporary,
                None if facts is None else dict(facts),
            )
        except SafetensorError as error:
            raise OSError(number_in(str(error)), str(error)) from None


def number_in(text: str) -> int:
    """Return the system's number in what safetensors says of a failed write: ``… (os error 28)``, ``… code: 28, …``."""
    match = re.search(r"(?:os error |code: )(\d+)", text)
    return int(match[1]) if match else EIO


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
