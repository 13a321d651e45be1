"""The numbers of a status in words, the same wherever they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fedasr.privacy.document import ONE_UNIT, epsilon_text
from fedasr.units import percent

MINUTE, HOUR, DAY = 60, 3600, 86400


def rate(value: float | None) -> str:
    """Return an error rate, a fraction, in per cent."""
    return "—" if value is None else percent(value)


def span(seconds: float | None) -> str:
    """Return a time span with its two largest parts."""
    if seconds is None:
        return "—"
    whole = int(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE} s"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"
    return f"{whole // DAY} d {whole % DAY // HOUR} h"


def ago(moment: str | None) -> str:
    """Return how long a time is over, ISO 8601; nothing where there is none."""
    if moment is None:
        return ""
    return span(max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()))


def spending(privacy: Mapping[str, Any] | None) -> list[str]:
    """Return what was spent in sentences that hold all that the number depends on; none where nothing is private."""
    if privacy is None:
        return []
    after = f"after round {privacy['round']}: " if privacy["round"] is not None else ""
    if privacy["guarantee"]:
        return [f"{after}{text}" for text in privacy["guarantee"]]
    if privacy["epsilon"] is None:
        return ["nothing was released yet"]
    unit = ONE_UNIT.get(privacy["unit"], privacy["unit"])
    return [f"{after}{epsilon_text(privacy['epsilon'])} at δ = {privacy['delta']:g} for {unit} (all of it at the end)"]


def outcome(run: Mapping[str, Any]) -> str:
    """Return how a run ended."""
    ending = str(run["state"] or run["status"]) if run["good"] or run["state"] != "running" else str(run["status"])
    reason = f": {run['error']}" if run["error"] else ""
    reached = "" if run["round"] is None else f" after round {run['round']} of {run['rounds']}, WER {rate(run['wer'])}"
    return f"the run is over: {ending}{reached}{reason}"
