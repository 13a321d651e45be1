"""Privacy random variables (Gopi, Lee and Wutschitz, arXiv 2106.02848), by Opacus: a second opinion beside the PLD."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np

from fedasr.errors import InputError
from fedasr.privacy.events import Event, Gaussian, PoissonGaussian
from fedasr.privacy.rdp import rdp_epsilon

ERROR = 0.002
"""How far the returned ε may be above the truth, as a part of it; within these bounds, in nats."""
LEAST_ERROR, MOST_ERROR = 1e-3, 0.1
LARGEST_MESH = 2**22
"""Points of a discretised variable; more would take minutes and gigabytes."""


def has_prv(event: Event) -> bool:
    """Say whether Opacus knows the privacy random variable: Gaussian noise with or without Poisson sampling."""
    return isinstance(event, (PoissonGaussian, Gaussian))


def prv_epsilon(events: Sequence[Event], delta: float) -> float:
    """Return an upper bound of ε at δ, for events with ``has_prv``.

    Raises:
        InputError: the numbers are outside what the method resolves.
    """
    history = []
    for event in events:
        if isinstance(event, PoissonGaussian) and event.steps:
            history.append((event.effective_noise, event.sampling_probability, event.steps))
        elif isinstance(event, Gaussian) and event.steps:
            history.append((event.effective_noise, 1.0, event.steps))
    if not history:
        return 0.0
    rough = rdp_epsilon(events, delta)[0]
    error = float(np.clip(ERROR * rough, LEAST_ERROR, MOST_ERROR))
    # As Opacus will choose them: the range by the ε at a thousandth of δ, the width by the error over the steps.
    widest = 2 * (rdp_epsilon(events, delta / 8000)[0] + 3)
    steps = sum(count for _, _, count in history)
    if not widest / error * math.sqrt(steps * math.log(12_000 / delta) / 2) < LARGEST_MESH:
        raise InputError(f"the accountant prv cannot resolve an ε of about {rough:.3g} over {steps} steps; use pld")
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = history
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            epsilon = float(accountant.get_epsilon(delta, eps_error=error))
    except (RuntimeError, ValueError, MemoryError, OverflowError) as refused:
        raise InputError(f"the accountant prv cannot resolve this ({refused}); use pld or rdp") from None
    if not np.isfinite(epsilon):
        raise InputError("the accountant prv cannot resolve this (ε is not finite); use pld or rdp")
    return max(epsilon, 0.0)
