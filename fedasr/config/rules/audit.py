"""What canary users and spoken secrets need."""

from __future__ import annotations

from fedasr.config.schema import Config
from fedasr.errors import InputError


def check_audit(config: Config, where: str) -> None:
    """Raise on canary users and secrets where they could not be simulated, or would show nothing.

    Raises:
        InputError: naming the keys and what to change.
    """
    secrets, synthetic = config.audit.secrets, config.data.synthetic
    if secrets.codes and secrets.across == "users" and secrets.repeats > synthetic.speakers:
        raise InputError(
            f"'audit.secrets.repeats' is {secrets.repeats} and 'audit.secrets.across' is 'users', but there are"
            f" {synthetic.speakers} speakers ('data.synthetic.speakers'); lower the one or raise the other",
            where=where,
        )
    if secrets.codes and synthetic.grammar == "words" and synthetic.language != "en":
        raise InputError(
            f"'audit.secrets.codes' is {secrets.codes} but 'data.synthetic.language' is '{synthetic.language}'; codes"
            " are said in English: set it to en, or leave 'audit.secrets' out",
            where=where,
        )
    if not config.audit.canaries:
        return

    def refuse(message: str) -> None:
        raise InputError(f"'audit.canaries' is {config.audit.canaries} but {message}", where=where)

    if config.privacy.unit == "example":
        refuse(
            "'privacy.unit' is 'example', where a canary would have to be an utterance on a device: leave 'audit' out"
            " and use 'fedasr audit mechanism', whose canaries are gradients"
        )
    if config.privacy.unit == "teacher":
        refuse(
            "'privacy.unit' is 'teacher', whose clients send votes: leave 'audit' out and use 'fedasr audit mechanism'"
        )
    if config.runtime.name == "deployment":
        refuse("'runtime.name' is 'deployment'; canary users are simulated, and devices are not: leave 'audit' out")
    if config.secure_aggregation.mode != "none":
        refuse(
            f"'secure_aggregation.mode' is '{config.secure_aggregation.mode}', where updates are summed before the"
            " server sees them, and a canary user sends none: set it to none"
        )
    if config.devices.trace is not None:
        refuse("'devices.trace' says of no canary user when it is there: leave one of them out")
