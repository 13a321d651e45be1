"""What a server that learns sums alone cannot do."""

from __future__ import annotations

from fedasr.config.rules.selection import known_traits
from fedasr.config.schema import Config
from fedasr.errors import InputError
from fedasr.registry import is_reference


def check_secure_aggregation(config: Config, where: str) -> None:
    """Raise on what needs single updates, losses or error rates, and on what would not be hidden.

    Raises:
        InputError: naming the keys and what to change.
    """

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    secure, privacy, strategy = config.secure_aggregation, config.privacy, config.strategy
    shares = privacy.unit == "user" and privacy.noise_at == "shares"
    if secure.mode == "none":
        if shares:
            refuse(
                "'privacy.noise_at' is 'shares' but 'secure_aggregation.mode' is 'none', whose server would see each"
                " update with a share of the noise alone; set secure_aggregation.mode=protocol, or simulate"
            )
        return
    fact = f"'secure_aggregation.mode' is '{secure.mode}'"
    if strategy.name == "central":
        refuse(f"{fact} but 'strategy.name' is '{strategy.name}', whose clients send no updates: leave it out")
    if config.runtime.name == "deployment" and secure.mode == "simulate":
        what = "vote" if strategy.name == "pate" else "update"
        refuse(
            f"{fact} but 'runtime.name' is 'deployment', whose server would see every {what}; set"
            " secure_aggregation.mode=protocol"
        )
    if strategy.name == "pate":
        check_sums_of_votes(config, where)
        return
    if config.client_app is not None:
        refuse(f"{fact} but 'client_app' is '{config.client_app}', whose updates nobody would mask: leave one out")
    if config.compression.up != "none":
        refuse(
            f"{fact} but 'compression.up' is '{config.compression.up}'; masked numbers look random, and sums of encoded"
            " updates decode to nothing: leave 'compression' out, and choose 'secure_aggregation.bits'"
        )
    if strategy.aggregation != "mean" and not is_reference(strategy.aggregation):
        refuse(
            f"{fact} but 'strategy.aggregation' is '{strategy.aggregation}', which needs single updates, and the server"
            " learns their sum alone; set strategy.aggregation=mean"
        )
    if strategy.weighting == "inverse-probability":
        refuse(
            f"{fact} but 'strategy.weighting' is 'inverse-probability', whose weights only the server knows, and"
            " clients weigh their updates themselves; choose examples, seconds or uniform"
        )
    if config.selection.replacement:
        refuse(
            f"{fact} but 'selection.replacement' is true; a client is in the sum once: set selection.replacement=false"
        )
    traits = known_traits(config)
    if traits is not None and traits.reads_losses:
        refuse(
            f"{fact} but 'selection.name' is '{config.selection.name}', which chooses by the losses of single clients;"
            " choose another selection"
        )
    if config.evaluate.client_side:
        refuse(
            f"{fact} but 'evaluate.client_side' is {config.evaluate.client_side}, for which clients would have to tell"
            " their error rates; set evaluate.client_side=0"
        )
    if privacy.unit == "user" and privacy.noise_at == "server":
        refuse(
            f"{fact} but 'privacy.noise_at' is 'server', which clips single updates, and the server learns their sum"
            " alone; set privacy.noise_at=shares"
        )
    check_numbers(config, where)


def check_sums_of_votes(config: Config, where: str) -> None:
    """Raise on what needs the exact counts of votes, or leaves open among how many teachers the noise is split.

    Raises:
        InputError: naming the keys and what to change.
    """
    secure, pate = config.secure_aggregation, config.pate
    fact = f"'secure_aggregation.mode' is '{secure.mode}'"
    if pate.votes_from is not None:
        raise InputError(f"{fact} but 'pate.votes_from' is set: nobody votes; leave one of them out", where=where)
    if pate.noise_at != "teachers":
        raise InputError(
            f"{fact} but 'pate.noise_at' is '{pate.noise_at}', whose server would learn the exact counts of votes: set"
            " pate.noise_at=teachers",
            where=where,
        )
    if secure.least_clients is None:
        raise InputError(
            f"{fact} but 'secure_aggregation.least_clients' is not set: among so many teachers the noise is split, and"
            " a sum of fewer votes is not opened; set it, such as to two thirds of the teachers",
            where=where,
        )


def check_numbers(config: Config, where: str) -> None:
    """Raise on numbers that no round could have.

    Raises:
        InputError: naming the key and what to change.
    """
    secure, cohort = config.secure_aggregation, config.selection.clients_per_round
    holders = min(secure.neighbours + secure.neighbours % 2, cohort - 1) + 1
    if cohort < 2:
        raise InputError(
            f"'secure_aggregation.mode' is '{secure.mode}' but 'selection.clients_per_round' is {cohort}: the sum of"
            " one update is that update; set at least 2",
            where=where,
        )
    if secure.threshold is not None and not holders / 2 < secure.threshold <= holders:
        raise InputError(
            f"'secure_aggregation.threshold' is {secure.threshold}, but {holders} clients hold a share of a secret;"
            f" expected {holders // 2 + 1} to {holders}: with half of them or fewer a server could open a single"
            " update",
            where=where,
        )
    if secure.least_clients is not None and secure.least_clients > cohort:
        raise InputError(
            f"'secure_aggregation.least_clients' is {secure.least_clients} but 'selection.clients_per_round' is"
            f" {cohort}: no sum would ever be opened; lower it",
            where=where,
        )
