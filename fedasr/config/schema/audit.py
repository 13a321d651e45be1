"""Keys of section ``audit``."""

from __future__ import annotations

from dataclasses import dataclass

from fedasr.config.schema.conditions import unless
from fedasr.config.schema.keys import key


@dataclass
class AuditConfig:
    """Canary users; see `docs/audits.md`."""

    canaries: int = key(
        0,
        "canary users, who are selected as all others and send one loud random direction each, so that what the run"
        " releases is held against its ledger at the end; they take places in the cohorts; 0: none",
        low=0,
        high=10**6,
    )
    held_out: int | None = key(
        None,
        "canaries that take no part, whose scores show what chance does; absent: as many as the model has room for, at"
        " most 20,000",
        low=1,
        high=10**7,
        when=unless(".canaries", 0, refused=True),
    )
