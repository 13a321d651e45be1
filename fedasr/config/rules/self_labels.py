"""What devices without transcripts cannot do."""

from __future__ import annotations

import math

from fedasr.config.rules.selection import known_traits
from fedasr.config.schema import Config
from fedasr.config.schema.self_labels import GUARDS
from fedasr.errors import InputError, nearest


def check_self_labels(config: Config, where: str) -> None:
    """Raise on labels that cannot be made, and on what would need transcripts that nobody reads.

    Raises:
        InputError: naming the keys and what to change.
    """

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    labels, settings = config.client.labels, config.self_labels
    check_choice(config, where)
    if settings.server_steps and settings.public_split in (config.data.train_split, config.data.test_split):
        refuse(
            f"'self_labels.public_split' is '{settings.public_split}', which is the devices' speech or what the run is"
            " evaluated on; choose another split, or set some speakers aside with 'data.public_share'"
        )
    if labels == "truth":
        return
    fact = f"'client.labels' is '{labels}'"
    if settings.feedback_right + settings.feedback_wrong > 1:
        refuse("'self_labels.feedback_right' and 'self_labels.feedback_wrong' add up to more than 1; lower one")
    traits = known_traits(config)
    if traits is not None and traits.reads_losses:
        refuse(
            f"{fact} but 'selection.name' is '{config.selection.name}', which chooses by losses, and those of a"
            " device's own labels are small where it is wrong and sure of it; choose another selection"
        )
    if config.runtime.name == "deployment":
        if labels == "feedback":
            refuse(f"{fact}, which simulates users, but 'runtime.name' is 'deployment', where they are real; set self")
        if config.client.labelled_share:
            refuse(
                f"'client.labelled_share' is {config.client.labelled_share:g} but 'runtime.name' is 'deployment', where"
                " only a device knows whether it has transcripts: leave it out"
            )
        if config.evaluate.client_side:
            refuse(
                f"{fact} but 'evaluate.client_side' is {config.evaluate.client_side}, for which devices need"
                " transcripts; set evaluate.client_side=0"
            )
    if config.evaluate.decoder == "vocabulary" and not config.evaluate.vocabulary and labels != "feedback":
        refuse(
            f"{fact} but 'evaluate.vocabulary' is empty, and the phrases of decoder 'vocabulary' would be transcripts"
            " that nobody reads; list the phrases"
        )
    check_private_labels(config, where)


def check_choice(config: Config, where: str) -> None:
    """Raise on a choice among hypotheses that cannot be made.

    Raises:
        InputError: naming the key.
    """
    settings = config.self_labels
    bounds = settings.threshold
    if len(bounds) != 2 or not all(math.isfinite(bound) and bound >= 0 for bound in bounds):
        raise InputError(
            f"'self_labels.threshold' is {bounds}; expected two numbers of at least 0, for the first and for the last"
            " round",
            where=where,
        )
    for name in settings.guard:
        if name not in GUARDS:
            raise InputError(
                f"'self_labels.guard' has '{name}'{nearest(name, GUARDS)}; expected some of: {', '.join(GUARDS)}",
                where=where,
            )


def check_private_labels(config: Config, where: str) -> None:
    """Raise where the labels of a private run would not be covered by its ε.

    Raises:
        InputError: naming the keys and what to change.
    """
    labels, settings, unit = config.client.labels, config.self_labels, config.privacy.unit
    if unit not in ("example", "user"):
        return
    if labels == "none":
        raise InputError(
            f"'client.labels' is 'none' but 'privacy.unit' is '{unit}', whose ε counts on every device training; leave"
            " one of them out",
            where=where,
        )
    if unit != "example":
        return
    across = "then what is learnt of one utterance depends on the others, which 'privacy.unit: example' does not allow"
    if settings.keep_share < 1:
        raise InputError(
            f"'self_labels.keep_share' is {settings.keep_share:g}: {across}; set it to 1 and choose by"
            " 'self_labels.threshold'",
            where=where,
        )
    if "same" in settings.guard:
        raise InputError(
            f"'self_labels.guard' has 'same': {across}; set 'self_labels.guard' to [empty, repeated]", where=where
        )
    if labels == "feedback" and settings.feedback_wrong:
        raise InputError(
            f"'self_labels.feedback_wrong' is {settings.feedback_wrong:g}: {across}; set it to 0", where=where
        )
