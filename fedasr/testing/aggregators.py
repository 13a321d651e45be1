"""The laws of an aggregator."""

from __future__ import annotations

import inspect
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.models.weights import Vector
from fedasr.testing.law import close, law, same, shown

CLIENTS = 7
STREAMED, STREAM_PARAMETERS = 60, 20_000
"""Updates and parameters with which memory is measured."""


def check_aggregator(
    make: Callable[[], Any] | Callable[[int], Any],
    *,
    parameters: int = 6,
    averages: bool = True,
    weighted: bool = True,
    streams: bool = False,
    tolerance: float = 1e-5,
    seed: int = 0,
) -> None:
    """Check the laws of an aggregator (``accumulate(update, weight)`` and ``result()``).

    - The result is finite and of shape ``(parameters,)``, and updates are only read.
    - The order of the updates does not matter, nor does anything of an earlier round.
    - With ``averages``: equal updates give that update, one client gives its own.
    - With ``weighted``: weights count by their ratios, so that a common factor changes nothing.
    - With ``streams``: memory does not grow with the number of updates.

    Args:
        make: returns a new aggregator; it is called with the number of parameters where it takes one.
        parameters: of the examples.
        averages: whether it is an average of some kind, that is, between the updates.
        weighted: whether weights are ratios; true of whatever ignores them too.
        streams: whether it keeps a constant number of vectors.
        tolerance: of the comparisons, as a share of the largest value; 0: bit for bit.
        seed: of the examples.

    Raises:
        AssertionError: naming the law and the example.
    """
    rng = np.random.default_rng(seed)
    updates = rng.normal(size=(CLIENTS, parameters)).astype(np.float32)
    weights = rng.integers(1, 9, CLIENTS).tolist()
    example = f"{CLIENTS} updates of {parameters} parameters, weights {weights}"
    whole = result_of(make, updates, weights)
    law(whole.shape == (parameters,), "the result has shape (parameters,)", f"{example}: {whole.shape}")
    law(bool(np.isfinite(whole).all()), "the result of finite updates is finite", f"{example}: {shown(whole)}")
    result_of(make, -2 * updates, weights)
    law(
        close(result_of(make, updates, weights), whole, tolerance),
        "a round does not depend on earlier rounds",
        f"{example}: after a round of others they give something else",
    )
    for _ in range(3):
        order = rng.permutation(CLIENTS)
        other = result_of(make, updates[order], [weights[place] for place in order])
        law(
            close(other, whole, tolerance),
            "the order of the updates does not matter",
            f"{example}, in order {order.tolist()}: {shown(other)} and {shown(whole)}",
        )
    if weighted:
        scaled = result_of(make, updates, [3 * weight for weight in weights])
        law(
            close(scaled, whole, max(tolerance, 1e-6)),
            "a common factor of the weights does not matter",
            f"{example}, times 3: {shown(scaled)} and {shown(whole)}",
        )
    if averages:
        for count in (1, 2, CLIENTS):
            equal = result_of(make, np.repeat(updates[:1], count, axis=0), weights[:count])
            law(
                close(equal, updates[0], max(tolerance, 1e-6)),
                "equal updates give that update",
                f"{count} times {shown(updates[0])}: {shown(equal)}",
            )
    if streams:
        check_memory(make, tolerance)


def new(make: Callable[..., Any], parameters: int) -> Any:
    """Return a new aggregator."""
    takes = inspect.signature(make).parameters
    return make(parameters) if any(p.default is inspect.Parameter.empty for p in takes.values()) else make()


def result_of(make: Callable[..., Any], updates: npt.NDArray[np.float32], weights: Sequence[int]) -> Vector:
    """Return what an aggregator makes of updates, shape ``(clients, parameters)``."""
    aggregator = new(make, updates.shape[1])
    for update, weight in zip(updates, weights, strict=True):
        given = update.copy()
        aggregator.accumulate(given, weight)
        law(same(given, update), "an aggregator only reads updates", f"{shown(update)} became {shown(given)}")
    return np.asarray(aggregator.result())


def check_memory(make: Callable[..., Any], tolerance: float) -> None:
    """Check that memory does not grow with the number of updates."""
    aggregator = new(make, STREAM_PARAMETERS)
    rng = np.random.default_rng(0)
    aggregator.accumulate(rng.normal(size=STREAM_PARAMETERS).astype(np.float32), 1)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(STREAMED):
            aggregator.accumulate(rng.normal(size=STREAM_PARAMETERS).astype(np.float32), 1)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    update = 4 * STREAM_PARAMETERS
    law(
        grown < STREAMED / 4 * update,
        "memory does not grow with the number of updates",
        f"{STREAMED} updates of {update} bytes left {grown} bytes behind",
    )
