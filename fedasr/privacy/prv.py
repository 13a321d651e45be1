"""Privacy random variables (Gopi, Lee and Wutschitz, arXiv 2106.02848), by Opacus: a second opinion beside the PLD."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from fedasr.errors import InputError
from fedasr.privacy.events import Event, Gaussian, PoissonGaussian
from fedasr.privacy.rdp import rdp_epsilon

ERROR = 0.01
"""How far the returned ε may be above the truth, of ε; at most and at least as much as below, in nats."""
LEAST_ERROR, MOST_ERROR = 1e-3, 0.1


def has_prv(event: Event) -> bool:
    """Say whether Opacus knows the privacy random variable: Gaussian noise with or without Poisson sampling."""
    return isinstance(event, (PoissonGaussian, Gaussian))


def prv_epsilon(events: Sequence[Event], delta: float) -> float:
    """Return an upper bound of ε at δ, for events with ``has_prv``.

    Raises:
        InputError: the numbers are outside what the method resolves.
    """
    from opacus.accountants import PRVAccountant

    history = []
    for event in events:
        if isinstance(event, PoissonGaussian) and event.steps:
            history.append((event.effective_noise, event.sampling_probability, event.steps))
        elif isinstance(event, Gaussian) and event.steps:
            history.append((event.effective_noise, 1.0, event.steps))
    if not history:
        return 0.0
    accountant = PRVAccountant()
    accountant.history = history
    rough = rdp_epsilon(events, delta)[0]
    error = float(np.clip(ERROR * rough, LEAST_ERROR, MOST_ERROR))
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = float(accountant.get_epsilon(delta, eps_error=error))
    except (RuntimeError, ValueError, MemoryError, OverflowError) as refused:
        raise InputError(f"the accountant prv cannot resolve this ({refused}); use pld or rdp") from None
    if not np.isfinite(found):
        raise InputError("the accountant prv cannot resolve this (ε is not finite); use pld or rdp")
    return max(found, 0.0)
