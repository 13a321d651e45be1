"""Keys of section ``strategy``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedasr.config.schema.conditions import unless, when
from fedasr.config.schema.keys import key

ADAPTIVE = when(".name", "fedadam", "fedyogi", "fedlamb")
UPDATES = unless(".name", "pate", "central")


@dataclass
class StrategyConfig:
    """What the server does with the updates."""

    name: str = key(
        "fedavg",
        "the server optimiser; scaffold: fedavg whose clients correct their drift by control variates, see"
        " `docs/scaffold.md`; or pate: no updates, the server aggregates the votes of teachers; or central:"
        " nothing is sent, the speech of all clients is pooled and trained on with the optimiser of `client`, see"
        " `docs/central.md`; a strategy of your own is a `ServerRun`",
        choices=(
            "fedavg",
            "fedprox",
            "scaffold",
            "fedavgm",
            "bmuf",
            "fedadam",
            "fedyogi",
            "fedlamb",
            "pate",
            "central",
        ),
        reference=True,
    )
    options: dict[str, Any] = key(dict, "what a strategy of your own is called with, by parameter name")
    central_round: str = key(
        "cohort",
        "what a round of `central` trains on: cohort: as many utterances as the federated round would, with the same"
        " seed, over all its devices and their local passes, so that both compare at equal passes; all: what one device"
        " that holds all speech would, with `client.epochs: 1` all of it once",
        choices=("cohort", "all"),
        when=when(".name", "central", refused=True),
    )
    learning_rate: float = key(1.0, "server learning rate", above=0, when=UPDATES)
    schedule: str = key(
        "constant",
        "server learning rate over the rounds; adaptive optimisers need it: they undo a smaller local rate",
        choices=("constant", "linear", "cosine"),
        when=UPDATES,
    )
    final_scale: float = key(
        0.1,
        "where `linear` and `cosine` end, as a share of `learning_rate`",
        low=0,
        high=1,
        when=when(".schedule", "linear", "cosine"),
    )
    warmup_rounds: int = key(0, "rounds over which the server learning rate rises linearly", low=0, when=UPDATES)
    momentum: float = key(0.9, "momentum of fedavgm", low=0, high=0.9999, when=when(".name", "fedavgm"))
    block_momentum: float | None = key(
        None,
        "η of bmuf, the momentum of whole rounds; absent: 1 − 1/`selection.clients_per_round`; its block learning rate"
        " is `learning_rate`",
        low=0,
        high=0.9999,
        when=when(".name", "bmuf"),
    )
    block_form: str = key(
        "classical",
        "form of the momentum of bmuf: classical, or nesterov: clients start from where it will lead",
        choices=("classical", "nesterov"),
        when=when(".name", "bmuf"),
    )
    beta1: float = key(0.9, "first-moment decay of fedadam, fedyogi, fedlamb", low=0, high=0.9999, when=ADAPTIVE)
    beta2: float = key(0.99, "second-moment decay of fedadam, fedyogi, fedlamb", low=0, high=0.99999, when=ADAPTIVE)
    tau: float = key(
        1e-3, "adaptivity of fedadam, fedyogi, fedlamb (Reddi et al. 2021: added to the root)", above=0, when=ADAPTIVE
    )
    weighting: str = key(
        "examples",
        "weight of a client's update; `inverse-probability`: examples over its inclusion probability, summed over the"
        " population's examples (Horvitz–Thompson: unbiased for every selection that reports probabilities)",
        choices=("examples", "seconds", "uniform", "inverse-probability"),
        when=UPDATES,
    )
    weight_cap: float | None = key(
        None,
        "all but `uniform`: no client counts for more than so many times what the median client stores, for what a"
        " device holds it alone knows; absent: 2 under runtime `deployment`, otherwise no limit",
        low=1,
        when=(unless(".weighting", "uniform"), UPDATES),
    )
    aggregation: str = key(
        "mean",
        "what stands for the updates of a round: mean, weighted; or, against Byzantine clients, median or trimmed-mean"
        " of each parameter, every client counting once; or norm-bound: the mean of updates that are scaled down to a"
        " length; see `docs/robust-aggregation.md`",
        choices=("mean", "median", "trimmed-mean", "norm-bound"),
        reference=True,
        when=unless(".name", "central", refused=True),
    )
    aggregation_options: dict[str, Any] = key(dict, "what an aggregator of your own is called with, by parameter name")
    trim_share: float = key(
        0.2,
        "`trimmed-mean`: share of the replies, rounded up, left out at either end",
        above=0,
        high=0.49,
        when=when(".aggregation", "trimmed-mean", refused=True),
    )
    norm_bound: float | None = key(
        None,
        "`norm-bound`: longest L2 norm of an update",
        above=0,
        when=when(".aggregation", "norm-bound", refused=True),
    )
    fairness: str = key(
        "none",
        "an objective that is fairer than the mean loss: before they train, clients tell their loss at the weights of"
        " the round, and updates are weighted by it; q: q-FFL; group-dro, afl: the worst mixture of groups; see"
        " `docs/fairness.md`",
        choices=("none", "q", "group-dro", "afl"),
        reference=True,
        when=unless(".name", "pate", "central", refused=True),
    )
    fairness_options: dict[str, Any] = key(dict, "what an objective of your own is called with, by parameter name")
    fairness_by: str | None = key(
        None,
        "column whose values are the groups of clients for `group-dro` and `afl`; absent: each client is a group",
        when=when(".fairness", "group-dro", "afl", refused=True),
    )
    fairness_q: float = key(
        1.0,
        "`q`: power of the losses that weigh updates; 0 is the plain mean, more is fairer and slower",
        low=0,
        when=when(".fairness", "q", refused=True),
    )
    fairness_lipschitz: float | None = key(
        None,
        "`q`: L, the Lipschitz constant of the gradient; absent: 1/`client.learning_rate`",
        above=0,
        when=when(".fairness", "q", refused=True),
    )
    fairness_step: float = key(
        0.1,
        "`group-dro`, `afl`: η, how fast the weights of groups follow their losses",
        above=0,
        when=when(".fairness", "group-dro", "afl", refused=True),
    )
    fairness_smoothing: float = key(
        0.5,
        "`group-dro`: α of CTC-DRO, which slows a group down the more weight it has; 0: plain group DRO",
        low=0,
        when=when(".fairness", "group-dro", refused=True),
    )
    max_failed_share: float = key(
        0.5,
        "a round with a larger share of failed clients stops the run, and so does one in which all fail; 1 under"
        " runtime `deployment`: a round in which no device answers is lost, and the run goes on; not read where"
        " `privacy` adds noise to the sum, which is released whoever fails",
        low=0,
        high=1,
        when=unless(".name", "central"),
    )
