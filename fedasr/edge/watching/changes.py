"""What happened between two looks at a server: edge devices that came and went, rounds that ended, a run that ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedasr.edge.watching.run_state import rounds_after
from fedasr.edge.watching.words import outcome, rate, spending
from fedasr.errors import InputError
from fedasr.files import finite
from fedasr.protocol import Status

MOST_ROUNDS = 100
"""How many rounds are told at most between two looks."""


@dataclass(frozen=True)
class Event:
    """Something that happened: for people, and as fields."""

    event: str
    """``edge device``, ``run``, ``asked``, ``round``, ``failure``, ``problem``, ``over`` or ``privacy``"""
    text: str
    level: str = "info"
    fields: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "level": self.level,
            "event": self.event,
            "text": self.text,
            **{k: finite(v) for k, v in self.fields.items()},
        }


def changes(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> Iterator[Event]:
    """Yield what happened between two statuses of a server; before the first, nothing was there."""
    yield from device_changes(before["boxes"] if before else [], after["boxes"])
    if after["run"] is not None:
        same = before is not None and before["run"] is not None and before["run"]["run"] == after["run"]["run"]
        yield from run_changes(before["run"] if before is not None and same else None, after["run"])


def device_changes(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> Iterator[Event]:
    """Yield the edge devices whose state is another."""
    known = {device["name"]: device["state"] for device in before}
    for device in after:
        if known.get(device["name"]) != device["state"]:
            fields = {"box": device["name"], "state": device["state"], "since": device["since"]}
            yield Event("box", f"edge device {device['name']}: {device['state']}", "info", fields)


def run_changes(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> Iterator[Event]:
    """Yield what happened in a run."""
    of = {"run": after["run"]}
    if before is None or before["status"] != after["status"]:
        yield Event("run", f"run {after['run']}: {after['status']}", "info", {**of, "status": after["status"]})
    if after["problem"] is not None and (before is None or before["problem"] != after["problem"]):
        yield Event("problem", after["problem"], "warning", of)
    yield from round_changes(before, after)
    now, then = after["now"], before["now"] if before else None
    if now is not None and (then is None or (now["kind"], now["since"]) != (then["kind"], then["since"])):
        asked = len(now["waiting"]) + len(now["answered"]) + len(now["failed"])
        text = f"round {now['round']}: {now['kind']} went out to {asked} edge devices"
        yield Event("asked", text, "info", {**of, "round": now["round"], "kind": now["kind"], "boxes": asked})
    if after["over"] and (before is None or not before["over"]):
        fields = {**of, "state": after["state"], "error": after["error"], "wer": after["wer"]}
        yield Event("over", outcome(after), "info" if after["good"] else "error", fields)
        for sentence in spending(after["privacy"]):
            yield Event("privacy", sentence, "info", {**of, **(after["privacy"] or {})})


def round_changes(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> Iterator[Event]:
    """Yield the rounds that have ended since, and who failed in them; of a run seen for the first time, the last."""
    last = after["last_round"]
    if last is None:
        return
    seen = before["last_round"] if before else None
    if seen is not None and seen["round"] >= last["round"]:
        return
    known = seen["round"] if seen else last["round"] - 1
    try:
        rows = list(rounds_after(Path(after["folder"]), max(known, last["round"] - MOST_ROUNDS)))
    except InputError:  # the next look says what is wrong with the folder
        rows = [last]
    for row in reversed([row for row in rows if row["round"] <= last["round"]]):
        fields = {"run": after["run"], "round": row["round"]}
        for device in row["boxes"]:
            if device["status"] != Status.OK:
                text = f"round {row['round']}: edge device {device['box']} {device['status']}: {device['reason']}"
                yield Event("failure", text, "warning", {**fields, "box": device["box"], "reason": device["reason"]})
        numbers = {key: row[key] for key in ("asked", "answered", "failed", "seconds", "wer", "train_loss", "epsilon")}
        wer = "" if row["wer"] is None else f", WER {rate(row['wer'])}"
        text = (
            f"round {row['round']} of {after['rounds']}: {row['answered']} of {row['asked']} edge devices answered{wer}"
        )
        yield Event("round", text, "info", {**fields, **numbers, "boxes": [device["box"] for device in answered(row)]})


def answered(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the edge devices of a round whose work counts."""
    return [device for device in row["boxes"] if device["status"] == Status.OK]
