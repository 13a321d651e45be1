"""The Ray cluster that a run is on: one that is there already, or one of this machine for as long as the run lasts."""

from __future__ import annotations

import importlib.util
import logging
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedasr.config import Config
from fedasr.errors import InputError
from fedasr.runtime.client_apps import WorkerApp
from fedasr.runtime.cores import cores
from fedasr.runtime.flower_engine import quiet_environment
from fedasr.runtime.ray_start import start_ray
from fedasr.runtime.session import signals_kept

if TYPE_CHECKING:
    from fedasr.runtime.executors.ray_actors import RayExecutor

log = logging.getLogger("fedasr.ray")

CONNECT_S = 10.0


def check_cluster(config: Config) -> None:
    """Raise where a run on Ray could not begin.

    Raises:
        InputError: Ray is not installed, no cluster is at ``runtime.ray_address``, or it has no room for a client.
    """
    if importlib.util.find_spec("ray") is None:
        raise InputError("'runtime.name' is 'ray', which needs Ray: pip install 'fedasr[ray]'")
    if config.runtime.ray_address is not None:
        ours = connect(config)
        try:
            room(config)
        finally:
            disconnect(ours)


@contextmanager
def ray_executor(config: Config, reference: str | WorkerApp, store: str) -> Iterator[RayExecutor]:
    """Connect to the cluster and start the actors; at the end, end both.

    Args:
        config: of the run.
        reference: of the client app, or how it is made.
        store: folder in which simulated devices keep what never leaves them.

    Raises:
        InputError: no cluster answers, or it has no room for a client.
    """
    ours = connect(config)
    try:
        from fedasr.runtime.executors.ray_actors import RayExecutor
        from fedasr.runtime.executors.ray_worker import Place

        places = room(config)
        with marked(Path(store), config.strategy.name == "pate") as marker:
            place = Place(reference, str(Path.cwd()), tuple(sys.path), config.runtime.device, marker)
            executor = RayExecutor(place, config.runtime.workers or places, gpu_share(config))
            try:
                yield executor
            finally:
                executor.close()
    finally:
        disconnect(ours)


@contextmanager
def marked(folder: Path, needed: bool) -> Iterator[str | None]:
    """Put a file into a folder for as long as a run lasts: a node that does not see it does not share the folder."""
    if not needed:
        yield None
        return
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    marker = folder / f".shared-{secrets.token_hex(8)}"
    marker.touch()
    try:
        yield str(marker)
    finally:
        marker.unlink(missing_ok=True)


def connect(config: Config) -> bool:
    """Connect to the cluster of ``runtime.ray_address``, or start one of this machine.

    Returns:
        Whether this call has connected. Who called ``ray.init`` before, in a notebook say, keeps the connection.

    Raises:
        InputError: no cluster answers there.
        RunFailed: that of this machine does not start.
    """
    with quiet_environment(), signals_kept():
        # Ray reads the environment when it is imported and when it connects.
        import ray

        if ray.is_initialized():
            return False
        address = config.runtime.ray_address
        settings: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
        if address is None:
            start_ray(config.runtime.workers or cores(), **settings)
        else:
            if address == "auto":
                address = os.environ.get("RAY_ADDRESS", address)
            reach(address)
            try:
                ray.init(address, **settings)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise unreachable(address, error) from None
    hush()
    return True


def reach(address: str) -> None:
    """Raise where nobody listens at an address: Ray would try for many minutes, and say so all the time.

    Raises:
        InputError: nobody does.
    """
    host, _, port = address.rpartition(":")
    if host:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
        except OSError as error:
            raise unreachable(address, error) from None


def unreachable(address: str, error: Exception) -> InputError:
    """Return what to raise where there is no cluster."""
    problem = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return InputError(
        f"no Ray cluster answers at 'runtime.ray_address', '{address}' ({problem}); start one with"
        " 'ray start --head', or leave the key out to use this machine alone"
    )


def disconnect(ours: bool) -> None:
    """End the connection, and the cluster if it was started for it, unless it is somebody else's."""
    if ours:
        import ray

        ray.shutdown()


def hush() -> None:
    """Send what Ray says about lost nodes to the log ``fedasr.ray``.

    Ray prints it on standard output, with the last lines of the node's own log, whatever ``log_to_driver`` says; there
    ``--json`` promises one object and nothing else. The run says in a line of its own that a worker was lost.
    """
    from ray._private import worker

    def note(data: dict[str, Any], ignore_prefix: bool) -> None:
        log.info("%s", "\n".join(str(line) for line in data["lines"]))

    worker.print_to_stdstream = note


def room(config: Config) -> int:
    """Return how many clients the cluster can train at a time.

    Raises:
        InputError: none.
    """
    import ray

    share = gpu_share(config)
    places = 0
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    for node in nodes:
        has = node["Resources"] if node["Alive"] else {}
        cpus = int(has.get("CPU", 0))
        places += cpus if not share else min(cpus, int(has.get("GPU", 0) / share + 1e-9))
    if not places:
        wanted = f"1 CPU and {share:g} GPU" if share else "1 CPU"
        raise InputError(f"no node of the Ray cluster has {wanted} for a client; start one that has: 'ray start'")
    return places


def gpu_share(config: Config) -> float:
    """Return the part of a GPU that a worker is given."""
    import ray

    device, share = config.runtime.device, config.runtime.gpus_per_client
    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return share if device == "cuda" or (device == "auto" and there.get("GPU", 0)) else 0.0
