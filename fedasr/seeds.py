"""Every random draw is a pure function of (seed, purpose, round, client).

There are no global generators: the same config gives the same bits with one worker or eight, when replies arrive in
another order, and after kill and resume.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def entropy(seed: int, purpose: str, round: int = 0, client: int = 0) -> list[int]:
    """Return the four words that identify a draw."""
    return [seed & 0xFFFFFFFFFFFFFFFF, zlib.crc32(purpose.encode()), round & 0xFFFFFFFF, client & 0xFFFFFFFFFFFFFFFF]


def generator(seed: int, purpose: str, round: int = 0, client: int = 0) -> np.random.Generator:
    """Return a NumPy generator for one purpose in one round on one client."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy(seed, purpose, round, client))))


def torch_seed(seed: int, purpose: str, round: int = 0, client: int = 0) -> int:
    """Return a 63-bit seed for a torch generator."""
    words = np.random.SeedSequence(entropy(seed, purpose, round, client)).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


@contextmanager
def torch_scope(seed: int, purpose: str, round: int = 0, client: int = 0) -> Iterator[torch.Generator]:
    """Seed torch's default generator inside the block and put its state back afterwards.

    Layers such as dropout read the default generator and take no other, which is why it is borrowed here.
    """
    import torch

    default = torch.default_generator
    before = default.get_state()
    default.manual_seed(torch_seed(seed, purpose, round, client))
    cuda = bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
    cuda_before = torch.cuda.get_rng_state_all() if cuda else []
    if cuda:
        torch.cuda.manual_seed_all(torch_seed(seed, purpose, round, client))
    try:
        yield default
    finally:
        default.set_state(before)
        if cuda:
            torch.cuda.set_rng_state_all(cuda_before)
