"""Run a sweep: what is finished is skipped, what was broken off is resumed, what fails does not stop the others."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fedasr.errors import InputError, RunFailed
from fedasr.results.load import Run, load_run
from fedasr.runtime.callbacks import Callback
from fedasr.runtime.notebook import in_notebook
from fedasr.runtime.spawned import leave_spawned
from fedasr.sweeps.plan import Plan, Planned, read_plan

if TYPE_CHECKING:
    from fedasr.runtime.session import Watcher

NEW, UNFINISHED, FINISHED = "new", "unfinished", "finished"


class Observer(Protocol):
    """Sees a sweep go by."""

    def begin(self, run: Planned, number: int, of: int, state: str) -> Watcher | None:
        """A run is about to start or go on; the watcher it gets, if any."""
        ...

    def end(self, run: Planned, number: int, of: int, summary: Mapping[str, Any], seconds: float) -> None:
        """A run ended, well or not: ``summary`` has its ``status``, and ``error`` where it failed."""
        ...

    def crashed(self, run: Planned, trace: str) -> None:
        """A run failed by an error in code, ours or the user's; ``trace`` says where."""
        ...


class Silent:
    """Shows nothing but where code failed, which nobody could find otherwise."""

    def begin(self, run: Planned, number: int, of: int, state: str) -> None:
        """Show nothing."""

    def end(self, run: Planned, number: int, of: int, summary: Mapping[str, Any], seconds: float) -> None:
        """Show nothing."""

    def crashed(self, run: Planned, trace: str) -> None:
        """Show where code failed."""
        import sys

        sys.stderr.write(f"{run.folder} failed:\n{trace}")


@dataclass
class Outcome:
    """What became of the runs of a sweep: their folders, why some failed, and whether it was interrupted."""

    out: Path
    folders: list[Path] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False

    def runs(self) -> list[Run]:
        """Return the runs that have a folder."""
        return [load_run(folder) for folder in self.folders if (folder / "config.yaml").is_file()]


class NotebookObserver:
    """Shows a bar for each run of a sweep in the output of a cell."""

    def begin(self, run: Planned, number: int, of: int, state: str) -> Watcher | None:
        """Return the bar of a run."""
        from fedasr.runtime.notebook import NotebookWatcher

        return NotebookWatcher(f"{number}/{of} {run.folder}")

    def end(self, run: Planned, number: int, of: int, summary: Mapping[str, Any], seconds: float) -> None:
        """Leave the bar as it is; say where a run failed."""
        if summary.get("status") == "failed":
            print(f"{number}/{of} {run.folder}: failed: {summary.get('error')}")

    def crashed(self, run: Planned, trace: str) -> None:
        """Show where code failed."""
        print(trace)


def sweep(
    file: str | Path,
    out: str | Path,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    only: Sequence[str] = (),
    callbacks: Sequence[Callback] | Callable[[Planned], Sequence[Callback]] = (),
) -> list[Run]:
    """Run every run of a sweep file that is not finished yet, one after the other, and return all of them.

    Args:
        file: a YAML file with ``config``, and any of ``overrides``, ``variants``, ``grid`` and ``seeds``; see
            ``docs/sweeps.md``.
        out: the folder of the run folders, ``<out>/<label>-seed<seed>``. Finished runs in it are kept, unfinished ones
            resumed, so that the same call goes on after an interruption.
        overrides: dotted keys and their values for all runs, or an OmegaConf dot-list, such as ``["rounds=3"]``.
        only: labels or folder names, with ``*`` and ``?``; the others are left out.
        callbacks: objects that see every run go by; or a function of the planned run (``label``, ``seed``, ``changes``,
            ``config``) that returns those of this run.

    Returns:
        The runs that have a folder, in the order of the file; a failed one has ``status`` ``failed`` and its reason in
        ``summary["error"]``. After Ctrl-C, those so far.

    Raises:
        InputError: the file, a config or its speech is wrong, or a folder holds another run; nothing was started.
        RunFailed: a run could not even begin; the others were run.
    """
    leave_spawned()
    if isinstance(overrides, Mapping):
        overrides = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in overrides.items()]
    plan = read_plan(file, overrides).only(only)
    states = check(plan, Path(out))
    outcome = execute(plan, Path(out), states, NotebookObserver() if in_notebook() else None, callbacks)
    absent = {name: why for name, why in outcome.failed.items() if not (outcome.out / name / "config.yaml").is_file()}
    if absent:
        raise RunFailed("; ".join(f"{name}: {why}" for name, why in absent.items()))
    return outcome.runs()


def check(plan: Plan, out: Path) -> dict[str, str]:
    """Return the state of every run, by folder, having checked all that can be checked before the first one starts.

    Raises:
        InputError: a folder holds a run of another config, or a variant does not suit its speech.
    """
    from fedasr.experiment import Experiment
    from fedasr.runtime.launch import prepare, settle

    if out.exists() and not out.is_dir():
        raise InputError("is a file; expected a folder for the runs", where=str(out))
    states: dict[str, str] = {}
    prepared: set[str] = set()
    for run in plan.runs:
        states[run.folder] = state(run, out / run.folder)
    for run in plan.runs:
        if states[run.folder] == FINISHED or run.label in prepared:
            continue
        prepared.add(run.label)  # the first seed stands for the others: few configs are right for one only
        try:
            prepare(Experiment(settle(run.config)))
        except InputError as error:
            if error.where is not None:
                raise
            raise InputError(str(error), where=f"{plan.path}, variant '{run.label}'") from error
    return states


def state(run: Planned, folder: Path) -> str:
    """Return whether a run's folder holds nothing, an unfinished run or the finished one.

    Raises:
        InputError: it holds another run, or is damaged.
    """
    from fedasr.runtime.launch import check_same, finished, settle
    from fedasr.runtime.run_folder import RunFolder

    run_folder = RunFolder(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError("is a file; expected a folder for the run", where=str(folder))
    if not run_folder.holds_run():
        return NEW
    check_same(settle(run.config), run_folder)
    return FINISHED if finished(run_folder) else UNFINISHED


def execute(
    plan: Plan,
    out: Path,
    states: Mapping[str, str],
    observer: Observer | None = None,
    callbacks: Sequence[Callback] | Callable[[Planned], Sequence[Callback]] = (),
) -> Outcome:
    """Run what is not finished; stop after the run that Ctrl-C interrupts.

    Args:
        plan: the runs.
        out: the folder of their folders.
        states: from ``check``.
        observer: sees the runs go by.
        callbacks: of ``sweep``.

    Raises:
        InputError: ``out`` cannot be made.
    """
    from fedasr.runtime.launch import read_summary

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be made: {error.strerror or error}", where=str(out)) from None
    seen = observer or Silent()
    outcome = Outcome(out)
    todo = [run for run in plan.runs if states[run.folder] != FINISHED]
    number = 0
    for run in plan.runs:
        folder = out / run.folder
        outcome.folders.append(folder)
        if states[run.folder] == FINISHED:
            continue
        number += 1
        started = time.perf_counter()
        watcher = seen.begin(run, number, len(todo), states[run.folder])
        reason = one(run, folder, watcher, seen, callbacks(run) if callable(callbacks) else callbacks)
        if reason is None:
            summary: Mapping[str, Any] = read_summary(folder)
        else:
            summary = {"status": "failed", "error": reason}
            outcome.failed[run.folder] = reason
        seen.end(run, number, len(todo), summary, time.perf_counter() - started)
        if summary.get("status") == "interrupted":
            outcome.interrupted = True
            break
    return outcome


def one(
    run: Planned, folder: Path, watcher: Watcher | None, seen: Observer, callbacks: Sequence[Callback] = ()
) -> str | None:
    """Run one run, or go on with it, and write its report; return why it failed, if it did."""
    from fedasr.results.pages.report import write_report
    from fedasr.runtime.launch import finished, launch
    from fedasr.runtime.run_folder import RunFolder

    try:
        launch(run.config, folder, resume=True, watcher=watcher, callbacks=callbacks)
        if finished(RunFolder(folder)) and not (folder / "report.html").exists():
            write_report(folder)
    except (InputError, RunFailed) as error:
        return str(error)
    except Exception as error:  # a bug in one variant's selector must not cost the night's other runs
        seen.crashed(run, traceback.format_exc())
        return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    return None
