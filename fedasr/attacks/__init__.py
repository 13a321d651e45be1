"""Byzantine clients in simulation: an attack a file, and the registry that ``attack.name`` looks them up in."""

from __future__ import annotations

from fedasr.config.schema import AttackConfig
from fedasr.errors import InputError
from fedasr.models.weights import Layout
from fedasr.registry import make_part

from .base import Attack, Collusion, Updates
from .members import byzantine_clients, described

__all__ = ["ATTACKS", "Attack", "Collusion", "Updates", "byzantine_clients", "described", "make_attack"]

ATTACKS: dict[str, str] = {
    "sign-flip": "fedasr.attacks.sign_flip:SignFlip",
    "scaled": "fedasr.attacks.scaled:Scaled",
    "gaussian": "fedasr.attacks.gaussian:Gaussian",
    "zero": "fedasr.attacks.zero:Zero",
    "alie": "fedasr.attacks.alie:LittleIsEnough",
    "inner-product": "fedasr.attacks.inner_product:InnerProduct",
    "mimic": "fedasr.attacks.mimic:Mimic",
}
"""What makes each ``attack.name``."""


def make_attack(config: AttackConfig, layout: Layout) -> Attack:
    """Return the attack of ``attack.name``.

    A part of one's own is called with what it has parameters for: ``config``, the section; ``parameters``, how many
    there are; ``layout``, where each tensor lies in the vectors; and ``attack.options``.

    Raises:
        InputError: there is no such attack, or the options do not fit.
    """
    known = {"config": config, "parameters": layout.size, "layout": layout}
    reference = ATTACKS.get(config.name, config.name)
    attack: Attack = make_part(reference, "attack.name", known, config.options, "attack.options")
    if not callable(attack):
        raise InputError(f"'attack.name' is '{config.name}', which makes no attack: it cannot be called")
    return attack
