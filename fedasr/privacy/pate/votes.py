"""Files of votes: one row of counts a query, ``.npy`` or ``.csv``."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedasr.errors import InputError
from fedasr.paths import is_file
from fedasr.typing import Floats

SUFFIXES = (".npy", ".csv")


def read_votes(path: Path) -> Floats:
    """Return the vote counts in a file, shape ``(queries, classes)``, whole numbers of at least zero.

    Raises:
        InputError: there is no such file, it is neither ``.npy`` nor ``.csv``, or a row is not right; the line names
            the file and the row.
    """
    place = str(path)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError("expected a file of votes that ends in .npy or .csv", where=place)
    if not is_file(path):
        raise InputError("no such file; expected one row of vote counts a query", where=place)
    try:
        votes = read_npy(path) if path.suffix.lower() == ".npy" else read_csv(path)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=place) from None
    if votes.ndim != 2 or not votes.size:
        raise InputError(f"has shape {votes.shape}; expected (queries, classes), neither of them 0", where=place)
    if votes.shape[1] < 2:
        raise InputError("has one class only; a vote needs at least two", where=place)
    wrong = ~np.isfinite(votes) | (votes < 0) | (votes != np.round(votes))
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        raise InputError(
            f"{votes[row, column]:g} in column {column + 1} is no vote count; expected a whole number of at least 0",
            where=f"{place}:{row + 1}",
        )
    return votes


def read_answered(path: Path, queries: int) -> npt.NDArray[np.bool_]:
    """Return which queries were answered, from a file with 0 or 1 for each, shape ``(queries,)``.

    Raises:
        InputError: the file cannot be read, has another number of values, or values other than 0 and 1.
    """
    if path.suffix.lower() not in SUFFIXES or not is_file(path):
        raise InputError("expected a .npy or .csv file with 0 or 1 a query", where=str(path))
    try:
        values = (read_npy(path) if path.suffix.lower() == ".npy" else read_csv(path)).ravel()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=str(path)) from None
    if len(values) != queries:
        raise InputError(f"has {len(values)} values; expected one for each of {queries} queries", where=str(path))
    if not np.isin(values, (0.0, 1.0)).all():
        raise InputError("has values other than 0 (not answered) and 1 (answered)", where=str(path))
    return values.astype(bool)


def read_npy(path: Path) -> Floats:
    """Return the array of a file; one dimension is one query."""
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(f"is no array file of NumPy: {error}", where=str(path)) from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "buif":
        raise InputError("holds no numbers; expected vote counts", where=str(path))
    counts: Floats = np.atleast_2d(array.astype(np.float64))
    return counts


def read_csv(path: Path) -> Floats:
    """Return the numbers of a file without a header; empty lines are passed over."""
    rows: list[list[float]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for cells in (reader := csv.reader(file)):
                if not any(cell.strip() for cell in cells):
                    continue
                rows.append([number(cell, path, reader.line_num) for cell in cells])
                if len(rows[-1]) != len(rows[0]):
                    raise InputError(
                        f"has {len(rows[-1])} counts, the first row {len(rows[0])}; expected one count a class",
                        where=f"{path}:{reader.line_num}",
                    )
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"is no UTF-8 CSV: {error}", where=str(path)) from None
    return np.array(rows, np.float64).reshape(len(rows), -1) if rows else np.zeros((0, 0))


def number(cell: str, path: Path, line: int) -> float:
    """Return the number in a cell.

    Raises:
        InputError: there is none.
    """
    try:
        return float(cell)
    except ValueError:
        raise InputError(f"'{cell.strip()}' is no number; expected vote counts", where=f"{path}:{line}") from None
