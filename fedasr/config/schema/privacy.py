"""Keys of section ``privacy``."""

from __future__ import annotations

from dataclasses import dataclass

from fedasr.config.schema.conditions import either, unless, when
from fedasr.config.schema.keys import key

UPDATES = when(".unit", "example", "user", refused=True)
EXAMPLE = when(".unit", "example", refused=True)
USER = when(".unit", "user", refused=True)
CENTRAL = (USER, when(".noise_at", "server", refused=True))
ADAPTIVE = (USER, when(".clipping", "adaptive", refused=True))


@dataclass
class PrivacyConfig:
    """Differential privacy; see `docs/private-training.md`."""

    unit: str = key(
        "none",
        "whose presence is hidden: none; example: one utterance, by DP-SGD on each device, also from the server; user:"
        " all that a device holds, by clipping whole updates and noise where `noise_at` says; teacher: all that one"
        " teacher of strategy `pate` was trained on, by noise on the votes (then `none` means `teacher`)",
        choices=("none", "example", "user", "teacher"),
    )
    noise_at: str = key(
        "server",
        "`user`: server: on the sum, by a server that is trusted with each update (central DP); device: on each update"
        " before it is sent, which protects from the server too (local DP); shares: each device adds a share of it, and"
        " `secure_aggregation` shows the server the sum alone (distributed DP)",
        choices=("server", "device", "shares"),
        when=USER,
    )
    noise_multiplier: float | None = key(
        None,
        "standard deviation of the noise in clip norms; absent: found from `epsilon`, for the whole run",
        low=1e-9,
        high=1e6,
        when=UPDATES,
    )
    epsilon: float | None = key(
        None,
        "what may be spent, by the run or, with noise on the devices, by each of them; the run ends, and no device is"
        " selected, before a round that would exceed it; absent: no bound",
        above=0,
    )
    participations: int | None = key(
        None,
        "noise on the devices: rounds that a device takes part in at most, and for which noise is found from `epsilon`;"
        " absent: no limit, or where noise is to be found, the mean (`example`) or all rounds (`user`)",
        low=1,
        when=either(EXAMPLE, when(".noise_at", "device", "shares", refused=True)),
    )
    delta: float = key(1e-5, "the δ of every ε; to be well below 1 / population", above=0, high=0.1)
    clip_norm: float = key(
        1.0, "largest L2 norm of what a unit contributes; `adaptive`: where it starts", above=0, when=UPDATES
    )
    clipping: str = key(
        "flat",
        "flat: the whole update or gradient; per-layer: each tensor to clip_norm/√tensors; per-layer-dim: in proportion"
        " to the root of its size; adaptive (`user`): flat, the norm follows a quantile of the updates (Andrew et al."
        " 2021); automatic (`example`): every gradient to the norm, without a threshold (Bu et al. 2022)",
        choices=("flat", "per-layer", "per-layer-dim", "adaptive", "automatic"),
        when=UPDATES,
    )
    micro_batches: int | None = key(
        None,
        "`example`: clip the mean gradients of so many micro-batches a step instead of each utterance's (eDP-SGD);"
        " quicker, and accounted for with their sensitivity of twice the clip norm",
        low=1,
        when=EXAMPLE,
    )
    noise_decay: float = key(
        1.0,
        "`example`: the noise multiplier after each local pass, as a share of the one before",
        above=0,
        high=1,
        when=EXAMPLE,
    )
    physical_batch: int | None = key(
        None,
        "`example`: utterances computed at a time, which bounds the memory; absent: all of a step",
        low=1,
        when=EXAMPLE,
    )
    quantile: float = key(
        0.5, "`adaptive`: share of the updates that is to stay unclipped", above=0, high=0.99, when=ADAPTIVE
    )
    quantile_rate: float = key(0.2, "`adaptive`: learning rate of the clip norm", above=0, high=2, when=ADAPTIVE)
    accountant: str | None = key(
        None,
        "who computes ε; absent: pld on the server, rdp (quick, and a little above) on devices",
        choices=("pld", "rdp"),
        when=UPDATES,
    )
    noise: str = key(
        "independent",
        "`user`: independent: fresh in every round; banded, tree: correlated over the rounds, so that much of it"
        " cancels in the sum of the updates (DP-FTRL); needs no random cohorts but `selection.name: round-robin` with a"
        " `separation`",
        choices=("independent", "banded", "tree"),
        when=CENTRAL,
    )
    bands: int = key(
        8,
        "`noise: banded`: rounds that the noise of one round reaches into, itself included; at most the separation",
        low=1,
        when=(*CENTRAL, when(".noise", "banded", refused=True)),
    )
    public_activity: bool = key(
        False,
        "how much each device stores is no secret: activity-based selection is then accounted for without amplification"
        " by sampling, instead of refused",
        when=CENTRAL,
    )
    population: int | None = key(
        None,
        "say, beside the ε of this simulation, what it would be in a population of so many users",
        low=1,
        when=CENTRAL,
    )
    cohort: int | None = key(
        None,
        "with `population`: and with so many of them a round, the noise on their mean being the same",
        low=1,
        when=(*CENTRAL, unless(".population", None, refused=True)),
    )
    secret_noise: bool = key(
        False,
        "draw the noise and the cohorts from the operating system instead of from the seed: needed for a real"
        " guarantee, and then no two runs are alike",
    )
