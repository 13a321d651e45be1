"""Quantity skew: clients hold random utterances, but some hold far more than others. No utterance is left out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedasr.data.partition.base import Partition
from fedasr.data.partition.dirichlet import dirichlet_draws
from fedasr.data.partition.request import Request
from fedasr.errors import InputError

Weights = npt.NDArray[np.float64]


def quantity_dirichlet(request: Request) -> Partition:
    """Return clients whose sizes are in proportion to a draw from Dir(alpha·1), FedNLP's quantity skew."""
    clients, rng = request.client_count(), request.generator()
    return dealt(request, dirichlet_draws(np.full((1, clients), request.config.alpha), rng)[0], rng)


def quantity_lognormal(request: Request) -> Partition:
    """Return clients whose sizes are log-normal with the config's ``sigma``."""
    clients, rng = request.client_count(), request.generator()
    logs = request.config.sigma * rng.standard_normal(clients)
    return dealt(request, np.exp(logs - logs.max()), rng)


def quantity_power(request: Request) -> Partition:
    """Return clients of which the k-th largest has a size in proportion to ``k ** -exponent`` (Zipf's law).

    The order of the clients says nothing about their size.
    """
    clients, rng = request.client_count(), request.generator()
    ranks = 1.0 + rng.permutation(clients)
    return dealt(request, np.exp(-request.config.exponent * np.log(ranks)), rng)


def dealt(request: Request, weights: Weights, rng: np.random.Generator) -> Partition:
    """Deal the shuffled rows to clients of sizes in proportion to ``weights``, each at least ``min_utterances``."""
    least = request.config.min_utterances
    if len(weights) * least > len(request.rows):
        raise InputError(
            f"'data.partition.min_utterances' is {least}, but {len(weights)} clients share {len(request.rows)} training"
            " utterances; lower it or ask for fewer clients"
        )
    sizes = apportion(weights, len(request.rows), least)
    return request.derived(np.repeat(np.arange(len(sizes)), sizes), rng.permutation(request.rows), len(sizes))


def apportion(weights: Weights, total: int, least: int) -> npt.NDArray[np.int64]:
    """Return whole sizes that sum to ``total``, in proportion to ``weights`` but at least ``least`` each.

    Those that would get less than ``least`` get exactly that, and the others share the rest in proportion; what
    rounding leaves goes to the largest remainders.

    Args:
        weights: not negative, one of them positive, shape ``(clients,)``.
        total: at least ``clients · least``.
        least: smallest size.
    """
    raised = np.zeros(len(weights), bool)
    while True:
        rest = total - least * int(raised.sum())
        free = np.where(raised, 0.0, weights)
        share = np.where(raised, float(least), free / free.sum() * rest)
        low = ~raised & (share < least - 1e-9)
        if not low.any():
            break
        raised |= low
    sizes: npt.NDArray[np.int64] = np.floor(share + 1e-9).astype(np.int64)
    remainder = np.where(raised, -1.0, share - sizes)
    sizes[np.argsort(-remainder, kind="stable")[: total - int(sizes.sum())]] += 1
    return sizes
