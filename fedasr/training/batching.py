"""Which utterances share a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from fedasr.config.schema import TrainingConfig

Rows = npt.NDArray[np.integer]


def plan_batches(
    rows: Rows, seconds: npt.NDArray[np.float32], config: TrainingConfig, rng: np.random.Generator
) -> list[Rows]:
    """Return one pass over ``rows`` as batches, in random order.

    Args:
        rows: corpus rows, shape ``(utterances,)``.
        seconds: their audio, shape ``(utterances,)``.
        config: ``batch_size``, or ``batch_seconds`` (an utterance longer than that is a batch of its own), and
            ``group_by_length``.
        rng: of this client, round and epoch.
    """
    order = rng.permutation(len(rows))
    if config.group_by_length:
        # Stable after a shuffle: utterances of equal length still meet different neighbours in every epoch.
        order = order[np.argsort(seconds[order], kind="stable")]
    if config.batch_seconds is None:
        cuts = list(range(config.batch_size, len(rows), config.batch_size))
    else:
        cuts = cuts_by_seconds(seconds[order], config.batch_seconds)
    batches = np.split(rows[order], cuts)
    return [batches[i] for i in rng.permutation(len(batches))] if len(rows) else []


def batches_of_a_round(
    rows: Rows,
    seconds: npt.NDArray[np.float32],
    config: TrainingConfig,
    rng: np.random.Generator,
    before_pass: Callable[[], None] = lambda: None,
) -> Iterator[Rows]:
    """Yield the batches of a round: ``epochs`` passes, or ``steps`` batches; arguments as ``plan_batches``.

    Args:
        before_pass: called before each pass is planned.
    """
    if config.steps is None:
        for _ in range(config.epochs):
            before_pass()
            yield from plan_batches(rows, seconds, config, rng)
        return
    left = config.steps
    while left > 0 and len(rows):
        before_pass()
        for batch in plan_batches(rows, seconds, config, rng)[:left]:
            left -= 1
            yield batch


def cuts_by_seconds(seconds: npt.NDArray[np.float32], limit: float) -> list[int]:
    """Return the positions where a new batch starts, so that none holds more than ``limit`` seconds."""
    cuts: list[int] = []
    held = 0.0
    for position, length in enumerate(seconds.tolist()):
        if held and held + length > limit:
            cuts.append(position)
            held = 0.0
        held += length
    return cuts
