"""What a run folder says while its run goes on: the round, who answered, the error rate, the privacy spent."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fedasr.config.loading import read
from fedasr.edge.server_folder import read_json
from fedasr.edge.watching.journals import backwards
from fedasr.edge.watching.spending import spent
from fedasr.errors import InputError
from fedasr.paths import is_folder
from fedasr.runtime.run_folder import RunFolder
from fedasr.runtime.watched_edge_grid import EXCHANGE

SHOWN = {"box": "client", "status": "status", "reason": "reason", "utterances": "examples", "bytes": "bytes_up"}
"""Keys of what is told of an edge device in a round, and the columns of ``clients.parquet`` they come from."""


def run_state(path: Path) -> dict[str, Any]:
    """Return what a run folder says now.

    Raises:
        InputError: there is no such folder, it holds no run, or a file in it is damaged.
    """
    if not is_folder(path):
        raise InputError("no such folder; the run has not made it yet, or it was moved", where=str(path))
    if not (path / "config.yaml").is_file():
        raise InputError("holds no run: 'config.yaml' is missing", where=str(path))
    config = dict(read(path / "config.yaml"))
    summary = read_json(path / "summary.json") if (path / "summary.json").is_file() else {}
    state = str(summary.get("status", "running"))
    last: dict[str, Any] | None = None
    evaluated: dict[str, Any] | None = None
    private: tuple[int, float] | None = None
    for row in backwards(journal(path, "rounds")):
        last = last or row
        if private is None and row.get("epsilon") is not None:
            private = int(row["round"]), float(row["epsilon"])
        if row.get("wer") is not None:
            evaluated = row
            break
    return {
        "name": str(config.get("name", path.name)),
        "state": state,
        "error": summary.get("error"),
        "round": int(last["round"]) if last else 0,
        "rounds": int(config.get("rounds", 0)),
        "wer": evaluated["wer"] if evaluated else None,
        "wer_round": int(evaluated["round"]) if evaluated else None,
        "train_loss": last.get("train_loss") if last else None,
        "privacy": spent(path, config, private),
        "last_round": next(rounds_after(path, int(last["round"]) - 2), None) if last else None,
        "now": exchange(path) if state == "running" else None,
    }


def journal(path: Path, table: str) -> Path:
    """Return the journal of a table of a run."""
    return RunFolder(path).journal(table)


def rounds_after(path: Path, known: int) -> Iterator[dict[str, Any]]:
    """Yield the rounds that have ended after round ``known``, the last first, each with what its edge devices did.

    A round whose row is there and whose edge devices' rows are not yet is left for the next look.

    Raises:
        InputError: a journal is damaged.
    """
    rows = list(rows_after(journal(path, "rounds"), known))
    devices: dict[int, list[dict[str, Any]]] = {}
    # What PATE's teachers did has round 0, and is counted with the first of the student.
    before = (rows[-1]["round"] - 1 if rows else known) or -1
    for client in rows_after(journal(path, "clients"), before):
        told = {key: client.get(name) for key, name in SHOWN.items()}
        devices.setdefault(int(client["round"]) or 1, []).insert(0, told)
    for place, row in enumerate(rows):
        details = devices.get(int(row["round"]), [])
        if place == 0 and len(details) < row["clients_selected"]:
            continue
        yield {
            "round": int(row["round"]),
            "asked": row["clients_selected"],
            "answered": row["clients_replied"],
            "failed": row["clients_failed"],
            "seconds": row.get("wall_seconds"),
            "wer": row.get("wer"),
            "train_loss": row.get("train_loss"),
            "epsilon": row.get("epsilon"),
            "boxes": details,
        }


def rows_after(path: Path, known: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a journal that are of later rounds than ``known``, the last first."""
    for row in backwards(path):
        if row["round"] <= known:
            return
        yield row


def exchange(path: Path) -> dict[str, Any] | None:
    """Return the messages that are out now, or the last that were; None where none went out yet.

    Raises:
        InputError: the file is damaged.
    """
    file = path / EXCHANGE
    if not file.is_file():
        return None
    document: Mapping[str, Any] = read_json(file)
    done = {*document["answered"], *document["failed"]}
    return {
        "kind": document["kind"],
        "round": document["round"],
        "over": document["over"],
        "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(document["since"])),
        "seconds": max(0.0, time.time() - document["since"]),
        "patience_s": document["patience_s"],
        "answered": document["answered"],
        "failed": document["failed"],
        "waiting": [name for name in document["asked"] if name not in done],
    }
