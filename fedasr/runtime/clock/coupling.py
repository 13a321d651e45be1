"""Whether the clock lets one device change who else is in a round."""

from __future__ import annotations

from fedasr.config.schema import DevicesConfig


def coupled_by(config: DevicesConfig) -> str | None:
    """Return the key by which a device's speed changes who else is in a round; None: none does.

    With ``over_commit`` the fastest answers count: a slow device leaves its place to another. Without it a device is
    late or drops out by itself. How long a round takes follows from its slowest device, and who is there next from the
    time; only where everybody always is, nothing follows from it.
    """
    if not config.clock:
        return None
    if config.over_commit > 1:
        return "devices.over_commit"
    return None if config.availability == "always" else "devices.availability"
