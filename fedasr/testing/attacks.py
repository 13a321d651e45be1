"""The laws of an attack of Byzantine clients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fedasr.attacks import Attack, Collusion, Updates
from fedasr.models.weights import Vector
from fedasr.testing.law import law, same, shown


def check_attack(make: Callable[[], Attack], *, parameters: int = 12, seed: int = 0) -> None:
    """Check the laws of an attack.

    - It returns floats of shape ``(parameters,)``, with one colluder and with several.
    - The same update, weights, collusion and generators give the same values: nothing else is drawn or remembered.
    - What colluders share is only read.

    Args:
        make: returns a new attack.
        parameters: of the examples.
        seed: of the examples.

    Raises:
        AssertionError: naming the law and the example.
    """
    for colluders in (1, 4):
        example = f"{parameters} parameters, {colluders} colluders, seed {seed}"
        first, second = (sent_by(make(), parameters, colluders, seed) for _ in range(2))
        law(first.shape == (parameters,), "an attack returns shape (parameters,)", f"{example}: {first.shape}")
        law(first.dtype.kind == "f", "an attack returns floats", f"{example}: {first.dtype}")
        law(
            same(first, second),
            "the same inputs and generators give the same update",
            f"{example}: {shown(first)} and {shown(second)}",
        )


def sent_by(attack: Attack, parameters: int, colluders: int, seed: int) -> Vector:
    """Return what an attack sends in an example."""
    rng = np.random.default_rng(seed)
    shared: Updates = rng.normal(size=(colluders, parameters)).astype(np.float32)
    before = shared.copy()
    collusion = Collusion(20, 4, lambda: shared, lambda: np.random.default_rng(seed + 1))
    update, weights = rng.normal(size=(2, parameters)).astype(np.float32)
    sent = np.asarray(attack(update, weights, collusion, np.random.default_rng(seed + 2)))
    law(same(before, shared), "an attack only reads collusion.updates", f"{colluders} colluders, seed {seed}")
    return sent
