"""Flower's own simulation engine, from the same config: the compatibility path, with Ray underneath."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flwr.app import Context, Message
from flwr.serverapp import Grid, ServerApp

from fedasr.config import Config
from fedasr.errors import InputError
from fedasr.paths import STORE_VARIABLE, home, own_temporary
from fedasr.references import load_reference
from fedasr.runtime.answering import AnsweringApp
from fedasr.runtime.client_apps import make_client_app
from fedasr.runtime.cores import cores
from fedasr.runtime.session import signals_kept
from fedasr.runtime.threads import one_thread
from fedasr.runtime.wrapped_grid import WrappedGrid

CLIENT_APP = "fedasr.clients.client_app:flower_app"
SERVER_APP = "fedasr.strategies.server_app:app"
POLL_SECONDS = 0.05
ENVIRONMENT = {
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # or Ray warns about what a future version will do
    "OMP_NUM_THREADS": "1",
}


class EngineEnded(RuntimeError):
    """Flower's engine has ended while the server waited for replies."""


class EngineGrid(WrappedGrid):
    """Flower's own grid, except that replies come as a stream and that waiting ends when the engine does.

    The engine runs the server app in a thread that would otherwise wait for ever once Ray is gone, after a crash or a
    second Ctrl-C, and keep the process alive.
    """

    def __init__(self, grid: Grid, ended: threading.Event) -> None:
        super().__init__(grid)
        self.ended = ended

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Send messages and yield the replies as they come.

        Raises:
            EngineEnded: there will be no more replies.
        """
        waiting = set(self.push_messages(messages))
        end = None if timeout is None else time.monotonic() + timeout
        while waiting and (end is None or time.monotonic() < end):
            if self.ended.wait(POLL_SECONDS):
                raise EngineEnded("Flower's simulation engine has ended")
            for reply in self.pull_messages(waiting):
                waiting.discard(reply.metadata.reply_to_message_id)
                yield reply


def run_in_flower(config: Config, clients: int, settings: dict[str, Any], store: str) -> None:
    """Run the apps in Flower's simulation engine with one node a client.

    Args:
        config: of the run.
        clients: how many.
        settings: the run config of the server.
        store: folder in which simulated devices keep what never leaves them.

    Raises:
        InputError: Ray is not installed, or what the server app raises.
    """
    if importlib.util.find_spec("ray") is None:
        raise InputError("'runtime.name' is 'flower', which needs Ray: pip install 'fedasr[ray]'")
    one_thread()
    places = {STORE_VARIABLE: store}
    if home() is None and "FLWR_HOME" not in os.environ:
        places["FLWR_HOME"] = str(own_temporary() / "flwr")
    with quiet_environment(places):
        # Ray and Flower read the environment when they are imported.
        from flwr.simulation import run_simulation

        own = config.client_app is not None
        client_app = AnsweringApp(make_client_app(config)) if own else load_reference(CLIENT_APP)
        server_app = load_reference(SERVER_APP)
        failures: list[BaseException] = []
        ended = threading.Event()
        wrapped = ServerApp()

        @wrapped.main()
        def main(grid: Grid, context: Context) -> None:
            # The engine takes no run config, and swallows the exceptions of its server thread.
            context.run_config = settings
            try:
                server_app(EngineGrid(grid, ended), context)
            except BaseException as error:
                failures.append(error)

        begin_ray(config)
        try:
            run_simulation(wrapped, client_app, num_supernodes=clients, backend_config=backend_config(config))
        except RuntimeError:
            # The engine may stumble over a server app that has ended; then that one's own words count.
            if not failures or isinstance(failures[0], EngineEnded):
                raise
        finally:
            ended.set()
    if failures:
        raise failures[0]


def begin_ray(config: Config) -> None:
    """Start the cluster on which the engine runs, which would start it itself, once, and ends it.

    The workers find the modules that this process finds.

    Raises:
        RunFailed: the machine is too busy to start it.
    """
    import ray

    from fedasr.runtime.ray_start import start_ray

    if ray.is_initialized():
        return
    paths = os.pathsep.join([*sys.path, *filter(None, [os.environ.get("PYTHONPATH")])])
    settings: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
    with signals_kept():
        start_ray(config.runtime.workers or cores(), runtime_env={"env_vars": {"PYTHONPATH": paths}}, **settings)


def backend_config(config: Config) -> dict[str, Any]:
    """Return what Ray is asked for: ``runtime.workers`` clients at a time, one thread each, sharing the GPU if any."""
    import torch

    workers = config.runtime.workers or cores()
    gpu = config.runtime.device != "cpu" and torch.cuda.is_available()
    return {
        "client_resources": {"num_cpus": 1, "num_gpus": 1 / workers if gpu else 0.0},
    }


@contextmanager
def quiet_environment(more: Mapping[str, str] | None = None) -> Iterator[None]:
    """Keep Ray and Flower quiet and single-threaded, and leave the process's environment as it was.

    Args:
        more: what the workers are to find in their environment.

    ``FLWR_LOG_LEVEL`` in the environment wins, for those who want to see Flower's log.
    """
    before = dict(os.environ)
    logger = logging.getLogger("flwr")
    level = logger.level
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ.update(more or {})
    if "FLWR_LOG_LEVEL" not in before:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
