"""Numbers for people: a value, its unit, and as many digits as it deserves."""

from __future__ import annotations

import math
from typing import NamedTuple

PERCENT = {"wer": "Word error rate", "cer": "Character error rate", "client_wer": "Word error rate on clients' speech"}
NAMES = {
    "loss": "Held-out loss",
    "train_loss": "Training loss",
    "clients_selected": "Clients selected",
    "clients_replied": "Clients replied",
    "clients_failed": "Clients failed",
    "examples": "Utterances trained on",
    "audio_seconds": "Audio trained on (s)",
    "bytes_up": "Bytes to the server",
    "bytes_down": "Bytes to the clients",
    "wall_seconds": "Wall time (s)",
    "simulated_seconds": "Simulated time (s)",
    "update_norm": "Largest update (L2 norm)",
}


class Scale(NamedTuple):
    """A unit that suits some values: divide by ``divisor``."""

    divisor: float
    unit: str


BYTES = (Scale(1, "B"), Scale(1e3, "kB"), Scale(1e6, "MB"), Scale(1e9, "GB"), Scale(1e12, "TB"))
SECONDS = (Scale(1, "s"), Scale(60, "min"), Scale(3600, "h"))


def suit(largest: float, scales: tuple[Scale, ...]) -> Scale:
    """Return the largest unit of which ``largest`` is at least two (bytes: one)."""
    least = 1 if scales is BYTES else 2
    return next((scale for scale in reversed(scales) if largest >= least * scale.divisor), scales[0])


def metric_label(metric: str) -> str:
    """Return what an axis of this metric says."""
    return f"{PERCENT[metric]} (%)" if metric in PERCENT else NAMES.get(metric, metric)


def metric_factor(metric: str) -> float:
    """Return 100 for metrics that people read in percent, else 1."""
    return 100.0 if metric in PERCENT else 1.0


def axis_label(x: str, largest: float) -> tuple[str, float]:
    """Return what an axis of ``compare.AXES`` says, and what to divide its values by."""
    if x == "bytes":
        scale = suit(largest, BYTES)
        return f"Data sent up and down ({scale.unit})", scale.divisor
    if x in ("audio_seconds", "simulated_seconds"):
        scale = suit(largest, SECONDS)
        return f"{'Audio trained on' if x == 'audio_seconds' else 'Simulated time'} ({scale.unit})", scale.divisor
    return {"round": "Round", "updates": "Client updates"}[x], 1.0


def percent(value: float) -> str:
    """Return a fraction as percent: 0.0834 is ``8.3 %``."""
    return f"{100 * value:.1f} %" if math.isfinite(value) else "–"


def percent_range(low: float, high: float) -> str:
    """Return an interval of fractions as percent: ``7.9 to 9.2 %``."""
    return f"{100 * low:.1f} to {100 * high:.1f} %" if math.isfinite(low) and math.isfinite(high) else "–"


def percentage_points(value: float) -> str:
    """Return a difference of fractions in percentage points, signed: -0.021 is ``−2.1 points``."""
    if not math.isfinite(value):
        return "–"
    sign = "−" if value < 0 else "+" if value > 0 else ""
    return f"{sign}{100 * abs(value):.1f} points"


def number(value: float, digits: int = 3) -> str:
    """Return a number with ``digits`` significant digits, integers from a thousand on grouped: ``12,345``."""
    if not math.isfinite(value):
        return "–"
    if value == int(value) or abs(value) >= 10**digits:
        return f"{value:,.0f}"
    return f"{value:#.{digits}g}".rstrip(".")


def metric_text(metric: str, value: float) -> str:
    """Return a metric as people read it."""
    return percent(value) if metric in PERCENT else number(value)


def data_size(value: float) -> str:
    """Return bytes in a decimal unit: ``1.25 MB``."""
    return scaled(value, BYTES)


def duration(value: float, digits: int = 3) -> str:
    """Return seconds as ``41 s``, ``3.5 min`` or ``2.1 h``."""
    return scaled(value, SECONDS, digits)


def scaled(value: float, scales: tuple[Scale, ...], digits: int = 3) -> str:
    """Return a value in the unit that suits it."""
    if not math.isfinite(value):
        return "–"
    scale = suit(abs(value), scales)
    return f"{number(value / scale.divisor, digits)} {scale.unit}"
