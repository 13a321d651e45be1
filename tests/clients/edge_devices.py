"""Edge devices in this process: folders of speech behind a grid that numbers its nodes as Flower does, at random."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flwr.app import Context, RecordDict
from flwr.proto.node_pb2 import NodeInfo

from fedasr.clients.client_app import flower_app
from fedasr.config import load
from fedasr.data.fleet import Fleet
from fedasr.flower.messages import RUN_ID
from fedasr.protocol import KINDS
from fedasr.runtime.edge_grid import EdgeGrid
from fedasr.runtime.executors import SerialExecutor
from fedasr.runtime.grid import LocalGrid
from fedasr.runtime.launch import open_run
from fedasr.runtime.run_folder import RunFolder
from fedasr.runtime.session import Watcher, session
from fedasr.strategies.server_app import run_strategy
from tests.fedasr.data.speech_files import write

WORDS = ("one", "two", "six")
NAMES = ("anna", "ben", "cleo")
FREE = {"epsilon_per_run": 1e6, "epsilon_lifetime": 1e6, "pate_queries": 10**6}
"""Owners who ask for noise and do not count it."""
OPEN = {"messages": list(KINDS), "privacy": "none", "secret_noise": False, **FREE}
"""Owners who let the server do what a simulation does."""


def record(folder: Path, numbers: Iterable[int], seed: int) -> list[dict[str, str]]:
    """Write half a second of noise a number into a folder, and return rows for a manifest in it."""
    rows = []
    for number in numbers:
        write(folder / f"{number}.wav", 0.5, seed=100 * seed + number)
        rows.append({"path": f"{number}.wav", "speaker": folder.name, "text": WORDS[number % 3]})
    return rows


def manifest(path: Path, rows: Iterable[Mapping[str, str]], fields: tuple[str, ...]) -> Path:
    """Write a manifest."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, fields, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    return path


class Town:
    """Three edge devices with a folder each, a server with test speech, and a table of everything, for a simulation.

    Args:
        root: an empty folder.
    """

    def __init__(self, root: Path) -> None:
        everything = []
        self.folders: dict[str, Path] = {}
        for seed, name in enumerate(NAMES):
            folder = root / name
            rows = record(folder, range(3 + seed), seed)
            manifest(folder / "manifest.csv", rows, ("path", "speaker", "text"))
            everything += [{**row, "path": f"{name}/{row['path']}", "split": "train"} for row in rows]
            self.folders[name] = folder
        self.allow(**OPEN)
        test = [{**row, "path": f"test/{row['path']}", "split": "test"} for row in record(root / "test", range(3), 9)]
        fields = ("path", "speaker", "text", "split")
        self.server = manifest(root / "server.csv", test, fields)
        self.whole = manifest(root / "whole.csv", [*everything, *test], fields)
        self.root = root

    def allow(self, **rules: Any) -> None:
        """Let the owners of all edge devices have these rules, and the safe ones beside them."""
        for folder in self.folders.values():
            (folder / "policy.yaml").write_text(json.dumps(rules))

    def config(self, where: Path, **changes: Any) -> dict[str, Any]:
        """Return a config on a manifest; keyword arguments are dotted keys with ``__`` for the dot."""
        config: dict[str, Any] = {
            "name": "town",
            "rounds": 2,
            "data": {"corpus": "manifest", "manifest": str(where), "cache": {"directory": "off"}},
            "model": {"encoder": "lstm", "channels": [8, 8], "hidden": 8, "dropout": 0.1},
            "client": {"batch_size": 2, "optimizer": "adamw", "learning_rate": 0.01},
            "selection": {"clients_per_round": 3},
            "runtime": {"executor": "serial"},
        }
        for name, value in changes.items():
            node = config
            *path, last = name.split("__")
            for step in path:
                node = node.setdefault(step, {})
            node[last] = value
        return config

    def run(self, out: Path, watcher: Watcher | None = None, grid: SuperLink | None = None, **changes: Any) -> Path:
        """Run the edge devices and return the run folder."""
        config = load(self.config(self.server, runtime__name="deployment", **changes))
        flower = grid or SuperLink(self.folders)
        fleet = Fleet.unasked(list(self.folders))
        experiment = open_run(config, out, resume=False, fleet=fleet)
        assert experiment is not None
        with session(watcher):
            run_strategy(EdgeGrid(flower, fleet.names, 5.0), experiment, RunFolder(out), resume=False)
        return out


class SuperLink(LocalGrid):
    """A SuperLink with these devices: the state of a client app is lost as when every message restarts it."""

    partition_ids_are_node_ids = False

    def __init__(self, folders: Mapping[str, Path]) -> None:
        super().__init__(SerialExecutor(flower_app), 0)
        self.edge_devices = {7919 * (number + 1) % 101: name for number, name in enumerate(folders)}
        self.folders = folders
        self.away: set[str] = set()
        self.called: dict[str, str] = {}
        """how the SuperLink calls an edge device, where that is not its own name"""

    def get_nodes(self) -> Iterable[NodeInfo]:
        nodes = {node: self.called.get(name, name) for node, name in self.edge_devices.items() if name not in self.away}
        return [NodeInfo(node_id=node, name=name) for node, name in nodes.items()]

    def get_node_ids(self) -> Iterable[int]:
        return [node.node_id for node in self.get_nodes()]

    def context(self, node: int) -> Context:
        name = self.edge_devices[node]
        return Context(RUN_ID, node, {"name": name, "data": str(self.folders[name])}, RecordDict(), {})


class Lasting(SuperLink):
    """A SuperLink whose devices keep their state between messages."""

    def context(self, node: int) -> Context:
        result = super().context(node)
        result.state = self.states.get(node) or RecordDict()
        return result
