"""Availability traces: a CSV that says when which device is there."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedasr.data.identity import identity
from fedasr.errors import InputError, nearest

COLUMNS = ("client", "start_s", "end_s")
LONGEST_S = 1e9
SHORTEST_S = 0.001


@dataclass(frozen=True)
class Trace:
    """Intervals ``[start_s, end_s)`` in which a device is there; columns of shape ``(intervals,)``."""

    client: npt.NDArray[np.int64]
    start_s: npt.NDArray[np.float64]
    end_s: npt.NDArray[np.float64]


def read_trace(path: str | Path, names: Sequence[str] | npt.NDArray[np.object_]) -> Trace:
    """Return the intervals of a CSV with the columns ``client``, ``start_s`` and ``end_s``; others are not read.

    ``client`` is the name of a client, or everywhere its index, from 0. Where all of them are both, they are names.

    Args:
        path: the file, UTF-8.
        names: name of each client, shape ``(clients,)``.

    Raises:
        InputError: the file cannot be read, is empty, or a line is not as expected; the line is named.
    """
    lines: list[int] = []
    who: list[str] = []
    times: list[tuple[float, float]] = []
    for line, client, start, end in records(Path(path)):
        lines.append(line)
        who.append(client)
        times.append((seconds("start_s", start, path, line), seconds("end_s", end, path, line)))
        if times[-1][1] - times[-1][0] < SHORTEST_S:
            raise InputError(
                f"'end_s' is {end}; expected it at least {SHORTEST_S} s after 'start_s', {start}",
                where=f"{path}:{line}",
            )
    if not lines:
        raise InputError("has no rows; expected an interval a row", where=str(path))
    columns = np.array(times, np.float64)
    return Trace(resolve(who, lines, names, path), columns[:, 0], columns[:, 1])


def records(path: Path) -> list[tuple[int, str, str, str]]:
    """Return ``(line, client, start_s, end_s)`` of every row, as text."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError("'devices.trace': there is no such file", where=str(path)) from None
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            problem = f"is not UTF-8 text (byte {error.start}); save it as UTF-8"
        else:
            problem = f"cannot be read: {getattr(error, 'strerror', None) or error}"
        raise InputError(f"'devices.trace': {problem}", where=str(path)) from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, str, str, str]] = []
    header: list[str] | None = None
    places = (0, 0, 0)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise InputError(f"cannot be read as a table: {error}", where=f"{path}:{line}") from None
        if row is None:
            break
        fields = [value.strip() for value in row]
        if not any(fields):
            continue
        if header is None:
            header = fields
            for name in COLUMNS:
                if header.count(name) != 1:
                    raise InputError(
                        f"expected a header with the column '{name}' once; it has: {', '.join(header)}",
                        where=f"{path}:{line}",
                    )
            places = (header.index("client"), header.index("start_s"), header.index("end_s"))
        elif len(fields) != len(header):
            raise InputError(f"the row has {len(fields)} fields; expected {len(header)}", where=f"{path}:{line}")
        else:
            client, start, end = places
            rows.append((line, fields[client], fields[start], fields[end]))
    return rows


def seconds(column: str, value: str, path: str | Path, line: int) -> float:
    """Return a time of a row in seconds.

    Raises:
        InputError: it is no number of seconds since the start of the run.
    """
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 <= number <= LONGEST_S:
        raise InputError(
            f"'{column}' is '{value}'; expected seconds since the start of the run, at most {LONGEST_S:.0e}",
            where=f"{path}:{line}",
        )
    return number


def resolve(
    who: Sequence[str],
    lines: Sequence[int],
    names: Sequence[str] | npt.NDArray[np.object_],
    path: str | Path,
) -> npt.NDArray[np.int64]:
    """Return the index of the client that each row means, shape ``(rows,)``.

    Raises:
        InputError: a row means none, or names and indices are mixed.
    """
    who = [identity(client) for client in who]
    by_name = {identity(str(name)): index for index, name in enumerate(names)}
    if all(client in by_name for client in who):
        return np.array([by_name[client] for client in who], np.int64)
    by_index = {str(index): index for index in range(len(names))}
    if all(client in by_index for client in who):
        return np.array([by_index[client] for client in who], np.int64)
    for client, line in zip(who, lines, strict=True):
        if client not in by_name and client not in by_index:
            raise InputError(
                f"'client' is '{client}'{nearest(client, by_name)}; expected the name of a client, or an index from 0"
                f" to {len(names) - 1}",
                where=f"{path}:{line}",
            )
    first = next(line for client, line in zip(who, lines, strict=True) if client not in by_name)
    raise InputError(
        "'client' is an index here and a name elsewhere; expected names everywhere or indices everywhere",
        where=f"{path}:{first}",
    )
