"""Keys of section ``devices``."""

from __future__ import annotations

from dataclasses import dataclass

from fedasr.config.schema.conditions import when
from fedasr.config.schema.keys import key


@dataclass
class DevicesConfig:
    """Real devices, simulated: a virtual clock, availability, drop-out; see `docs/devices.md`."""

    clock: bool = key(False, "simulate how long devices take, when they are there, and who drops out")
    tiers: list[str] = key(lambda: ["high", "mid", "low"], "names of the classes of devices")
    shares: list[float] = key(lambda: [0.2, 0.5, 0.3], "share of the devices in each tier; they add up to 1")
    compute: list[float] = key(
        lambda: [0.02, 0.06, 0.25], "seconds that a device of each tier takes to train on one second of audio, once"
    )
    down_mbps: list[float] = key(lambda: [50.0, 20.0, 5.0], "download of each tier in megabits a second")
    up_mbps: list[float] = key(lambda: [20.0, 5.0, 1.0], "upload of each tier in megabits a second")
    jitter: float = key(
        0.25,
        "sigma of the log-normal spread around the tier's speed; computing and network each, anew every round",
        low=0,
        high=3,
    )
    availability: str = key(
        "always",
        "always; diurnal: each device is there for part of its own day; trace: as the file says",
        choices=("always", "diurnal", "trace"),
    )
    available_share: float = key(
        0.5,
        "`diurnal`: share of the day that a device is there",
        above=0,
        high=1,
        when=when(".availability", "diurnal"),
    )
    trace: str | None = key(
        None,
        "`trace`: a CSV of `client,start_s,end_s`, repeated when the run outlasts it",
        when=when(".availability", "trace"),
    )
    dropout: float = key(0.0, "probability that a selected device never answers", low=0, high=0.95)
    over_commit: float = key(
        1.0, "select this many times the cohort; whoever answers after the cohort is full is discarded", low=1, high=10
    )
    deadline_s: float | None = key(None, "simulated seconds after which a round closes; absent: none", above=0)
    overhead_s: float = key(1.0, "simulated seconds that the server needs a round", low=0)
