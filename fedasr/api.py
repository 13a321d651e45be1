"""The Python counterpart of the command line: what notebooks and scripts use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from fedasr.config.loading import load
from fedasr.config.schema import Config
from fedasr.references import look_beside
from fedasr.results.compare import compare
from fedasr.results.load import Run, load_run
from fedasr.runtime.callbacks import Callback
from fedasr.runtime.spawned import leave_spawned
from fedasr.sweeps import sweep

__all__ = ["Run", "compare", "load_run", "run", "sweep"]


def run(
    config: str | Path | Mapping[str, Any] | DictConfig | Config,
    out: str | Path | None = None,
    overrides: Mapping[str, Any] | Sequence[str] | None = None,
    resume: bool = False,
    quiet: bool = True,
    callbacks: Sequence[Callback] = (),
) -> Run:
    """Run a config and return the run, with its report written once it is done.

    Args:
        config: a YAML file, the name of a file in ``simulations/`` without its suffix, or a config object.
        out: the run folder; by default ``runs/<name>-<time>``. A folder that holds a run is refused unless ``resume``.
        overrides: dotted keys and their values, such as ``{"rounds": 3, "client.epochs": 1}``, or a dot-list as on the
            command line, such as ``["rounds=3"]``. The config is checked with them.
        resume: continue ``out`` from its last checkpoint; a finished run is returned as it is.
        quiet: show no progress; otherwise it goes to standard error.
        callbacks: objects that see the run go by and may end it, after those of ``log``; see ``docs/callbacks.md``.

    Returns:
        The run. After Ctrl-C its ``status`` is ``interrupted``, and ``resume`` goes on from there.

    Raises:
        InputError: the config, the speech or the folder is wrong.
        RunFailed: too many clients failed, or a callback did; ``resume`` goes on from the last checkpoint.
    """
    leave_spawned()
    # These bring in torch and Flower, which reading a run needs not.
    from rich.console import Console

    from fedasr.runtime.launch import launch
    from fedasr.runtime.progress import ProgressWatcher

    look_beside(config)
    checked = load(config, overrides or {})
    watcher = None if quiet else ProgressWatcher(Console(stderr=True, highlight=False, soft_wrap=True))
    found = load_run(launch(checked, Path(out) if out is not None else None, resume, watcher, callbacks))
    if found.finished and not (found.path / "report.html").exists():
        from fedasr.results.report import write_report

        write_report(found)
    return found
