"""Clipping a client's whole update, so that no user moves the sum further than the bound."""

from __future__ import annotations

import math

import numpy as np

from fedasr.models.weights import Layout, Vector

SLACK = 1e-6
"""What a bound is tightened by: rounding in float32, and to the fixed point of the sum, must not lead beyond it."""


class Clip:
    """Scales an update down to an L2 norm, as a whole or tensor by tensor.

    Per tensor (Azam et al. 2023, arXiv 2310.00098, Definition 3) each has a bound of its own, and √ΣC_h² = C, so that
    the sensitivity is C either way. A tensor within its bound is left as it is.

    Args:
        layout: of the model.
        bound: C.
        style: ``flat``; ``per-layer``: C_h = C/√H for each of H tensors; ``per-layer-dim``: C_h = C·√(d_h/Σd) for a
            tensor of d_h scalars.
    """

    def __init__(self, layout: Layout, bound: float, style: str = "flat") -> None:
        self.bound = bound
        sizes = np.array([part.stop - part.start for part in layout.slices], np.float64)
        if style == "flat":
            self.parts: tuple[slice, ...] = (slice(0, layout.size),)
            shares = np.ones(1)
        elif style == "per-layer":
            self.parts, shares = layout.slices, np.full(len(sizes), 1 / len(sizes))
        elif style == "per-layer-dim":
            self.parts, shares = layout.slices, sizes / sizes.sum()
        else:
            raise ValueError(f"unknown style '{style}'")
        self.bounds: tuple[float, ...] = tuple((bound * np.sqrt(shares)).tolist())

    def apply(self, update: Vector) -> None:
        """Scale the update down in place, shape ``(parameters,)``; it must be finite."""
        for part, bound in zip(self.parts, self.bounds, strict=True):
            values = update[part]
            # In float64: the squares of a large update overflow float32, and a norm that is too small clips too little.
            norm = math.sqrt(float(np.einsum("i,i->", values, values, dtype=np.float64)))
            if norm > bound * (1 - SLACK):
                values *= np.float32(bound * (1 - SLACK) / norm)
