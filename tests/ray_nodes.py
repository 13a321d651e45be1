"""Ray nodes on this machine, for tests; a node can be killed as a machine goes down: all its processes, at once."""

from __future__ import annotations

import os
from typing import Any

import psutil

# Ray reads these when it is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
STORE_BYTES = 150_000_000


class Nodes:
    """A cluster of one CPU a node."""

    def __init__(self, nodes: int = 2) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": STORE_BYTES}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(nodes - 1):
            self.add()

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add(self) -> Any:
        """Add a node."""
        return self.cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)

    def kill(self, node: Any) -> None:
        """Kill a node with SIGKILL: its raylet, its workers and whatever else it has started."""
        processes = [info.process.pid for infos in node.all_processes.values() for info in infos]
        family = [child for pid in processes for child in psutil.Process(pid).children(recursive=True)]
        for process in [*(psutil.Process(pid) for pid in processes), *family]:
            process.kill()
        self.cluster.remove_node(node, allow_graceful=False)

    def close(self) -> None:
        """End all nodes."""
        self.cluster.shutdown()
