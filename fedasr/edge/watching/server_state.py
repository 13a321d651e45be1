"""How a server, its edge devices and one of its runs are: one dictionary, from which everything else here is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fedasr.edge.control import Control, Node, SubmittedRun
from fedasr.edge.server_folder import Enrolment, ServerFolder
from fedasr.edge.watching.run_state import run_state
from fedasr.errors import InputError, nearest

STATES = {"registered": "never connected", "unregistered": "revoked"}
"""Flower's states of a node that have a plainer name."""


def server_status(server: ServerFolder, run_id: str | None = None) -> dict[str, Any]:
    """Return the address of a server, its edge devices and its runs, the newest first, and one run in detail.

    Raises:
        InputError: there is no server, its SuperLink does not answer, or has no such run.
    """
    control = Control(server)
    try:
        return look(server, control, run_id)
    finally:
        control.close()


def look(server: ServerFolder, control: Control, run_id: str | None = None) -> dict[str, Any]:
    """Return ``server_status`` by a connection that is there.

    Args:
        server: its files.
        control: asks its SuperLink.
        run_id: of the run to be told in detail; None: the newest.

    Raises:
        InputError: the SuperLink does not answer, or has no such run.
    """
    devices, runs = device_states(server, control), control.runs()
    chosen = choose(runs, run_id)
    return {
        "address": server.address,
        "boxes": devices,
        "runs": [
            {
                "run": run.run_id,
                "status": run.status,
                "submitted": run.submitted,
                "started": run.started,
                "ended": run.ended,
                "folder": folder_of(server, run),
            }
            for run in runs
        ],
        "run": None if chosen is None else in_detail(server, chosen),
    }


def choose(runs: Sequence[SubmittedRun], run_id: str | None) -> SubmittedRun | None:
    """Return the run of an id, or the newest; None where there is none yet and no id was given.

    Raises:
        InputError: there is no such run.
    """
    if run_id is None:
        return runs[0] if runs else None
    known = [run.run_id for run in runs]
    if run_id not in known:
        there = f"{nearest(run_id, known)}; the newest: {', '.join(known[:3])}" if known else "; none was submitted yet"
        raise InputError(f"the SuperLink has no run '{run_id}'{there}", where="RUN")
    return runs[known.index(run_id)]


def device_states(server: ServerFolder, control: Control) -> list[dict[str, Any]]:
    """Return how the edge devices are, in the order in which they were enrolled.

    Raises:
        InputError: the SuperLink does not answer, or the list of edge devices is damaged.
    """
    nodes = control.nodes()
    return [device_state(device, nodes.get(device.node_id)) for device in server.devices()]


def device_state(device: Enrolment, node: Node | None) -> dict[str, Any]:
    """Return how an edge device is."""
    state = "unknown to the SuperLink" if node is None else STATES.get(node.status, node.status)
    return {
        "name": device.name,
        "state": "revoked" if device.revoked else state,
        "since": device.revoked or (None if node is None else node.since),
        "enrolled": device.enrolled,
        "fingerprint": device.fingerprint,
    }


def folder_of(server: ServerFolder, run: SubmittedRun) -> str | None:
    """Return where a run writes; None where that is not known yet."""
    folder = run.folder(server.work)
    return None if folder is None else str(folder)


def in_detail(server: ServerFolder, run: SubmittedRun) -> dict[str, Any]:
    """Return all that is known of a run: from the SuperLink, and from its folder where that can be read.

    A folder that cannot be read is no reason to say nothing: ``problem`` says what is wrong with it.
    """
    folder = run.folder(server.work)
    state: dict[str, Any] = dict.fromkeys(KEYS)
    problem: str | None = None
    if folder is None:
        problem = "the run has made no folder yet" if not run.over else "the run has made no folder"
    else:
        try:
            state |= run_state(folder)
        except InputError as error:
            problem = str(error)
    if run.over:
        state["now"] = None
    failed = run.over and state["state"] in (None, "running")
    if failed and state["error"] is None:
        state["error"] = run.details or None
    return {
        "run": run.run_id,
        "status": run.status,
        "submitted": run.submitted,
        "started": run.started,
        "ended": run.ended,
        "elapsed_s": run.elapsed_s,
        "bytes_received": run.bytes_received,
        "bytes_sent": run.bytes_sent,
        "folder": None if folder is None else str(folder),
        "problem": problem,
        **state,
        "over": run.over,
        "good": run.status == GOOD and state["state"] in (None, "done"),
    }


GOOD = "finished:completed"
KEYS = (
    *("name", "state", "error", "round", "rounds", "wer", "wer_round", "train_loss", "privacy", "last_round", "now"),
)
"""What a run folder tells; all None where it cannot be read."""
