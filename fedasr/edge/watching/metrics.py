"""A status as Prometheus reads it: the text exposition format 0.0.4, for node_exporter's textfile collector."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fedasr.protocol import Status

Labels = Mapping[str, Any]


@dataclass
class Metric:
    """A metric and its samples."""

    name: str
    kind: str
    """``gauge`` or ``counter``"""
    help: str
    samples: list[tuple[Labels, float]] = field(default_factory=list)

    def add(self, value: float | int | bool | None, **labels: Any) -> None:
        """Add a sample; a value that is not known is left out."""
        if value is not None:
            self.samples.append((labels, float(value)))

    def lines(self) -> Iterator[str]:
        """Yield the lines of the metric; none where it has no samples."""
        if self.samples:
            yield f"# HELP {self.name} {self.help}"
            yield f"# TYPE {self.name} {self.kind}"
            for labels, value in self.samples:
                inner = ",".join(f'{name}="{escaped(text)}"' for name, text in labels.items())
                yield f"{self.name}{{{inner}}} {number(value)}" if inner else f"{self.name} {number(value)}"


def escaped(text: Any) -> str:
    """Return a label's value as the format wants it."""
    return str(text).replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def number(value: float) -> str:
    """Return a number as the format wants it."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def exposition(status: Mapping[str, Any], now: float | None = None) -> str:
    """Return a status in the text exposition format.

    Args:
        status: of a server.
        now: seconds since 1970; None: the clock's.
    """
    stamp = Metric("fedasr_status_timestamp_seconds", "gauge", "When this was read, in seconds since 1970.")
    stamp.add(time.time() if now is None else now)
    metrics = [stamp, *device_metrics(status)]
    if status["run"] is not None:
        metrics += run_metrics(status["run"])
    return "".join(f"{line}\n" for metric in metrics for line in metric.lines())


def device_metrics(status: Mapping[str, Any]) -> list[Metric]:
    """Return what there is to say of edge devices that may take part."""
    connected = Metric("fedasr_box_connected", "gauge", "1 where the edge device is connected, else 0.")
    for device in status["boxes"]:
        if device["state"] != "revoked":
            connected.add(device["state"] == "online", box=device["name"])
    return [connected]


GAUGES = {
    "fedasr_run_elapsed_seconds": ("elapsed_s", "How long the run has gone on, until its end."),
    "fedasr_run_rounds_completed": ("round", "Rounds that have ended."),
    "fedasr_run_rounds_wanted": ("rounds", "Rounds that the run is to have."),
    "fedasr_run_word_error_rate_ratio": ("wer", "Word error rate of the last evaluation, a fraction."),
    "fedasr_run_train_loss": ("train_loss", "Mean training loss of the last round."),
}
COUNTERS = {
    "fedasr_run_received_bytes_total": (
        "bytes_received",
        "Bytes that the SuperLink got from the edge devices of the run.",
    ),
    "fedasr_run_sent_bytes_total": ("bytes_sent", "Bytes that the SuperLink sent to the edge devices of the run."),
}
ROUND = {
    "fedasr_run_last_round_duration_seconds": ("seconds", "How long the last round took."),
    "fedasr_run_last_round_boxes_asked": ("asked", "Edge devices that were to take part in the last round."),
    "fedasr_run_last_round_boxes_answered": ("answered", "Edge devices whose work counted in the last round."),
    "fedasr_run_last_round_boxes_failed": ("failed", "Edge devices that failed in the last round."),
}


def run_metrics(run: Mapping[str, Any]) -> Iterator[Metric]:
    """Yield what there is to say of a run."""
    labels = {"run": run["run"]}
    info = Metric("fedasr_run_info", "gauge", "1; the labels say which run it is, and how it is.")
    info.add(1, **labels, name=run["name"] or "", status=run["status"])
    yield info
    active = Metric("fedasr_run_active", "gauge", "1 while the run is not over, else 0.")
    active.add(not run["over"], **labels)
    yield active
    for kind, known in (("gauge", GAUGES), ("counter", COUNTERS)):
        for name, (key, text) in known.items():
            metric = Metric(name, kind, text)
            metric.add(run[key], **labels)
            yield metric
    last, now, privacy = run["last_round"], run["now"], run["privacy"]
    if last is not None:
        for name, (key, text) in ROUND.items():
            metric = Metric(name, "gauge", text)
            metric.add(last[key], **labels)
            yield metric
        good = Metric(
            "fedasr_box_last_round_answered", "gauge", "1 where the edge device's work counted in the last round."
        )
        for device in last["boxes"]:
            good.add(device["status"] == Status.OK, **labels, box=device["box"])
        yield good
    if now is not None:
        waiting = Metric(
            "fedasr_run_boxes_waited_for", "gauge", "Edge devices that were asked and have not answered yet."
        )
        waiting.add(0 if now["over"] else len(now["waiting"]), **labels)
        yield waiting
    if privacy is not None:
        spent = Metric(
            "fedasr_run_privacy_epsilon", "gauge", "Epsilon spent so far, for the delta and unit of the labels."
        )
        spent.add(privacy["epsilon"], **labels, delta=f"{privacy['delta']:g}", unit=privacy["unit"])
        yield spent
