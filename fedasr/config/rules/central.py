"""What central training cannot have."""

from __future__ import annotations

from fedasr.config.schema import Config
from fedasr.errors import InputError


def check_central(config: Config, where: str) -> None:
    """Raise on central training that cannot be, or that would not be what the other keys say of it.

    Raises:
        InputError: naming the keys and what to change.
    """
    if config.strategy.name != "central":
        return

    def refuse(message: str) -> None:
        raise InputError(f"'strategy.name' is 'central' but {message}", where=where)

    unit = config.privacy.unit
    if unit in ("user", "teacher"):
        refuse(
            f"'privacy.unit' is '{unit}'; pooled speech has no updates and no votes that noise could be added to: set"
            " privacy.unit=example, or choose a federated strategy"
        )
    if unit == "example" and config.stream.arrival != "static":
        refuse(
            f"'privacy.unit' is 'example' and 'stream.arrival' is '{config.stream.arrival}': the accountant counts"
            " on the same utterances in every step; set stream.arrival=static"
        )
    if unit == "example" and (config.distillation.teacher is not None or config.interleave.labelled_share < 1):
        refuse(
            "'privacy.unit' is 'example' and speech is labelled by a teacher, which no accountant here covers: leave"
            " 'distillation.teacher' and 'interleave.labelled_share' out"
        )
    if unit == "example" and config.privacy.participations is not None:
        refuse(
            f"'privacy.participations' is {config.privacy.participations}, which is of devices, and no device takes"
            " part: leave it out; noise is found for all steps of the run"
        )
    if config.runtime.name == "deployment":
        refuse(
            "'runtime.name' is 'deployment', where devices keep their speech; set runtime.name=local, or choose a"
            " federated strategy"
        )
    if config.client.proximal:
        refuse(
            f"'client.proximal' is {config.client.proximal:g}, and there is no global model to stay near to; set it"
            " to 0"
        )
