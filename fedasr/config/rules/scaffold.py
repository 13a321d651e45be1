"""What control variates cannot be combined with."""

from __future__ import annotations

from collections.abc import Iterator

from fedasr.config.schema import Config
from fedasr.errors import InputError


def check_scaffold(config: Config, where: str) -> None:
    """Raise on SCAFFOLD where control variates would not be what its formulas say, or would tell or cost too much.

    Raises:
        InputError: naming the keys and what to change.
    """
    if config.strategy.name != "scaffold":
        return
    problems = [*of_steps(config), *of_server(config), *of_devices(config)]
    if problems:
        raise InputError(f"'strategy.name' is 'scaffold' but {problems[0]}", where=where)


def of_steps(config: Config) -> Iterator[str]:
    """Yield why what a client has moved by does not say which gradients it has seen."""
    client = config.client
    if client.optimizer != "sgd":
        yield (
            f"'client.optimizer' is '{client.optimizer}', from whose steps no gradient follows; set"
            " client.optimizer=sgd, and a client.learning_rate for it"
        )
    if client.momentum:
        yield (
            f"'client.momentum' is {client.momentum:g}, with which gradients count beyond their own step; set it to 0"
        )
    if client.proximal:
        yield (
            f"'client.proximal' is {client.proximal:g}, a second remedy against drift, whose pull would be taken for a"
            " gradient; set it to 0"
        )


def of_server(config: Config) -> Iterator[str]:
    """Yield why the changes of control variates cannot be added up as they are."""
    strategy, compression = config.strategy, config.compression
    if strategy.aggregation != "mean":
        yield (
            f"'strategy.aggregation' is '{strategy.aggregation}', and control variates are of use as a sum alone; set"
            " strategy.aggregation=mean"
        )
    if strategy.fairness != "none":
        yield (
            f"'strategy.fairness' is '{strategy.fairness}', whose weights change every round: the control variates"
            " would have another mean; set strategy.fairness=none"
        )
    for way in ("up", "down"):
        codec = getattr(compression, way)
        if codec != "none":
            yield f"'compression.{way}' is '{codec}', and control variates are not encoded; leave 'compression' out"
    if strategy.weighting == "uniform":
        return
    changing = None
    if config.stream.arrival != "static":
        changing = f"'stream.arrival' is '{config.stream.arrival}'"
    elif config.client.labels == "none":
        changing = "'client.labels' is 'none'"
    if changing is not None:
        yield (
            f"{changing} and 'strategy.weighting' is '{strategy.weighting}', so that what a client's control variate"
            " counts for would change; set strategy.weighting=uniform"
        )


def of_devices(config: Config) -> Iterator[str]:
    """Yield why devices cannot keep a control variate, or must not tell how it changes."""
    if config.privacy.unit != "none":
        yield (
            f"'privacy.unit' is '{config.privacy.unit}'; a control variate is a mean of gradients, which no accountant"
            " here covers: choose fedavg, or leave section 'privacy' out"
        )
    if config.secure_aggregation.mode != "none":
        yield (
            f"'secure_aggregation.mode' is '{config.secure_aggregation.mode}', which masks updates alone; set it to"
            " none"
        )
    if config.audit.canaries:
        yield f"'audit.canaries' is {config.audit.canaries}, and canary users keep nothing: leave 'audit' out"
    if config.attack.name != "none":
        yield (
            f"'attack.name' is '{config.attack.name}', which replaces the update and would leave the control variate"
            " honest; leave 'attack' out"
        )
    if config.client_app is not None:
        yield f"'client_app' is '{config.client_app}', and a client app of your own keeps none: leave one of them out"
    if config.runtime.name == "deployment":
        yield (
            "'runtime.name' is 'deployment', where a reply that is lost on the way takes the change of a control"
            " variate with it; choose fedavg or fedprox"
        )
