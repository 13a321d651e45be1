"""Manifests: a table of utterances in CSV, TSV, JSON Lines or Parquet."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedasr.data.audio import LONGEST_SECONDS
from fedasr.data.corpus import Column
from fedasr.data.files import FileCorpus
from fedasr.data.splits import hold_out
from fedasr.errors import InputError, nearest
from fedasr.paths import is_folder

REQUIRED = ("path", "speaker", "text")
SUFFIXES = {".csv": ",", ".tsv": "\t", ".jsonl": "", ".ndjson": "", ".parquet": ""}

Row = tuple[int, dict[str, str]]


class ManifestError(InputError):
    """A manifest is broken; ``reason`` says how and ``line`` where (0: no single line)."""

    def __init__(self, reason: str, path: str | Path = "", line: int = 0) -> None:
        super().__init__(reason, where=f"{path}:{line}" if line else str(path) or None)
        self.reason = reason
        self.line = line


@dataclass
class Table:
    """The rows of a manifest: column name to one text a row, and the line of each row (Parquet: its number)."""

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.lines)


class ManifestCorpus(FileCorpus):
    """The utterances of a manifest.

    Columns are those of the manifest except ``path``, as text (absent values are empty), and ``duration_s``. Rows whose
    ``duration_s`` is empty get it from the audio header.

    Args:
        path: the manifest; relative audio paths start from its folder.
        held_out: share of speakers that become ``test_split`` where the manifest has no ``split``.
        seed: seed of that draw.
        train_split: name of the split of the other speakers.
        test_split: name of the split of the speakers held out.

    Raises:
        InputError: the manifest cannot be read or is broken; the line is named.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        held_out: float = 0.1,
        seed: int = 0,
        train_split: str = "train",
        test_split: str = "test",
    ) -> None:
        table = read_table(path)
        columns: dict[str, Column] = {}
        for name, values in table.columns.items():
            if name not in ("path", "duration_s"):
                columns[name] = np.array(values, dtype=object)
        for name in ("path", "speaker"):
            for line, value in zip(table.lines, table.columns[name], strict=True):
                if not value:
                    raise ManifestError(f"the {name} is empty; every row needs one", table.path, line)
        durations = table.columns.get("duration_s")
        if durations is not None:
            columns["duration_s"] = np.array(
                [parse_duration(value, table.path, line) for line, value in zip(table.lines, durations, strict=True)],
                np.float32,
            )
        if not any(table.columns.get("split", ())):
            columns["split"] = hold_out(columns["speaker"], held_out, seed, train_split, test_split)
        super().__init__(str(path), table.path.parent, table.columns["path"], columns, table.lines)


def read_table(path: str | Path) -> Table:
    """Return the rows of a manifest, values as text with white space stripped at the ends.

    Raises:
        ManifestError: the file cannot be read, is not UTF-8, has no rows, misses a required column, or a row does not
            fit the header.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ManifestError(f"is no manifest by its name; expected one that ends in {', '.join(SUFFIXES)}", path)
    if is_folder(path):
        raise ManifestError("is a folder; expected a manifest: CSV, TSV, JSON Lines or Parquet", path)
    if suffix == ".parquet":
        header, rows = _parquet_rows(path)
    else:
        text = _read_text(path)
        header, rows = _json_rows(path, text) if not SUFFIXES[suffix] else _csv_rows(path, text, SUFFIXES[suffix])
    for name in REQUIRED:
        if name not in header:
            has = ", ".join(header) or "none"
            raise ManifestError(f"misses the column '{name}'{nearest(name, header)}; it has: {has}", path, 1)
    lines: list[int] = []
    columns: dict[str, list[str]] = {name: [] for name in header}
    for line, row in rows:
        lines.append(line)
        for name, values in columns.items():
            values.append(row.get(name, ""))
    if not lines:
        raise ManifestError("has no rows; expected one utterance a row", path)
    return Table(path, columns, lines)


def parse_duration(value: str, path: str | Path, line: int) -> float:
    """Return a duration in seconds, NaN where it is empty.

    Raises:
        ManifestError: it is not a positive number, or more than a day.
    """
    if not value:
        return math.nan
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= LONGEST_SECONDS:
        raise ManifestError(f"duration_s is '{value}'; expected seconds, more than 0 and at most a day", path, line)
    return seconds


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ManifestError("there is no such manifest", path) from None
    except OSError as error:
        raise ManifestError(f"cannot be read: {error.strerror or error}", path) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ManifestError(f"is not UTF-8 text (byte {error.start}); save it as UTF-8", path, line) from None


def _csv_rows(path: Path, text: str, delimiter: str) -> tuple[list[str], Iterator[Row]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)

    def records() -> Iterator[tuple[int, list[str]]]:
        while True:
            line = reader.line_num + 1
            try:
                fields = next(reader, None)
            except csv.Error as error:
                raise ManifestError(f"cannot be read as a table: {error}", path, line) from None
            if fields is None:
                return
            if fields:
                yield line, [value.strip() for value in fields]

    table = records()
    line, header = next(table, (0, []))
    if not header:
        raise ManifestError(f"is empty; expected a header with {', '.join(REQUIRED)}", path)
    for name in header:
        if not name or header.count(name) > 1:
            raise ManifestError(f"the header has the column '{name}' {header.count(name)} times", path, line)

    def rows() -> Iterator[Row]:
        for line, fields in table:
            if len(fields) != len(header):
                raise ManifestError(f"the row has {len(fields)} fields; expected {len(header)}", path, line)
            yield line, dict(zip(header, fields, strict=True))

    return header, rows()


def _json_rows(path: Path, text: str) -> tuple[list[str], Iterator[Row]]:
    rows: list[Row] = []
    header: dict[str, None] = {}
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        try:
            record = json.loads(content)
        except (ValueError, RecursionError) as error:  # ValueError: also a number with thousands of digits
            named = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            reason = "too deeply nested" if isinstance(error, RecursionError) else named
            raise ManifestError(f"is not JSON: {reason}", path, line) from None
        if not isinstance(record, dict):
            raise ManifestError("is not a JSON object; expected one a line", path, line)
        for name in REQUIRED:
            if name not in record:
                raise ManifestError(f"misses the key '{name}'{nearest(name, record)}", path, line)
        rows.append((line, {name: _as_text(name, value, path, line) for name, value in record.items()}))
        header.update(dict.fromkeys(record))
    if not rows:
        raise ManifestError(f"is empty; expected a JSON object a line with {', '.join(REQUIRED)}", path)
    return list(header), iter(rows)


def _parquet_rows(path: Path) -> tuple[list[str], Iterator[Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
    except FileNotFoundError:
        raise ManifestError("there is no such manifest", path) from None
    except (pa.ArrowException, OSError) as error:
        raise ManifestError(f"is not Parquet: {str(error).splitlines()[0]}", path) from None
    header = [str(name) for name in table.column_names]
    if len(set(header)) < len(header):
        raise ManifestError("has a column more than once", path)
    try:
        columns = [table.column(i).to_pylist() for i in range(len(header))]
    except (pa.ArrowException, ValueError) as error:
        raise ManifestError(f"holds values that cannot be read: {str(error).splitlines()[0]}", path) from None

    def rows() -> Iterator[Row]:
        for line, values in enumerate(zip(*columns, strict=True), 1):
            record = zip(header, values, strict=True)
            yield line, {name: _as_text(name, value, path, line) for name, value in record}

    return header, rows()


def _as_text(name: str, value: Any, path: Path, line: int) -> str:
    """Return a value of a typed table as text; null and NaN are absent values."""
    if value is None or value != value:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, (dict, list, bytes)):
        raise ManifestError(f"'{name}' is {type(value).__name__}; expected text or a number", path, line)
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return str(value)
