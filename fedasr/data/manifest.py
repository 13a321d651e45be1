"""Manifests: a table of utterances in CSV, TSV, JSON Lines or Parquet."""

from __future__ import annotations

import csv
import io
import json
import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedasr.data.audio import LONGEST_SECONDS, WHOLE, Segment
from fedasr.data.corpus import Column
from fedasr.data.files import FileCorpus
from fedasr.data.identity import identities, identity
from fedasr.data.splits import hold_out
from fedasr.data.text_files import NotText, decoded, lines_of
from fedasr.errors import InputError, nearest
from fedasr.paths import is_folder

REQUIRED = ("path", "speaker", "text")
TEXT_HINT = "; devices that train on labels of their own need none: set client.labels=self"
READ = (*REQUIRED, "duration_s", "duration", "offset", "split", "timestamp")
"""Columns that a run reads for itself; in the others lists, mappings and bytes do not matter."""
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
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
        transcribed: whether it must have transcripts; else they are empty where it has none.

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
        transcribed: bool = True,
    ) -> None:
        table = read_table(path, transcribed)
        columns: dict[str, Column] = {}
        for name, values in table.columns.items():
            if name not in ("path", "duration_s"):
                columns[name] = np.array(values, dtype=object)
        for name in ("path", "speaker"):
            for line, value in zip(table.lines, table.columns[name], strict=True):
                if not value:
                    raise ManifestError(f"the {name} is empty; every row needs one", table.path, line)
        durations = [row_duration(table, row) for row in range(len(table))]
        segments = [row_segment(table, row, seconds) for row, seconds in enumerate(durations)]
        columns["duration_s"] = np.array(durations, np.float32)
        if not any(table.columns.get("split", ())):
            columns["split"] = hold_out(columns["speaker"], held_out, seed, train_split, test_split)
        super().__init__(str(path), table.path.parent, table.columns["path"], columns, table.lines, segments)


def required(transcribed: bool) -> tuple[str, ...]:
    """Return the columns that a manifest must have; ``transcribed`` as in ``read_table``."""
    return REQUIRED if transcribed else tuple(name for name in REQUIRED if name != "text")


def advice(name: str) -> str:
    """Return what to do about a column that is missing."""
    return TEXT_HINT if name == "text" else ""


def read_table(path: str | Path, transcribed: bool = True) -> Table:
    """Return the rows of a manifest, values as text with white space stripped at the ends.

    Transcripts are in Unicode form NFC, names of speakers and all other values as ``identity`` has them, so that one
    name is one value however it was typed. A column of lists, mappings or bytes that no run reads is left out.

    Args:
        path: the file.
        transcribed: whether it must have the column ``text``; else there is an empty one where it has none.

    Raises:
        ManifestError: the file cannot be read, is not UTF-8, has no rows, misses a required column, or a row does not
            fit the header.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ManifestError(f"is not named like a manifest; expected a name that ends in {', '.join(SUFFIXES)}", path)
    if is_folder(path):
        raise ManifestError("is a folder; expected a manifest: CSV, TSV, JSON Lines or Parquet", path)
    if suffix == ".parquet":
        header, rows = _parquet_rows(path)
    else:
        text = _read_text(path)
        if not SUFFIXES[suffix]:
            header, rows = _json_rows(path, text, required(transcribed))
        else:
            header, rows = _csv_rows(path, text, SUFFIXES[suffix])
    for name in required(transcribed):
        if name not in header:
            has = ", ".join(header) or "none"
            raise ManifestError(
                f"misses the column '{name}'{nearest(name, header)}; it has: {has}{advice(name)}", path, 1
            )
    if "text" not in header:
        header = [*header, "text"]
    lines: list[int] = []
    columns: dict[str, list[str]] = {name: [] for name in header}
    for line, row in rows:
        lines.append(line)
        for name, values in columns.items():
            values.append(row.get(name, ""))
    if not lines:
        raise ManifestError("has no rows; expected one utterance a row", path)
    return Table(path, {name: in_one_form(name, values) for name, values in columns.items()}, lines)


def in_one_form(name: str, values: list[str]) -> list[str]:
    """Return the values of a column with what only looks alike made equal."""
    if name == "path":
        return values
    if name == "text":
        return [unicodedata.normalize("NFC", value) for value in values]
    texts: list[str] = identities(values).tolist()
    return texts


def row_duration(table: Table, row: int) -> float:
    """Return the seconds that a row declares, NaN where it declares none: ``duration_s``, or NeMo's ``duration``.

    Raises:
        ManifestError: it is not a positive number, or more than a day.
    """
    for name in ("duration_s", *(("duration",) if "offset" in table.columns else ())):
        values = table.columns.get(name)
        if values and values[row]:
            return parse_duration(values[row], table.path, table.lines[row], name)
    return math.nan


def row_segment(table: Table, row: int, seconds: float) -> Segment:
    """Return the part of its file that a row means: ``seconds`` from NeMo's ``offset`` on; without ``offset`` all.

    Raises:
        ManifestError: ``offset`` is no number of seconds from 0 to a day.
    """
    value = table.columns["offset"][row] if "offset" in table.columns else ""
    if not value:
        return WHOLE
    start = _number(value)
    if not 0 <= start <= LONGEST_SECONDS:
        raise ManifestError(f"offset is '{value}'; expected seconds, 0 to a day", table.path, table.lines[row])
    return Segment(start, None if math.isnan(seconds) else seconds)


def parse_duration(value: str, path: str | Path, line: int, name: str = "duration_s") -> float:
    """Return a duration in seconds, NaN where it is empty.

    Raises:
        ManifestError: it is not a positive number, or more than a day.
    """
    if not value:
        return math.nan
    seconds = _number(value)
    if not 0 < seconds <= LONGEST_SECONDS:
        raise ManifestError(f"{name} is '{value}'; expected seconds, more than 0 and at most a day", path, line)
    return seconds


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan


def _read_text(path: Path) -> str:
    try:
        return decoded(path.read_bytes())
    except FileNotFoundError:
        raise ManifestError("there is no such manifest", path) from None
    except OSError as error:
        raise ManifestError(f"cannot be read: {error.strerror or error}", path) from None
    except NotText as error:
        raise ManifestError(str(error), path, error.line) from None


def _csv_rows(path: Path, text: str, delimiter: str) -> tuple[list[str], Iterator[Row]]:
    table = _unquoted(text) if delimiter == "\t" else None
    records = _quoted(path, text, delimiter) if table is None else iter(table)
    line, header = next(records, (0, []))
    while header and not header[-1]:
        header = header[:-1]  # a delimiter at the end of every line
    if not header:
        raise ManifestError(f"is empty; expected a header with {', '.join(REQUIRED)}", path)
    if len(header) == 1:
        other = next((mark for mark in SEPARATORS if mark != delimiter and mark in header[0]), None)
        if other is not None:
            raise ManifestError(
                f"is separated by {SEPARATORS[other]}; expected {SEPARATORS[delimiter]} in a {path.suffix} file",
                path,
                line,
            )
    header = [identity(name) for name in header]
    for name in header:
        if not name or header.count(name) > 1:
            raise ManifestError(f"the header has the column '{name}' {header.count(name)} times", path, line)

    def rows() -> Iterator[Row]:
        for line, fields in records:
            if not any(fields):
                continue  # what a spreadsheet leaves of a row that was emptied
            if not any(fields[len(header) :]):
                fields = fields[: len(header)]
            if len(fields) != len(header):
                raise ManifestError(f"the row has {len(fields)} fields; expected {len(header)}", path, line)
            yield line, dict(zip(header, fields, strict=True))

    return header, rows()


def _quoted(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the fields of every record, quotes read as CSV has them."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
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


def _unquoted(text: str) -> list[tuple[int, list[str]]] | None:
    """Return the line and the fields of every record of tab-separated values; None where lines are no records.

    Few writers of TSV quote: a quotation mark belongs to the text (Common Voice), unless it encloses the whole field
    and those within are doubled.
    """
    rows = []
    for line, content in enumerate(lines_of(text), 1):
        if content.strip():
            rows.append((line, [_unquote(field.strip()) for field in content.split("\t")]))
    width = len(rows[0][1]) if rows else 0
    return rows if all(len(fields) == width for _, fields in rows) or '"' not in text else None


def _unquote(field: str) -> str:
    """Return a field without the quotation marks that a writer of CSV put around it."""
    inside = field[1:-1]
    enclosed = len(field) > 1 and field[0] == field[-1] == '"' and '"' not in inside.replace('""', "")
    return inside.replace('""', '"').strip() if enclosed else field


def _json_rows(path: Path, text: str, wanted: Sequence[str]) -> tuple[list[str], Iterator[Row]]:
    rows: list[Row] = []
    header: dict[str, None] = {}
    nested: set[str] = set()
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
        for name in wanted:
            if name not in record:
                has = ", ".join(map(str, record)) or "none"
                raise ManifestError(
                    f"misses the key '{name}'{nearest(name, record)}; it has: {has}{advice(name)}", path, line
                )
        kept: dict[str, str] = {}
        for name, value in record.items():
            if isinstance(value, (dict, list)) and name not in READ:
                nested.add(name)
            else:
                kept[identity(name)] = _as_text(name, value, path, line)
        rows.append((line, kept))
        header.update(dict.fromkeys(kept))
    if not rows:
        raise ManifestError(f"is empty; expected a JSON object a line with {', '.join(REQUIRED)}", path)
    return [name for name in header if name not in nested], iter(rows)


def _parquet_rows(path: Path) -> tuple[list[str], Iterator[Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        names = [str(name) for name in file.schema_arrow.names]
        if len(set(names)) < len(names):
            raise ManifestError("has a column more than once", path)
        plain = [name for name in names if name in READ or not _is_nested(file.schema_arrow.field(name).type)]
        table = file.read(columns=plain)
    except FileNotFoundError:
        raise ManifestError("there is no such manifest", path) from None
    except (pa.ArrowException, OSError) as error:
        raise ManifestError(f"is not Parquet: {str(error).splitlines()[0]}", path) from None
    header: list[str] = []
    columns: list[list[Any]] = []
    for name in plain:
        try:
            columns.append(table.column(name).to_pylist())
        except (pa.ArrowException, ValueError) as error:
            if name not in READ:
                continue
            raise ManifestError(f"holds values that cannot be read: {str(error).splitlines()[0]}", path) from None
        header.append(identity(name))

    def rows() -> Iterator[Row]:
        for line, values in enumerate(zip(*columns, strict=True), 1):
            record = zip(header, values, strict=True)
            yield line, {name: _as_text(name, value, path, line) for name, value in record}

    return header, rows()


def _is_nested(kind: Any) -> bool:
    """Say whether a Parquet column holds lists, structures or bytes, such as the audio itself."""
    import pyarrow as pa

    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    return bool(binary or pa.types.is_nested(kind) or pa.types.is_binary_view(kind))


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
