"""The run folder, written: config, tables, summary. Whatever happens, what is there is whole.

Rows go to journals in ``checkpoint/`` as they arise. A checkpoint remembers how long the journals were, so that a
resumed run cuts off what a killed one wrote after it; the Parquet tables are made from the journals.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedasr.errors import InputError
from fedasr.files import FULL, finite, named, on_disk, replacing
from fedasr.paths import exists, is_file, is_folder
from fedasr.runtime.canary_rows import columns_of
from fedasr.runtime.one_writer import LOCK

ROUND_COLUMNS = {
    "round": "int64",
    "loss": "float64",
    "wer": "float64",
    "cer": "float64",
    "train_loss": "float64",
    "machine_loss": "float64",
    "machine_utterances": "int64",
    "clients_selected": "int64",
    "clients_replied": "int64",
    "clients_failed": "int64",
    "examples": "int64",
    "audio_seconds": "float64",
    "bytes_up": "int64",
    "bytes_down": "int64",
    "wall_seconds": "float64",
    "simulated_seconds": "float64",
    "client_wer": "float64",
    "update_norm": "float64",
    "unsent_norm": "float64",
    "period": "int64",
    "epsilon": "float64",
    "kept_share": "float64",
    "label_wer": "float64",
    "blank_share": "float64",
    "empty_share": "float64",
    "teacher_agreement": "float64",
    "wer_estimate": "float64",
    "wer_low": "float64",
    "wer_high": "float64",
    "panel_words": "int64",
    "fleet_wer": "float64",
}
CLIENT_COLUMNS = {
    "round": "int64",
    "client": "string",
    "probability": "float64",
    "examples": "int64",
    "audio_seconds": "float64",
    "train_loss": "float64",
    "bytes_up": "int64",
    "bytes_down": "int64",
    "status": "string",
    "skipped": "int64",
    "loss_square": "float64",
    "seconds": "float64",
    "duration_s": "float64",
    "reason": "string",
    "epsilon": "float64",
    "kept_share": "float64",
    "label_wer": "float64",
    "blank_share": "float64",
    "empty_share": "float64",
    "teacher_agreement": "float64",
}
GROUP_COLUMNS = {
    "round": "int64",
    "column": "string",
    "value": "string",
    "wer": "float64",
    "utterances": "int64",
    "wer_low": "float64",
    "wer_high": "float64",
    "speakers": "int64",
}
TRANSCRIPT_COLUMNS = {
    "round": "int64",
    "utterance": "int64",
    "speaker": "string",
    "reference": "string",
    "hypothesis": "string",
}
PERIOD_COLUMNS = {
    "round": "int64",
    "period": "int64",
    "test_period": "int64",
    "wer": "float64",
    "cer": "float64",
    "words": "int64",
    "utterances": "int64",
}
ACTIVITY_COLUMNS = {
    "round": "int64",
    "period": "int64",
    "decile": "int64",
    "wer": "float64",
    "words": "int64",
    "errors": "int64",
    "clients": "int64",
    "utterances": "int64",
}
QUERY_COLUMNS = {
    "query": "int64",
    "utterance": "int64",
    "answered": "bool",
    "label": "string",
    "correct": "bool",
    "votes": "float64",
    "rdp": "float64",
    "order": "float64",
}
BALLOT_COLUMNS = {
    "query": "int64",
    "queries": "int64",
    "client": "string",
    "counted": "bool",
    "bytes_up": "int64",
    "bytes_down": "int64",
}
CANARY_COLUMNS = {
    "round": "int64",
    "canary": "int64",
    "inserted": "bool",
    "sign": "int8",
    "turn": "bool",
    "product": "float32",
    "probability": "float64",
    "noise_multiplier": "float64",
}
ESTIMATE_COLUMNS = {
    "round": "int64",
    "column": "string",
    "value": "string",
    "wer_estimate": "float64",
    "wer_low": "float64",
    "wer_high": "float64",
    "panel_words": "int64",
    "panel_speakers": "int64",
    "fleet_speakers": "int64",
    "weight": "float64",
    "panel_low": "float64",
    "panel_high": "float64",
    "fleet_wer": "float64",
    "expected_wer": "float64",
    "expected_low": "float64",
    "expected_high": "float64",
    "excess": "float64",
    "excess_low": "float64",
    "excess_high": "float64",
    "alarms": "string",
}
TABLES = {
    "rounds": ROUND_COLUMNS,
    "clients": CLIENT_COLUMNS,
    "groups": GROUP_COLUMNS,
    "transcripts": TRANSCRIPT_COLUMNS,
    "periods": PERIOD_COLUMNS,
    "activity": ACTIVITY_COLUMNS,
    "queries": QUERY_COLUMNS,
    "ballots": BALLOT_COLUMNS,
    "canaries": CANARY_COLUMNS,
    "estimates": ESTIMATE_COLUMNS,
}
AT_THE_END = ("canaries",)
"""Tables that grow by thousands of rows a round and are not written while a run goes on."""


class RunFolder:
    """A run folder that is being written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint = path / "checkpoint"

    def holds_run(self) -> bool:
        """Say whether the folder holds a run, finished or not."""
        if any(exists(self.path / name) for name in ("config.yaml", "summary.json")):
            return True
        # Of a start that lost the race for the folder, or was broken off, there is nothing but its lock.
        if is_folder(self.checkpoint):
            return any(item.name != LOCK for item in self.checkpoint.iterdir())
        return exists(self.checkpoint)

    def refuse_run(self) -> None:
        """Raise when the folder holds a run: nothing is ever overwritten.

        Raises:
            InputError: it does, or it is a file.
        """
        if is_file(self.path):
            raise InputError("is a file; expected a folder for the run", where=str(self.path))
        if self.holds_run():
            raise InputError(
                "holds a run already; give another --out, or --resume to go on with it", where=str(self.path)
            )

    def create(self) -> None:
        """Make the folder.

        Raises:
            InputError: it cannot be made, or is a file.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.checkpoint.mkdir(exist_ok=True, mode=0o700)  # its owner's alone: who took part, and what draws it
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            why = error.strerror if isinstance(error, OSError) else error
            raise InputError(f"the run folder cannot be made: {why}", where=str(self.path)) from None

    def journal(self, table: str) -> Path:
        """Return the journal of a table."""
        return self.checkpoint / f"{table}.jsonl"

    def append(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows to a table's journal."""
        if rows:
            lines = "".join(json.dumps(finite(dict(row)), ensure_ascii=False) + "\n" for row in rows)
            try:
                with self.journal(table).open("a", encoding="utf-8") as file:
                    file.write(lines)
            except OSError as error:
                raise named(error, self.journal(table)) from None

    def keep(self) -> None:
        """Wait until the journals are on the disk, so that they survive a power cut."""
        for journal in map(self.journal, TABLES):
            if journal.exists():
                on_disk(journal)

    def rows(self, table: str) -> Iterator[dict[str, Any]]:
        """Yield the rows of a table's journal.

        Raises:
            InputError: a line is damaged.
        """
        journal = self.journal(table)
        if journal.exists():
            with journal.open("rb") as file:
                for number, line in enumerate(file, 1):
                    yield self.row(line, f"{journal}:{number}")

    def row(self, line: bytes, where: str) -> dict[str, Any]:
        """Return the row in a line of a journal."""
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            raise InputError("is damaged; restore the file, or start the run anew in another folder", where=where)
        return entry

    def positions(self) -> dict[str, int]:
        """Return how long each journal is, in bytes."""
        return {t: self.journal(t).stat().st_size if self.journal(t).exists() else 0 for t in TABLES}

    def check_journals(self, positions: Mapping[str, int]) -> None:
        """Raise when a journal is not whole up to where a checkpoint found it; nothing is changed.

        Raises:
            InputError: it is shorter, or a line is damaged.
        """
        for table in TABLES:
            journal = self.journal(table)
            length = positions.get(table, 0)
            content = journal.read_bytes() if journal.exists() else b""
            if len(content) < length:
                raise InputError(
                    f"is shorter ({len(content)} bytes) than the checkpoint says ({length});"
                    " restore the file, or start the run anew in another folder",
                    where=str(journal),
                )
            for number, line in enumerate(content[:length].splitlines(), 1):
                self.row(line, f"{journal}:{number}")

    def rewind(self, positions: Mapping[str, int]) -> None:
        """Cut the journals back to where a checkpoint found them."""
        for table in TABLES:
            journal = self.journal(table)
            if journal.exists():
                with journal.open("r+b") as file:
                    file.truncate(positions.get(table, 0))

    def write_tables(self, ended: bool = True) -> None:
        """Write the Parquet tables from the journals.

        Args:
            ended: no round follows; else large ones are left out.
        """
        for table in TABLES:
            if ended or table not in AT_THE_END:
                self.write_table(table)

    def write_table(self, table: str) -> None:
        """Write one Parquet table; an optional one only where it has rows."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = list(self.rows(table))
        if table not in ("rounds", "clients") and not rows:
            return
        schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in TABLES[table].items()])
        columns: dict[str, Any] = {name: [row.get(name) for row in rows] for name in TABLES[table]}
        if table == "canaries":
            columns = columns_of(rows)
        target = self.path / f"{table}.parquet"
        with replacing(target) as temporary:
            pq.write_table(pa.table(columns, schema=schema), temporary)
