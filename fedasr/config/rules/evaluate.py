"""What an evaluation needs."""

from __future__ import annotations

from fedasr.config.schema import Config
from fedasr.errors import InputError


def check_evaluate(config: Config, where: str) -> None:
    """Raise on deciles without held-out speech, and on estimates that would tell what nothing covers.

    Raises:
        InputError: naming the keys and what to change.
    """
    if config.evaluate.deciles and not config.evaluate.held_out:
        raise InputError(
            "'evaluate.deciles' needs speech that no client trains on: set 'evaluate.held_out', for example to 0.1",
            where=where,
        )
    check_estimate(config, where)


def check_estimate(config: Config, where: str) -> None:
    """Raise where devices would have to tell their counts of errors, and no noise covers them, or they have no limit.

    Raises:
        InputError: naming the keys and what to change.
    """
    every, privacy = config.evaluate.estimate.every, config.privacy
    if not every:
        return
    problem = ""
    if privacy.unit == "example" or (privacy.unit == "user" and privacy.noise_at != "server"):
        problem = f"'privacy.unit' is '{privacy.unit}' with noise on the devices"
    elif config.runtime.name == "deployment" and privacy.unit != "none":
        problem = (
            "'runtime.name' is 'deployment' in a private run, whose model would leave before the account is on disk"
        )
    if problem:
        raise InputError(
            f"'evaluate.estimate.every' is {every} but {problem}: devices would have to tell how many errors they"
            " expect; set evaluate.estimate.every=0",
            where=where,
        )
    if privacy.unit == "user":
        check_noise(config, where)
    if config.secure_aggregation.mode != "none" and config.evaluate.estimate.words is None:
        raise InputError(
            f"'evaluate.estimate.every' is {every} and 'secure_aggregation.mode' is"
            f" '{config.secure_aggregation.mode}', where counts are whole numbers that need a limit: set"
            " 'evaluate.estimate.words' to how many words a device counts for at most, for example 500",
            where=where,
        )


def check_noise(config: Config, where: str) -> None:
    """Raise where nobody has said how much noise the sums of an estimate have, or a device has no limit.

    Raises:
        InputError: naming the keys and what to change.
    """
    estimate = config.evaluate.estimate
    fact = f"'evaluate.estimate.every' is {estimate.every} in a run with privacy.unit=user"
    if estimate.noise_multiplier is None:
        raise InputError(
            f"{fact} but 'evaluate.estimate.noise_multiplier' is not set: set it, for example to 4, or to 0 for"
            " estimates that no ε covers",
            where=where,
        )
    if estimate.noise_multiplier and estimate.words is None:
        raise InputError(
            f"{fact} and with noise, which needs a limit on what a device counts: set 'evaluate.estimate.words', for"
            " example to 500",
            where=where,
        )
