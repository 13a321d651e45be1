"""The rows that are stored of an utterance: fixed-size records in one or two tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

FRAMES, HYPOTHESES, NODES = "frames", "hypotheses", "nodes"
"""Tables: a row a frame; a row a token, and one for the end of each hypothesis; a row a node of an RNN-T lattice."""

Layout = Mapping[str, np.dtype[Any]]
"""Table → the type of its rows."""


def token_type(classes: int) -> str:
    """Return the smallest unsigned type that holds a class."""
    return "u1" if classes <= 1 << 8 else "<u2" if classes <= 1 << 16 else "<u4"


def frame_type(classes: int, top_k: int) -> np.dtype[Any]:
    """Return the row of a frame: the likeliest classes, their log-posteriors, and the log of the mass of the rest.

    ``k(b + 2) + 2`` bytes with ``b`` bytes a class. With ``top_k ≥ classes`` there is no rest, and the classes follow
    from their places: ``2·classes`` bytes.
    """
    if top_k >= classes:
        return np.dtype([("logp", "<f2", (classes,))])
    return np.dtype([("ids", token_type(classes), (top_k,)), ("logp", "<f2", (top_k,)), ("rest", "<f2")])


def layout_of(targets: str, classes: int, top_k: int) -> Layout:
    """Return the tables of a kind of targets.

    Args:
        targets: ``frames``, ``lattice``, ``sequence`` or ``labels``.
        classes: tokens of the teacher, the blank included.
        top_k: classes kept a frame; other targets do not read it.
    """
    if targets == "frames":
        return {FRAMES: frame_type(classes, top_k)}
    hypotheses = np.dtype([("token", token_type(classes)), ("logp", "<f4")])
    if targets == "lattice":
        return {HYPOTHESES: hypotheses, NODES: np.dtype([("token", "<f2"), ("blank", "<f2")])}
    return {HYPOTHESES: hypotheses}


def index_type(layout: Layout) -> np.dtype[Any]:
    """Return the record of an utterance in the index: its digest, and where its rows are in each table."""
    places = [(f"{table}_{what}", kind) for table in layout for what, kind in (("first", "<u8"), ("rows", "<u4"))]
    return np.dtype([("utterance", "<u8", (2,)), *places])
