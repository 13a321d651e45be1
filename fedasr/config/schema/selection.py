"""Keys of section ``selection``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedasr.config.schema.conditions import when
from fedasr.config.schema.keys import key, part


@dataclass
class OortConfig:
    """What only `oort` reads (Lai et al., OSDI 2021)."""

    exploration: float = key(0.9, "share of the cohort that explores new devices in the first round", low=0, high=1)
    exploration_decay: float = key(0.98, "what the share is multiplied with every round", above=0, high=1)
    exploration_floor: float = key(0.2, "the share never falls below this", low=0, high=1)
    cutoff: float = key(0.95, "devices are drawn among those above this share of the k-th best score", low=0, high=1)
    clip: float = key(0.95, "statistical utilities above this quantile are clipped", above=0, high=1)
    staleness: float = key(0.1, "c of the staleness bonus √(c·ln t / last round)", low=0)
    straggler_penalty: float = key(
        2.0, "exponent of T/duration for devices slower than the preferred T; 0: none", low=0
    )
    pacer_rounds: int = key(20, "rounds between two decisions of the pacer", low=1)
    pacer_step: float = key(5.0, "how far the pacer raises the percentile of the durations that T is", low=0, high=100)
    start_percentile: float = key(50.0, "percentile of the durations that T is at first", above=0, high=100)
    blacklist_rounds: int = key(
        0, "a device that took part so often is chosen only where nobody else is left; 0: no limit", low=0
    )


@dataclass
class AflConfig:
    """What only `afl` reads (Goetz et al. 2019)."""

    drop_share: float = key(
        0.75, "share of the devices, those with the lowest valuation √n·loss, that is not drawn by value", low=0, high=1
    )
    random_share: float = key(0.1, "share of the cohort, rounded up, that is drawn uniformly", low=0, high=1)
    temperature: float = key(0.01, "the others are drawn in proportion to exp(this · valuation)", low=0)


@dataclass
class SelectionConfig:
    """Which devices take part in a round; see `docs/selection.md`."""

    name: str = key(
        "uniform",
        "uniform; poisson: each device independently; activity: in proportion to what it stores; top-activity: the most"
        " active; threshold: uniformly among the active; mixed: the active first, then uniform; balanced: as many of"
        " each group; stratified: of each group its share; round-robin: with a minimum separation; power-of-choice:"
        " highest loss among candidates; oort; afl",
        choices=(
            "uniform",
            "poisson",
            "activity",
            "top-activity",
            "threshold",
            "mixed",
            "balanced",
            "stratified",
            "round-robin",
            "power-of-choice",
            "oort",
            "afl",
        ),
        reference=True,
    )
    options: dict[str, Any] = key(dict, "what a selector of your own is called with, by parameter name")
    clients_per_round: int = key(
        10,
        "devices a round, for `poisson` on average; above 10 at most as many as there are clients",
        low=1,
    )
    by: str | None = key(
        None,
        "`balanced`, `stratified`: column of the corpus whose values are the groups of clients, such as gender; a"
        " client is in that of most of its utterances",
        when=when(".name", "balanced", "stratified", refused=True),
    )
    activity: str = key(
        "utterances",
        "what the activity of a device counts: all that is stored, or only what came in the current period",
        choices=("utterances", "seconds", "recent-utterances", "recent-seconds"),
        when=when(".name", "activity", "top-activity", "threshold", "mixed", "power-of-choice"),
    )
    exponent: float = key(
        1.0,
        "`activity`, `mixed`: draw in proportion to the count to this power; 0 is uniform",
        low=0,
        when=when(".name", "activity", "mixed"),
    )
    replacement: bool = key(
        False,
        "`activity`, `mixed`: draw with replacement; a device drawn twice trains once and counts twice",
        when=when(".name", "activity", "mixed"),
    )
    min_activity: float = key(
        1.0,
        "`threshold`: devices with a smaller count are not drawn; utterances or seconds, as `activity` says",
        low=0,
        when=when(".name", "threshold"),
    )
    active_rounds: int = key(
        10, "`mixed`: so many rounds of `activity`, then uniform", low=0, when=when(".name", "mixed")
    )
    separation: int = key(
        0,
        "`round-robin`: two participations of a device are at least so many rounds apart, if need be with smaller"
        " cohorts; 0: as many as full cohorts allow",
        low=0,
        when=when(".name", "round-robin"),
    )
    candidates: int = key(
        0,
        "`power-of-choice`: devices whose loss is compared (d); 0: twice the cohort",
        low=0,
        when=when(".name", "power-of-choice"),
    )
    probe: str = key(
        "loss",
        "`power-of-choice`: loss: of the global model on all the device stores (pow-d); batch: on one batch (cpow-d);"
        " last: the training loss it last reported, no question asked (rpow-d)",
        choices=("loss", "batch", "last"),
        when=when(".name", "power-of-choice"),
    )
    oort: OortConfig = part(OortConfig, "what only oort reads", when=when("selection.name", "oort"))
    afl: AflConfig = part(AflConfig, "what only afl reads", when=when("selection.name", "afl"))
