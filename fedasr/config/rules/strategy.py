"""What the server can do with the updates of a run."""

from __future__ import annotations

from fedasr.config.schema import Config
from fedasr.errors import InputError
from fedasr.registry import is_reference


def check_strategy(config: Config, where: str) -> None:
    """Raise on FedProx without its term, and on a private run of a strategy that nobody accounts for.

    Raises:
        InputError: naming the keys and what to change.
    """
    if config.strategy.name == "fedprox" and config.client.proximal == 0:
        raise InputError(
            "'strategy.name' is 'fedprox' but 'client.proximal' is 0; set mu, for example client.proximal=0.01",
            where=where,
        )


def check_fairness(config: Config, where: str) -> None:
    """Raise where updates cannot be weighted by their clients' losses.

    Raises:
        InputError: naming the keys and what to change.
    """
    strategy = config.strategy
    if strategy.fairness == "none":
        return

    def refuse(message: str) -> None:
        raise InputError(f"'strategy.fairness' is '{strategy.fairness}' but {message}", where=where)

    if config.privacy.unit == "user":
        refuse(
            "'privacy.unit' is 'user': a weight that follows from a user's loss breaks the sensitivity that the noise"
            " rests on; set strategy.fairness=none"
        )
    if config.privacy.unit != "none":
        refuse(
            f"'privacy.unit' is '{config.privacy.unit}', for which devices would have to tell their losses; set"
            " strategy.fairness=none"
        )
    if config.secure_aggregation.mode != "none":
        refuse(
            f"'secure_aggregation.mode' is '{config.secure_aggregation.mode}', whose server learns no single losses;"
            " set strategy.fairness=none"
        )
    if config.runtime.name == "deployment":
        refuse(
            "'runtime.name' is 'deployment', where a device could count for as much as it likes by the loss that it"
            " tells; set strategy.fairness=none"
        )
    if config.client.labels != "truth":
        refuse(
            f"'client.labels' is '{config.client.labels}', and losses on a device's own labels are small where it is"
            " wrong and sure of it; set strategy.fairness=none"
        )
    if strategy.aggregation != "mean":
        refuse(f"'strategy.aggregation' is '{strategy.aggregation}'; set strategy.aggregation=mean")
    if strategy.weighting == "inverse-probability":
        refuse(
            "'strategy.weighting' is 'inverse-probability', whose sum is divided by what the plain weights sum to;"
            " choose examples, seconds or uniform"
        )
    if config.audit.canaries:
        refuse(f"'audit.canaries' is {config.audit.canaries}, and canary users have no losses; leave 'audit' out")
    if strategy.fairness == "group-dro" and strategy.fairness_by is None:
        refuse("'strategy.fairness_by' is not set; name the column whose values are the groups, such as gender")


def check_aggregation(config: Config, where: str) -> None:
    """Raise on an aggregate that would not be what the other keys say of it.

    Raises:
        InputError: naming the keys and what to change.
    """
    strategy, privacy = config.strategy, config.privacy

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    chosen = strategy.aggregation
    if chosen == "mean":
        return
    problem = f"'strategy.aggregation' is '{chosen}'"
    if chosen == "norm-bound" and strategy.norm_bound is None:
        refuse(f"{problem} but 'strategy.norm_bound' is not set; take 'update_norm' from a run without attacks")
    if strategy.name == "pate":
        refuse(f"{problem} but 'strategy.name' is 'pate', whose server gets no updates; leave it out")
    if privacy.unit == "user" and privacy.noise_at == "server":
        refuse(
            f"{problem} but 'privacy.unit' is 'user' with noise on the server, which is enough for a mean of updates"
            " clipped to 'privacy.clip_norm' and for nothing else; set strategy.aggregation=mean"
        )
    if chosen == "norm-bound" or is_reference(chosen):
        return
    if strategy.weighting != "uniform":
        refuse(
            f"{problem}, which counts every client once, but 'strategy.weighting' is '{strategy.weighting}'; set"
            " strategy.weighting=uniform"
        )
    if config.selection.replacement:
        refuse(
            f"{problem}, which counts every client once, but 'selection.replacement' is true; set it to false, or"
            " choose mean or norm-bound"
        )
