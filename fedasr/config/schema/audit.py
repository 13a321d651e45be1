"""Keys of section ``audit``."""

from __future__ import annotations

from dataclasses import dataclass

from fedasr.config.schema.conditions import unless, when
from fedasr.config.schema.keys import key, part


@dataclass
class SecretsConfig:
    """Digit codes that synthetic speakers say; see `docs/audits.md`."""

    codes: int = key(0, "how many codes; 0: none", low=0, high=10**5)
    digits: int = key(4, "digits of a code", low=1, high=6, when=unless(".codes", 0, refused=True))
    repeats: int = key(1, "how often each is said", low=1, high=10**4, when=unless(".codes", 0, refused=True))
    across: str = key(
        "user",
        "who says it: one user every time, or as many users, each once",
        choices=("user", "users"),
        when=unless(".codes", 0, refused=True),
    )


@dataclass
class AuditConfig:
    """Canary users and spoken secrets; see `docs/audits.md`."""

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
    secrets: SecretsConfig = part(
        SecretsConfig,
        "digit codes that training speakers of corpus `synthetic` say in sentences of their own, beside what they say"
        " anyway, for `fedasr audit secrets`",
        when=when("data.corpus", "synthetic", refused=True),
    )
