"""What an attack needs, and where there can be none."""

from __future__ import annotations

from fedasr.config.schema import Config
from fedasr.errors import InputError


def check_attack(config: Config, where: str) -> None:
    """Raise on Byzantine clients that nothing says who they are, or that cannot be simulated.

    Raises:
        InputError: naming the keys and what to change.
    """
    attack = config.attack

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    if attack.name == "none":
        return
    if config.runtime.name == "deployment":
        refuse(
            f"'attack.name' is '{attack.name}' but 'runtime.name' is 'deployment'; Byzantine clients are simulated"
            " only: leave 'attack' out"
        )
    if config.strategy.name == "pate":
        refuse(
            f"'attack.name' is '{attack.name}' but 'strategy.name' is 'pate', whose clients send no updates: leave"
            " 'attack' out"
        )
    if attack.share and attack.clients:
        refuse("'attack.share' and 'attack.clients' are both set; set only one of them")
    if not attack.share and not attack.clients:
        refuse(
            f"'attack.name' is '{attack.name}' but no client is Byzantine; set attack.share, for example to 0.2, or"
            " attack.clients"
        )
