"""What a SuperLink knows of its nodes and its runs, asked from its own machine, without a process for each question."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from fedasr.edge.flower_command import environment
from fedasr.edge.server_folder import ServerFolder
from fedasr.errors import InputError
from fedasr.flower.control import SuperLinkControl

FINISHED = "finished"
"""How Flower's status of a run begins when the run is over."""


@dataclass(frozen=True)
class Node:
    """A node as the SuperLink sees it."""

    status: str
    """``registered``, ``online``, ``offline`` or ``unregistered``"""
    since: str | None
    """when it came online or went offline, ISO 8601"""


@dataclass(frozen=True)
class SubmittedRun:
    """A run as the SuperLink sees it; times in ISO 8601."""

    run_id: str
    status: str
    """``pending``, ``starting``, ``running``, ``finished:completed``, ``finished:failed`` or ``finished:stopped``"""
    details: str
    settings: Mapping[str, Any]
    """what it was submitted with"""
    submitted: str | None
    started: str | None
    ended: str | None
    elapsed_s: float | None
    bytes_received: int
    bytes_sent: int

    @property
    def over(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.status.startswith(FINISHED)

    def folder(self, work: Path) -> Path | None:
        """Return the run folder: where it was submitted with ``out``, else what it has made in the SuperLink's folder.

        Args:
            work: where the SuperLink runs.
        """
        out = str(self.settings.get("out") or "")
        if out:
            return work / out
        return next(iter(sorted(work.glob(f"runs/*-{self.run_id}"))), None)


class Control:
    """Asks a SuperLink, over TLS.

    Args:
        server: whose; its SuperLink is on this machine.

    Raises:
        InputError: there is no server, or its authority cannot be read.
    """

    def __init__(self, server: ServerFolder) -> None:
        self.server = server
        port = int(server.require()["port"])
        try:
            authority = server.authority.read_bytes()
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", where=str(server.authority)) from None
        with no_proxy(server):
            self.client = SuperLinkControl(f"127.0.0.1:{port}", authority)

    def nodes(self) -> dict[str, Node]:
        """Return node id → node.

        Raises:
            InputError: the SuperLink does not answer.
        """
        try:
            registered = self.client.nodes()
        except httpx.HTTPError as error:
            raise self.silent(error) from None
        moments = {"online": "last_activated_at", "offline": "last_deactivated_at"}
        return {
            str(node.node_id): Node(node.status, second(getattr(node, moments.get(node.status, ""), "")))
            for node in registered
        }

    def runs(self) -> list[SubmittedRun]:
        """Return all runs, the newest first.

        Raises:
            InputError: the SuperLink does not answer.
        """
        try:
            runs, now = self.client.runs()
        except httpx.HTTPError as error:
            raise self.silent(error) from None
        return [
            SubmittedRun(
                run_id=str(run.run_id),
                status=":".join(filter(None, (run.status.status, run.status.sub_status))),
                details=run.status.details,
                settings=run.override_config,
                submitted=second(run.pending_at),
                started=second(run.running_at),
                ended=second(run.finished_at),
                elapsed_s=passed(run.running_at, run.finished_at or now),
                bytes_received=run.bytes_recv,
                bytes_sent=run.bytes_sent,
            )
            for run in sorted(runs, key=lambda run: run.pending_at, reverse=True)
        ]

    def silent(self, error: httpx.HTTPError) -> InputError:
        """Return the line for a SuperLink that does not answer, or not as expected."""
        if isinstance(error, httpx.HTTPStatusError):
            return InputError(
                f"the SuperLink refused the request: status {error.response.status_code}", where=str(self.server.path)
            )
        if self.server.running:
            return InputError("the SuperLink is starting; try again in a few seconds", where=str(self.server.path))
        return InputError(
            f"the SuperLink does not answer; start it with 'fedasr edge run-server --home {self.server.path}'",
            where=str(self.server.path),
        )

    def close(self) -> None:
        """Hang up."""
        self.client.close()


@contextmanager
def no_proxy(server: ServerFolder) -> Iterator[None]:
    """Let no proxy come between this machine and itself: Flower's client asks the environment when it is made."""
    before = {name: os.environ.get(name) for name in ("no_proxy", "NO_PROXY")}
    os.environ.update({name: environment(server.flower_home)[name] for name in before})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def second(moment: str) -> str | None:
    """Return a time to the second, ISO 8601 in UTC; None where there is none."""
    return datetime.fromisoformat(moment).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def passed(start: str, end: str) -> float | None:
    """Return the seconds between two times; None where it has not begun."""
    if not start:
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
