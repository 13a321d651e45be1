"""The Flower ``ServerApp``: the same for the local grid, Flower's simulation and real devices."""

from __future__ import annotations

import json
import shlex
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from flwr.app import Context, UserConfig
from flwr.serverapp import Grid, ServerApp
from rich.console import Console

from fedasr.config import Config, load, override
from fedasr.data.fleet import Fleet
from fedasr.edge.processes import ask_to_end_with_parent
from fedasr.errors import InputError, RunFailed
from fedasr.experiment import Experiment, as_json, experiment
from fedasr.files import system_refusal, write_json
from fedasr.references import look_beside
from fedasr.runtime.callbacks.factory import make_callbacks
from fedasr.runtime.launch import failures_recorded, open_run, read_summary, settle
from fedasr.runtime.progress import ProgressWatcher
from fedasr.runtime.run_folder import RunFolder
from fedasr.runtime.session import session
from fedasr.runtime.threads import one_thread
from fedasr.runtime.watched_edge_grid import WatchedEdgeGrid

from .edge_devices import RETURN_SECONDS, wait_for_edge_devices, wait_for_return
from .factory import make_run
from .nodes import wait_for_nodes

EDGE_DEVICES = "boxes.json"
"""File of the run folder of a deployed run: the names of its clients, in their order."""
APP_ROOT = Path(__file__).resolve().parents[1]
"""The checkout, or where Flower has unpacked it."""

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the config that ``run_config`` names.

    ``fedasr run`` has checked everything and passes ``experiment`` (the resolved config as JSON), ``out`` and
    ``resume``; with ``flwr run`` the keys of ``[tool.flwr.app.config]`` apply.
    """
    settings = context.run_config
    try:
        if "experiment" in settings:
            run = experiment(str(settings["experiment"]))
            run_strategy(grid, run, RunFolder(Path(str(settings["out"]))), bool(settings["resume"]))
        else:
            run_submitted(grid, settings, context.run_id)
    except (InputError, RunFailed) as error:
        # Flower prints the way of an exception through the code; of these the message is all that helps.
        raise error.with_traceback(None) from None
    except (OSError, MemoryError) as error:
        refusal = system_refusal(error)
        if refusal is None:
            raise
        raise RunFailed(refusal) from None


def run_strategy(grid: Grid, run: Experiment, folder: RunFolder, resume: bool) -> str:
    """Run what ``strategy.name`` says; return ``done`` or ``interrupted``."""
    return make_run(grid, run, folder).run(resume)


def run_submitted(grid: Grid, settings: UserConfig, run_id: int) -> None:
    """Run what ``flwr run`` has submitted: ``config``, ``overrides`` (a dot-list), ``out`` and ``resume``.

    Raises:
        InputError: the input is wrong; nothing was written.
    """
    one_thread()
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    config = submitted_config(str(settings["config"]), str(settings.get("overrides", "")))
    callbacks = make_callbacks(config)
    path = Path(str(settings.get("out") or f"runs/{config.name}-{run_id}")).resolve()
    resume = bool(settings.get("resume", False))
    fleet: Fleet | None = None
    if config.runtime.name == "deployment":
        grid, fleet = edge_devices_of(grid, config, path, resume)
    else:
        config = settle(config)
        wait_for_nodes(grid, len(experiment(as_json(config)).partition))
    with ExitStack() as lock:
        lock.enter_context(ended_recorded(path))  # before the folder says that the run goes on
        run = open_run(config, path, resume, fleet, lock)
        console.print(f"run folder: {path}", markup=False)
        if run is None:
            console.print("the run is done already", markup=False)
            return
        if fleet is not None:
            write_json(path / EDGE_DEVICES, list(fleet.names))
        lock.enter_context(failures_recorded(path, config))
        lock.enter_context(session(ProgressWatcher(console), False, callbacks))
        status = run_strategy(grid, run, RunFolder(path), resume)
    if status == "done":
        from fedasr.results.pages.report import write_report

        write_report(path)
        contradiction = read_summary(path).get("contradiction")
        if contradiction:
            raise RunFailed(f"{path}: the ledger is contradicted: {contradiction}")


@contextmanager
def ended_recorded(path: Path) -> Iterator[None]:
    """Say in the folder's ``summary.json`` that its run was interrupted, at the signal by which this process is ended.

    Flower then takes its leave of a SuperLink that may have ended before, and the process is killed meanwhile.
    """
    summary = path / "summary.json"
    handlers: dict[int, Any] = {}

    def told(number: int, frame: FrameType | None) -> None:
        known = json.loads(summary.read_text(encoding="utf-8")) if summary.is_file() else {}
        if known.get("status") == "running":
            write_json(summary, {**known, "status": "interrupted"})
        if not callable(handlers[number]):
            raise KeyboardInterrupt
        handlers[number](number, frame)

    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
        ask_to_end_with_parent()
    try:
        yield
    finally:
        for signum, before in handlers.items():
            if signal.getsignal(signum) is told:
                signal.signal(signum, before)


def edge_devices_of(grid: Grid, config: Config, path: Path, resume: bool) -> tuple[WatchedEdgeGrid, Fleet]:
    """Return the grid of the devices that take part, and who they are: those of the run that is resumed, or all there.

    Raises:
        InputError: too few edge devices are connected.
    """
    kept = path / EDGE_DEVICES
    if resume and kept.is_file():
        names = [str(name) for name in json.loads(kept.read_text(encoding="utf-8"))]
        wait_for_return(grid, names, min(RETURN_SECONDS, config.runtime.reply_timeout_s))
    else:
        names = wait_for_edge_devices(grid, config.data.clients, config.runtime.reply_timeout_s)
    fleet = Fleet.unasked(names)
    return WatchedEdgeGrid(grid, fleet.names, config.runtime.reply_timeout_s, path), fleet


def submitted_config(name: str, overrides: str) -> Config:
    """Return the config that ``flwr run`` names: a file of the app, any other file, or a name in ``simulations/``.

    The app comes first: Flower's working folder is wherever its SuperLink was started, perhaps another checkout.
    """
    file = APP_ROOT / name
    source = file if file.is_file() else name
    look_beside(source)
    config = load(source, shlex.split(overrides))
    return config if config.runtime.name == "deployment" else override(config, {"runtime.name": "flower"})
