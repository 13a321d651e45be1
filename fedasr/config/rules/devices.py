"""What devices can be simulated."""

from __future__ import annotations

import math

from fedasr.config.rules.selection import known_traits
from fedasr.config.schema import Config
from fedasr.errors import InputError

MOST_TIERS = 100


def check_devices(config: Config, where: str) -> None:
    """Raise on simulated devices that cannot be, or that nothing would simulate."""
    devices = config.devices

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    tiers = len(devices.tiers)
    if not 1 <= tiers <= MOST_TIERS or len(set(devices.tiers)) < tiers:
        refuse(f"'devices.tiers' must be a list of 1 to {MOST_TIERS} different names")
    for name in ("shares", "compute", "down_mbps", "up_mbps"):
        values = getattr(devices, name)
        if len(values) != tiers:
            refuse(f"'devices.{name}' has {len(values)} entries and 'devices.tiers' {tiers}; expected one per tier")
        if not all(math.isfinite(value) and value >= 0 and (value > 0 or name == "shares") for value in values):
            at_least = "at least 0" if name == "shares" else "more than 0"
            refuse(f"'devices.{name}' is {values}; expected numbers of {at_least}")
    if abs(sum(devices.shares) - 1) > 1e-6:
        refuse(f"'devices.shares' adds up to {sum(devices.shares):.6g}; expected 1")
    if devices.availability == "trace" and devices.trace is None:
        refuse("'devices.availability' is 'trace' but 'devices.trace' is not set; give the path of a CSV")
    if devices.over_commit > 1:
        traits = known_traits(config)
        if traits is not None and traits.sampling == "poisson":
            refuse(
                f"'devices.over_commit' is {devices.over_commit} but 'selection.name' is '{config.selection.name}',"
                " whose cohorts have no fixed size to exceed; set devices.over_commit=1 or choose another selection"
            )
