"""What a private run must be for its accountant to be right."""

from __future__ import annotations

from fedasr.config.rules.selection import known_traits
from fedasr.config.schema import Config
from fedasr.errors import InputError


def check_privacy(config: Config, where: str) -> None:
    """Raise where a private run would not be what its accountant assumes.

    Raises:
        InputError: naming the keys and what to change.
    """

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    privacy = config.privacy
    if privacy.unit in ("none", "teacher"):
        return
    if privacy.noise_multiplier is None and privacy.epsilon is None:
        refuse(f"'privacy.unit' is '{privacy.unit}': set 'privacy.noise_multiplier', or 'privacy.epsilon' to find it")
    if config.model.alphabet == "auto" and config.init_from is None:
        refuse(
            f"'privacy.unit' is '{privacy.unit}' but 'model.alphabet' is 'auto', which tells what characters occur in"
            " the transcripts; list them after 'chars:', or choose latin or arabic"
        )
    if privacy.unit == "example":
        check_example_level(config, where)
        return
    check_user_level(config, where)


def check_example_level(config: Config, where: str) -> None:
    """Raise where something else than what DP-SGD protects would leave the devices, or a key would not be read.

    Raises:
        InputError: naming the keys and what to change.
    """

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    privacy = config.privacy
    if reads_losses(config):
        refuse(
            f"'privacy.unit' is 'example' but 'selection.name' is '{config.selection.name}', for which devices would"
            " have to tell their losses; choose another selection"
        )
    if config.evaluate.client_side:
        refuse(
            f"'privacy.unit' is 'example' but 'evaluate.client_side' is {config.evaluate.client_side}, for which"
            " devices would have to tell their error rates; set evaluate.client_side=0"
        )
    if config.strategy.weighting == "seconds":
        refuse(
            "'privacy.unit' is 'example' but 'strategy.weighting' is 'seconds', for which devices would have to tell"
            " how long their speech is; set strategy.weighting to examples or uniform"
        )
    if config.client.batch_seconds is not None:
        refuse(
            "'privacy.unit' is 'example' and draws utterances, not seconds; set 'client.batch_size' instead of"
            " 'client.batch_seconds'"
        )
    if privacy.clipping == "adaptive":
        refuse("'privacy.clipping' is 'adaptive' but 'privacy.unit' is 'example'; choose flat, per-layer or automatic")


def check_user_level(config: Config, where: str) -> None:
    """Raise where a user's weight in a round is not bounded, or a key would not be read.

    Raises:
        InputError: naming the keys and what to change.
    """

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    privacy = config.privacy
    if privacy.clipping == "automatic":
        refuse("'privacy.clipping' is 'automatic' but 'privacy.unit' is 'user'; choose flat, per-layer or adaptive")
    if privacy.noise_at == "server":
        check_correlated_noise(config, where)
    else:
        place = f"'privacy.noise_at' is '{privacy.noise_at}'"
        if privacy.clipping == "adaptive":
            refuse(f"'privacy.clipping' is 'adaptive' but {place}; choose flat or per-layer")
        if reads_losses(config):
            refuse(
                f"{place} but 'selection.name' is '{config.selection.name}', for which devices"
                " would have to tell their losses; choose another selection"
            )
        if config.evaluate.client_side:
            refuse(
                f"{place} but 'evaluate.client_side' is {config.evaluate.client_side}, for which"
                " devices would have to tell their error rates; set evaluate.client_side=0"
            )
    if config.strategy.weighting != "uniform":
        refuse(
            f"'privacy.unit' is 'user' but 'strategy.weighting' is '{config.strategy.weighting}'; a user's weight"
            " would multiply the noise that is needed; set strategy.weighting=uniform"
        )
    most = config.selection.clients_per_round / 10
    if privacy.clipping == "adaptive" and privacy.noise_multiplier is not None and privacy.noise_multiplier >= most:
        refuse(
            f"'privacy.noise_multiplier' is {privacy.noise_multiplier}, too much for 'privacy.clipping: adaptive' with"
            f" {config.selection.clients_per_round} clients per round; it must be below a tenth of the cohort"
        )


def check_correlated_noise(config: Config, where: str) -> None:
    """Raise where noise over the rounds would not have the sensitivity that is accounted for.

    Raises:
        InputError: naming the keys and what to change.
    """
    privacy, selection = config.privacy, config.selection
    if privacy.noise == "independent":
        return
    traits = known_traits(config)
    if selection.separation < 1 or (traits is not None and traits.separation < 1):
        raise InputError(
            f"'privacy.noise' is '{privacy.noise}', which depends on how far apart a device's participations are; set"
            " selection.name=round-robin and 'selection.separation'",
            where=where,
        )
    if privacy.noise == "banded" and privacy.bands > selection.separation:
        raise InputError(
            f"'privacy.bands' is {privacy.bands}, but 'selection.separation' {selection.separation}; a"
            " device's participations must be at least as many rounds apart as the noise has bands: lower one or"
            " raise the other",
            where=where,
        )
    if privacy.clipping == "adaptive":
        raise InputError(
            f"'privacy.noise' is '{privacy.noise}' but 'privacy.clipping' is 'adaptive': noise in a unit that changes"
            " does not cancel; choose flat or per-layer",
            where=where,
        )


def reads_losses(config: Config) -> bool:
    """Say whether the selection is known to choose by losses; of a user's own that is asked when the run starts."""
    traits = known_traits(config)
    return traits is not None and traits.reads_losses
