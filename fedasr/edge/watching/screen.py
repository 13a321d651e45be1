"""A server, its edge devices and a run on a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box as frames
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fedasr.edge.watching.words import ago, outcome, rate, span, spending
from fedasr.protocol import Status

STYLES = {"online": "green", "answered": "green", Status.OK: "green", "waiting": "cyan", "offline": "yellow"}
"""Of states; those that are not good have another."""
OTHER_STYLE = "red"
QUIET = ("—", "revoked", "never connected")


def screen(status: Mapping[str, Any]) -> RenderableType:
    """Return a status for a terminal."""
    parts: list[RenderableType] = [Text(f"SuperLink at {status['address']}")]
    run = status["run"]
    if run is None:
        parts.append(Text("no run was submitted yet"))
    else:
        parts += [Text(line, style=style) for line, style in run_lines(run)]
    parts.append(table(status["boxes"], run))
    parts += [Text(f"also run {old['run']} {old['status']}", style="dim") for old in others(status)]
    return Group(*parts)


def others(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the newest runs but the one that is told in detail."""
    return [run for run in status["runs"] if run["run"] != status["run"]["run"]][:3]


def run_lines(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the lines about a run, and their styles."""
    name = "" if run["name"] is None else f" {run['name']}"
    yield f"run {run['run']}{name}: {run['status']}, {span(run['elapsed_s'])}", "bold"
    if run["problem"] is not None:
        yield run["problem"], "yellow"
    elif run["folder"] is not None:
        yield f"folder {run['folder']}", ""
    if run["round"] is not None:
        wer = "no WER yet" if run["wer"] is None else f"WER {rate(run['wer'])} after round {run['wer_round']}"
        loss = "" if run["train_loss"] is None else f" · train loss {run['train_loss']:.3f}"
        yield f"round {run['round']} of {run['rounds']} · {wer}{loss}", ""
    for sentence in spending(run["privacy"]):
        yield f"privacy {sentence}", ""
    if run["over"]:
        yield outcome(run), "green" if run["good"] else OTHER_STYLE
    elif run["now"] is not None:
        yield under_way(run["now"]), "cyan"


def under_way(now: Mapping[str, Any]) -> str:
    """Return what is happening now."""
    asked = len(now["answered"]) + len(now["failed"]) + len(now["waiting"])
    failed = f", {len(now['failed'])} failed" if now["failed"] else ""
    told = f"{len(now['answered'])} of {asked} edge devices have answered{failed}"
    head = f"round {now['round']}, {now['kind']}: {told}"
    if now["over"]:
        return f"{head}; the server works"
    return f"{head}, {span(now['seconds'])} of at most {span(now['patience_s'])}"


def table(devices: list[Mapping[str, Any]], run: Mapping[str, Any] | None) -> Table:
    """Return the edge devices, what they do now, and what they did in the last round."""
    rows = Table(box=frames.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    now, last = (run["now"], run["last_round"]) if run is not None else (None, None)
    rows.add_column("Edge device", overflow="fold")
    rows.add_column("State", overflow="fold")
    if now is not None:
        rows.add_column("Now", overflow="fold")
    if last is not None:
        rows.add_column(f"Round {last['round']}", overflow="fold")
    if run is None:
        rows.add_column("Key", no_wrap=True)
    for device in devices:
        cells = [
            Text(device["name"]),
            painted(device["state"], "" if device["state"] in QUIET else ago(device["since"])),
        ]
        if now is not None:
            cells.append(now_cell(device["name"], now))
        if last is not None:
            cells.append(last_cell(device["name"], last))
        if run is None:
            cells.append(Text(device["fingerprint"][:24]))
        rows.add_row(*cells)
    return rows


def now_cell(name: str, now: Mapping[str, Any]) -> Text:
    """Return what an edge device does now."""
    if name in now["answered"]:
        return painted("answered")
    if name in now["failed"]:
        return painted(Status.FAILED, now["failed"][name])
    return painted("waiting" if name in now["waiting"] else "—")


def last_cell(name: str, last: Mapping[str, Any]) -> Text:
    """Return what an edge device did in the last round."""
    row = next((row for row in last["boxes"] if row["box"] == name), None)
    if row is None:
        return painted("—")
    if row["status"] != Status.OK:
        return painted(str(row["status"]), str(row["reason"] or ""))
    return painted(Status.OK, f"{row['utterances']} utterances, {row['bytes'] / 1e6:.2f} MB")


def painted(state: str, more: str = "") -> Text:
    """Return a state in its colour, and what there is to say about it."""
    style = "dim" if state in QUIET else STYLES.get(state, OTHER_STYLE)
    return Text.assemble((state, style), f" {more}" if more else "")
