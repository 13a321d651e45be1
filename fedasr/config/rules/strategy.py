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
