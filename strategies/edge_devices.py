"""The edge devices of a deployed run as the server sees them: who is there, and what they say they hold."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedasr import __version__
from fedasr.data.fleet import Fleet
from fedasr.data.roster import Roster
from fedasr.errors import InputError, RunFailed, one_line
from fedasr.files import write_json
from fedasr.protocol import EdgeNode, Kind, Longest, Order, Status
from fedasr.runtime.edge_grid import EdgeGrid, connected
from fedasr.runtime.session import current

LOOK_EVERY_SECONDS = 1.0
RETURN_SECONDS = 60.0
"""How long a run that goes on waits for its edge devices at most; they look for their server every ten seconds."""
MOST_UTTERANCES = 10**6
MOST_SECONDS = 1e7
"""No edge device holds more, a thousand hours and more; one that says so is not believed."""
GROWTH, NEW_UTTERANCES = 2, 1000
"""How many times more, and how many more, an edge device may hold when it is asked again."""
LEAST_MEAN_SECONDS = 0.02
"""No recogniser hears less."""


def wait_for_edge_devices(grid: Grid, wanted: int | None, patience_s: float) -> list[str]:
    """Return the names of the connected edge devices, sorted, once there are enough.

    Args:
        grid: Flower's.
        wanted: how many to wait for; None: those that are connected, at least one.
        patience_s: how long.

    Raises:
        InputError: there are too few, or some have no name.
    """
    end = time.monotonic() + patience_s
    while True:
        names = connected(grid)
        if len(names) >= (wanted or 1):
            return sorted(names)
        if time.monotonic() > end:
            nameless = len(list(grid.get_nodes())) - len(names)
            more = f", and {nameless} without a name of their own" if nameless else ""
            raise InputError(
                f"{len(names)} of {wanted or 1} edge devices were connected after {patience_s:.0f} s{more};"
                " enrol them with 'fedasr edge enroll', start them with 'fedasr edge run-client', or set data.clients"
            )
        time.sleep(LOOK_EVERY_SECONDS)


def wait_for_return(grid: Grid, names: Iterable[str], patience_s: float) -> None:
    """Wait until the edge devices of a run that goes on are connected again, or as long as that may take.

    After a restart of the server they come back one by one; a round without the others would be a smaller population.

    Args:
        grid: Flower's.
        names: of the edge devices.
        patience_s: how long.
    """
    wanted, end = set(names), time.monotonic() + patience_s
    while not wanted <= connected(grid).keys() and time.monotonic() < end:
        time.sleep(LOOK_EVERY_SECONDS)


class InFlight:
    """Who was sent the model of a round, kept beside the checkpoint until that holds the round.

    Found by a run that goes on after a kill, it tells of a round whose updates have left the devices and are lost: they
    will leave a second time.

    Args:
        folder: of the checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "sent.json"

    def note(self, round: int, clients: Iterable[int]) -> None:
        """Note the clients of a round, before anything is sent."""
        write_json(self.file, {"round": round, "clients": [int(client) for client in clients]})

    def lost(self, checkpoint: int) -> list[int]:
        """Return the clients of the round after a checkpoint's, none where nothing was sent since."""
        if not self.file.is_file():
            return []
        document = json.loads(self.file.read_text(encoding="utf-8"))
        return [int(client) for client in document["clients"]] if document["round"] > checkpoint else []

    def forget(self) -> None:
        """Forget what a checkpoint holds."""
        self.file.unlink(missing_ok=True)


class EdgeDevices:
    """Follows what the edge devices hold and which of them are there.

    Args:
        grid: of the edge devices.
        experiment_json: the run's config, as the edge devices get it: what of their speech can be used depends on it.
    """

    def __init__(self, grid: EdgeGrid, experiment_json: str) -> None:
        self.grid = grid
        self.experiment_json = experiment_json
        self.fleet = Fleet.unasked(grid.names)
        self.fresh: set[int] = set()
        """those that have said what they hold when they trained in the round before"""
        self.warned: set[int] = set()
        self.longest = float(json.loads(experiment_json)["data"]["max_seconds"])
        """seconds of an utterance at most"""

    def ask(self, round: int) -> list[int]:
        """Return the devices that are there, in ascending order; those that have not said what they hold are asked."""
        content = RecordDict({Order.RECORD: Order(round, self.experiment_json).to_record()})
        there = self.grid.present()
        answered = [client for client in there if client in self.fresh]
        asked = [client for client in there if client not in self.fresh]
        questions = [Message(content, client, Kind.DESCRIBE, group_id=str(round)) for client in asked]
        utterances, seconds = self.fleet.utterances.copy(), self.fleet.seconds.copy()
        for reply in self.grid.send_and_receive(questions):
            client = reply.metadata.src_node_id
            held = None if reply.has_error() else holdings(reply, self.longest)
            if held is None:
                why = reply.error.reason if reply.has_error() else "what it says of that cannot be"
                self.warn(client, f"it does not say what it holds: {first_line(why)}")
                continue
            before = int(utterances[client])
            if before and held.utterances > GROWTH * before + NEW_UTTERANCES:
                self.warn(client, f"it says that it holds {held.utterances} utterances after {before}; not believed")
                continue
            utterances[client], seconds[client] = held.utterances, held.seconds
            answered.append(client)
            if held.version != __version__:
                self.warn(client, f"it runs fedasr {held.version}, the server {__version__}")
        self.fresh.clear()
        self.fleet = replace(self.fleet, utterances=utterances, seconds=seconds)
        return sorted(answered)

    def heard(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Note what edge devices said they hold when they trained.

        Args:
            rows: of a round, for ``clients.parquet``.
        """
        utterances, seconds = self.fleet.utterances.copy(), self.fleet.seconds.copy()
        for row in rows:
            if row["status"] == Status.OK:
                self.fresh.add(row["id"])
                utterances[row["id"]], seconds[row["id"]] = row["examples"], row["audio_seconds"]
        self.fleet = replace(self.fleet, utterances=utterances, seconds=seconds)

    def warn(self, client: int, text: str) -> None:
        """Say something about an edge device, once."""
        if client not in self.warned:
            self.warned.add(client)
            current().watcher.note(f"edge device {self.grid.names[client]}: {text}")

    def look(self, round: int, roster: Roster) -> None:
        """Bring the roster up to date before a round; wait where no device is there that could take part.

        Raises:
            RunFailed: for ``runtime.reply_timeout_s`` there was none; the run can be resumed.
        """
        end: float | None = None
        while True:
            there = self.ask(round)
            # Edge devices that have just come back may be slow to answer the first time, which has its own deadline.
            end = time.monotonic() + self.grid.timeout_s if end is None else end
            mask = np.zeros(len(self.fleet), np.bool_)
            mask[there] = True
            roster.attend(mask)
            held = self.fleet
            roster.store(held.utterances, held.seconds, held.utterances, held.seconds)
            wanted = ~roster.excluded
            if len(roster.selectable) or not wanted.any() or current().stop.is_set():
                return
            if time.monotonic() > end:
                raise RunFailed(
                    f"round {round}: for {self.grid.timeout_s:.0f} s no edge device with speech was connected;"
                    " see 'fedasr edge status', then resume"
                )
            time.sleep(LOOK_EVERY_SECONDS)


def holdings(reply: Message, longest: float = MOST_SECONDS) -> EdgeNode | None:
    """Return what an edge device says of itself, or None where that cannot be.

    Args:
        reply: to a message ``Kind.DESCRIBE``.
        longest: seconds that an utterance has at most.
    """
    try:
        claimed = EdgeNode.of(reply, "the edge device")
    except InputError:
        return None
    if not (0 <= claimed.utterances <= MOST_UTTERANCES and 0 <= claimed.seconds <= MOST_SECONDS):
        return None
    if not LEAST_MEAN_SECONDS * claimed.utterances <= claimed.seconds <= longest * claimed.utterances * (1 + 1e-6):
        return None
    return replace(claimed, version=one_line(claimed.version[: Longest.VERSION]))


def first_line(text: str | None) -> str:
    """Return the first line of what an edge device says."""
    lines: Iterable[str] = (text or "").strip().splitlines()
    return one_line(next(iter(lines), "no reason given")[: Longest.NOTE])
