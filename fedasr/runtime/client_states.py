"""The clients' states, to and from a checkpoint, through Flower's own serialisation."""

from __future__ import annotations

from collections.abc import Mapping

from flwr.serverapp import Grid

from fedasr.flower.records import from_bytes, to_bytes
from fedasr.runtime.grid import LocalGrid


def dump(grid: Grid) -> dict[int, bytes]:
    """Return the serialised state of each client that keeps one; other grids keep their clients' states themselves."""
    if not isinstance(grid, LocalGrid):
        return {}
    return {node: to_bytes(state) for node, state in grid.states.items()}


def kept(grid: Grid) -> bool:
    """Say whether clients of a resumed run have the states that they had; other grids' may have lost them."""
    return isinstance(grid, LocalGrid)


def load(grid: Grid, states: Mapping[int, bytes]) -> None:
    """Give a grid its clients' states back."""
    if isinstance(grid, LocalGrid):
        grid.load_states({node: from_bytes(state) for node, state in states.items()})
