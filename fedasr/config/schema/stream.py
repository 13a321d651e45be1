"""Keys of section ``stream``."""

from __future__ import annotations

from dataclasses import dataclass

from fedasr.config.schema.conditions import when
from fedasr.config.schema.keys import key


@dataclass
class StreamConfig:
    """The continual setting: devices record over time and may have to delete; see `docs/continual.md`."""

    arrival: str = key(
        "static",
        "static: everything is there from the start; poisson: a device's utterances arrive as a Poisson process over"
        " the run; trace: at their `timestamp`",
        choices=("static", "poisson", "trace"),
    )
    periods: int = key(
        5, "periods the run is divided into, with equally many rounds each (within one); `static` has one", low=1
    )
    drift: float = key(
        0.0,
        "`poisson`: probability that an utterance comes in its text's own period, not at any time of the run",
        low=0,
        high=1,
        when=when(".arrival", "poisson", refused=True),
    )
    keep: str = key(
        "all",
        "what a device keeps: all; window: the last `window` periods; count: its newest `count` utterances; period:"
        " only what came in the current period",
        choices=("all", "window", "count", "period"),
    )
    window: int = key(2, "periods that `keep: window` keeps, with the current one", low=1, when=when(".keep", "window"))
    count: int = key(20, "utterances that `keep: count` keeps", low=1, when=when(".keep", "count"))
