"""Read a run folder back: one call, DataFrames and dictionaries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any, cast

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from fedasr.config.loading import read
from fedasr.errors import InputError
from fedasr.paths import exists, is_folder
from fedasr.results.tables.audit import read_findings, table_of
from fedasr.results.tables.fairness import group_table, read_fairness
from fedasr.results.tables.participation import Participation, participation
from fedasr.runtime.run_folder import TABLES
from fedasr.units import percent

UNFINISHED = ("running", "interrupted", "failed", "unfinished")


class Run:
    """A run folder, read lazily; each table is read once, when first asked for.

    A run that is still going can be read: its tables hold the rounds written so far. Load it again to see more.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def config(self) -> DictConfig:
        """The resolved config: ``run.config.selection.name``, or ``run.config["selection"]["name"]``."""
        config = OmegaConf.create(dict(read(self.path / "config.yaml")))
        OmegaConf.set_readonly(config, True)
        return config

    @cached_property
    def summary(self) -> dict[str, Any]:
        """``summary.json``; empty while there is none."""
        return read_json(self.path / "summary.json") or {}

    @cached_property
    def privacy(self) -> dict[str, Any] | None:
        """The privacy ledger; None when nothing private ran."""
        return read_json(self.path / "privacy.json")

    @cached_property
    def rounds(self) -> pd.DataFrame:
        """A row a round; ``wer, cer, loss`` are NaN in rounds without evaluation. Seconds, bytes, fractions."""
        return self.table("rounds")

    @cached_property
    def clients(self) -> pd.DataFrame:
        """A row per selected client and round."""
        return self.table("clients")

    @cached_property
    def groups(self) -> pd.DataFrame:
        """WER per value of each column of ``evaluate.by``; may be empty.

        ``round, column, value, wer, utterances``, and ``wer_low, wer_high``, the 95 % interval over ``speakers``.
        """
        return read_table(self.path / "groups.parquet", TABLES["groups"])

    @cached_property
    def transcripts(self) -> pd.DataFrame:
        """What was said and what was recognised, of a few held-out utterances at each evaluation; may be empty.

        ``round, utterance, speaker, reference, hypothesis``; the utterances are the same ones after every round.
        """
        return read_table(self.path / "transcripts.parquet", TABLES["transcripts"])

    @property
    def initial(self) -> dict[str, float]:
        """``wer, cer, loss`` of the model that the run started from; empty where it was not evaluated."""
        result = {metric: self.summary.get(f"initial_{metric}") for metric in ("wer", "cer", "loss")}
        return {metric: float(value) for metric, value in result.items() if isinstance(value, (int, float))}

    @cached_property
    def activity(self) -> pd.DataFrame:
        """WER on clients' speech by tenths of their activity, 1 the lightest users, 10 the heaviest; may be empty.

        A row a round and decile: ``round, period, decile, wer, words, errors, clients, utterances``.
        """
        return read_table(self.path / "activity.parquet", TABLES["activity"])

    @cached_property
    def periods(self) -> pd.DataFrame:
        """WER at the end of each period on the speech of each period, in the continual setting; may be empty.

        A row a period and test period: ``round, period, test_period, wer, cer, words, utterances``.
        """
        return read_table(self.path / "periods.parquet", TABLES["periods"])

    @cached_property
    def queries(self) -> pd.DataFrame:
        """What the teachers of a PATE run were asked, a row a query; may be empty. It holds votes as they were.

        ``query, utterance, answered, label, correct, votes, rdp, order``.
        """
        return read_table(self.path / "queries.parquet", TABLES["queries"])

    @cached_property
    def ballots(self) -> pd.DataFrame:
        """What each teacher of a PATE run was sent and has sent, a row a message of questions; may be empty.

        ``query, queries, client, counted, bytes_up, bytes_down``.
        """
        return read_table(self.path / "ballots.parquet", TABLES["ballots"])

    @cached_property
    def canaries(self) -> pd.DataFrame:
        """What each round showed of the canary users of ``audit.canaries``; may be empty. It tells of the noise.

        ``round, canary, inserted, sign, turn, product, probability, noise_multiplier``.
        """
        return read_table(self.path / "canaries.parquet", TABLES["canaries"])

    @cached_property
    def estimates(self) -> pd.DataFrame:
        """The error rate on the devices' own speech, estimated without transcripts; may be empty.

        A row a round and group, all speech with an empty ``column``: ``wer_estimate, wer_low, wer_high, panel_words``,
        …, and ``fleet_wer``, the true one, in a simulation.
        """
        return read_table(self.path / "estimates.parquet", TABLES["estimates"])

    @cached_property
    def audit(self) -> pd.DataFrame:
        """What audits of the run found, a row a finding; may be empty.

        ``command, attack, kind, quantity, value, low, high, claim, …, sentence``; see ``docs/tables.md``.
        """
        return table_of(read_findings(self.path))

    @cached_property
    def fairness(self) -> pd.DataFrame:
        """How the groups of the test speech compare, a row a group; may be empty, until ``fedasr fairness`` or
        ``fedasr.fairness`` has compared them. Gaps, power and warnings are in ``fairness.json``.

        ``attribute, group, wer, low, high, speakers, …, adjusted_ratio, …``; see ``docs/tables.md``.
        """
        return group_table(read_fairness(self.path))

    @cached_property
    def participation(self) -> Participation:
        """How the rounds were shared: ``clients, took_part, gini, jain``, and ``counts``, rounds of each client."""
        population = self.summary.get("clients")
        return participation(self.clients, int(population) if isinstance(population, (int, float)) else None)

    @property
    def name(self) -> str:
        """The run's name, else the folder's."""
        return str(self.config.get("name") or self.path.name)

    @property
    def seed(self) -> int:
        """The seed of every draw."""
        seed = self.config.get("seed") or 0
        if not isinstance(seed, int):
            raise InputError(f"'seed' is {seed!r}; expected an integer", where=str(self.path / "config.yaml"))
        return seed

    @property
    def status(self) -> str:
        """What ``summary.json`` says; ``unfinished`` while it says nothing."""
        return str(self.summary.get("status") or "unfinished")

    @property
    def finished(self) -> bool:
        """Whether the run came to an end, rather than still going or having been interrupted."""
        return self.status not in UNFINISHED

    def table(self, name: str) -> pd.DataFrame:
        """Return one of the tables that every run with at least one round has."""
        path = self.path / f"{name}.parquet"
        if self.finished and self.summary.get("rounds") and not path.is_file():
            raise InputError("is missing, though the run is finished: a damaged folder", where=str(path))
        return read_table(path, TABLES[name])

    def last(self, metric: str) -> float:
        """Return the metric of the last round that has it; else the summary's; else NaN."""
        if metric in self.rounds:
            values = self.rounds[metric].dropna()
            if len(values):
                return float(values.iloc[-1])
        value = self.summary.get(metric)
        return float(value) if isinstance(value, (int, float)) else float("nan")

    def __repr__(self) -> str:
        facts = ", ".join(f"{key} {value}" for key, value in self.facts())
        return f"Run({self.name!r}, {facts}, path={str(self.path)!r})"

    def _repr_html_(self) -> str:
        cells = "".join(f"<td><b>{escape(key)}</b> {escape(value)}</td>" for key, value in self.facts())
        return (
            f"<table><tr><th>{escape(self.name)}</th>{cells}</tr></table>"
            f"<small><code>{escape(str(self.path))}</code> · <code>.rounds</code>, <code>.clients</code></small>"
        )

    def facts(self) -> list[tuple[str, str]]:
        """Return what a reader wants to know first, as (name, text)."""
        rows = [("status", self.status), ("seed", str(self.seed)), ("rounds", str(completed(self.rounds)))]
        for metric in ("wer", "cer"):
            value = self.last(metric)
            if value == value:
                rows.append((metric.upper(), percent(value)))
        return rows


def completed(rounds: pd.DataFrame) -> int:
    """Return how many rounds of training a table of rounds holds; an evaluation before the first is round 0."""
    return int((rounds["round"] > 0).sum())


def load_run(path: str | Path) -> Run:
    """Return the run in a folder.

    Raises:
        InputError: the folder is not a run folder. A damaged table raises when it is first read.
    """
    folder = Path(path)
    wanted = "expected a run folder, made by 'fedasr run CONFIG --out DIR'"
    if not exists(folder):
        raise InputError(f"no such folder; {wanted}", where=str(folder))
    if not is_folder(folder):
        raise InputError(f"is a file; {wanted}", where=str(folder))
    if not (folder / "config.yaml").is_file():
        raise InputError(f"is not a run folder: 'config.yaml' is missing; {wanted}", where=str(folder))
    return Run(folder)


def as_run(run: Run | str | Path) -> Run:
    """Return the run, loading it where a folder is given."""
    return run if isinstance(run, Run) else load_run(run)


def read_table(path: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """Return a Parquet table with at least ``columns`` (name → type); empty where there is no file yet.

    Columns that the table lacks are empty, so that a run of an older version can be read.

    Raises:
        InputError: the file is no Parquet, lacks the first column, or has text where numbers belong.
    """
    if not path.is_file():
        return pd.DataFrame({name: pd.Series(dtype=dtype(kind)) for name, kind in columns.items()})
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"cannot be read as Parquet; the file is damaged ({first})", where=str(path)) from None
    if (first_column := next(iter(columns))) not in table:
        raise InputError(f"has no column '{first_column}'; expected {', '.join(columns)}", where=str(path))
    for name, kind in columns.items():
        if name not in table:
            table[name] = pd.Series(index=table.index, dtype="object" if kind == "string" else "float64")
        elif kind != "string":
            # A column without one value may have been written as nulls without a type.
            try:
                table[name] = pd.to_numeric(table[name])
            except (ValueError, TypeError):
                raise InputError(f"column '{name}' holds text; expected numbers", where=str(path)) from None
    return table


def dtype(kind: str) -> str:
    """Return the pandas dtype of a column's type."""
    return "object" if kind == "string" else kind


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file, or None where there is no file.

    Raises:
        InputError: the file is not UTF-8 JSON, or not an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except json.JSONDecodeError as error:
        raise InputError(f"is not valid JSON: {error.msg}", where=f"{path}:{error.lineno}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read as UTF-8 JSON: {error}", where=str(path)) from None
    if not isinstance(value, Mapping):
        raise InputError("holds no JSON object; the file is damaged", where=str(path))
    return cast(dict[str, Any], value)
