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
            f"'privacy.unit' is '{unit}'; pooled speech has no updates and no votes that noise could be added to: leave"
            " section 'privacy' out, or choose a federated strategy"
        )
    if unit == "example":
        refuse(
            "'privacy.unit' is 'example', which is accounted for on each device alone: leave section 'privacy' out, or"
            " choose a federated strategy"
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
