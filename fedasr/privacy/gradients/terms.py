"""What one parameter's per-sample gradients are made of: norms and weighted sums without, or with, writing them out.

Book-keeping (Bu et al. 2023, arXiv 2210.00038): the backward pass leaves activations and output gradients; each
parameter's norms come from them the cheaper way, and one more product gives the clipped sum.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

GHOST_BELOW = 12.0
"""A ghost norm pays where frames² × (rows + columns) is below so many times rows × columns, as measured on CPUs, where
writing gradients out costs more than the published rule (2 frames² < rows × columns, Bu et al.) says at few frames, and
the second product that a ghost norm needs costs more than it says at many."""


CANCELS = 2.0**-8
"""Rounding errors of a squared norm beyond this share of it are not left to float32."""


class Term(ABC):
    """The per-sample gradients of one parameter."""

    @abstractmethod
    def measured(self, room: torch.Tensor | None) -> tuple[torch.Tensor, Term]:
        """Return the squared norm of each sample's gradient, ``(batch,)``, and what to keep for ``add``.

        Args:
            room: where the gradients may be written and stay, ``(batch, entries)``; None: they may not stay.
        """

    @abstractmethod
    def add(self, factors: torch.Tensor, out: torch.Tensor) -> None:
        """Add the sum of the samples' gradients, each times its factor, to ``out``.

        Args:
            factors: ``(batch,)``.
            out: the parameter's place in the flat gradient, ``(entries,)``.
        """

    @abstractmethod
    def at_most(self, squares: torch.Tensor) -> torch.Tensor:
        """Return a bound on the squared norms of what ``add`` adds, ``(batch,)``, from those that were measured.

        Where frames cancel, their rounding errors do not: a gradient may be small and what is made of its parts large.
        """

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def samples(self) -> torch.Tensor:
        """Return the gradients themselves, ``(batch, entries)``."""

    @abstractmethod
    def only(self, rows: torch.Tensor) -> Term:
        """Return the gradients of some samples; ``rows`` is bool ``(batch,)``."""


class Direct(Term):
    """Gradients written out.

    Args:
        values: ``(batch, entries)``.
    """

    def __init__(self, values: torch.Tensor) -> None:
        self.values = values

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.values)

    def measured(self, room: torch.Tensor | None) -> tuple[torch.Tensor, Term]:
        """Return the squared norms, ``(batch,)``, and itself."""
        return torch.linalg.vector_norm(self.values, dim=1).square_(), self

    def at_most(self, squares: torch.Tensor) -> torch.Tensor:
        """Return the squares: what was measured is what is added."""
        return squares

    def add(self, factors: torch.Tensor, out: torch.Tensor) -> None:
        """Add the weighted sum to ``out``."""
        out.addmv_(self.values.t(), factors)

    def samples(self) -> torch.Tensor:
        """Return the gradients, ``(batch, entries)``."""
        return self.values

    def only(self, rows: torch.Tensor) -> Term:
        """Return the gradients of some samples."""
        return Direct(self.values[rows])


class Product(Term):
    """A matrix that multiplies every frame: its gradient is a sum over the frames of outer products.

    Args:
        outputs: gradients of the outputs, ``(batch, frames, rows)``, or ``(batch, groups, frames, rows)`` where each
            group of channels has a matrix of its own.
        inputs: ``(batch, frames, columns)``, or with groups as above.
    """

    def __init__(self, outputs: torch.Tensor, inputs: torch.Tensor) -> None:
        self.outputs = outputs
        self.inputs = inputs
        self.size: torch.Tensor | None = None
        """sum of the frames' norms, ``(batch,)``"""
        self.doubt: torch.Tensor | float = 0.0
        """rounding error of the squared norms at most, ``(batch,)``"""

    def ghost_is_cheaper(self) -> bool:
        """Say whether the norm comes cheaper from the two Gram matrices over the frames than from the gradient.

        The ghost norm needs a product more, for the sum; the gradient, once written out, is the sum's only operand.
        """
        frames, rows, columns = self.outputs.shape[-2], self.outputs.shape[-1], self.inputs.shape[-1]
        return frames * frames * (rows + columns) < GHOST_BELOW * rows * columns

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.outputs)

    def measured(self, room: torch.Tensor | None) -> tuple[torch.Tensor, Term]:
        """Return the squared norms, ``(batch,)``, and the gradients, or what makes them where that is less."""
        if self.ghost_is_cheaper():
            return self.ghost().to(self.outputs.dtype), self
        rows, columns = self.outputs.shape[-1], self.inputs.shape[-1]
        outputs, inputs = self.outputs.flatten(0, -3), self.inputs.flatten(0, -3)  # groups, if any, beside the samples
        shape = (len(outputs), rows, columns)
        written = outputs.new_empty(shape) if room is None else room.view(shape)
        torch.bmm(outputs.mT, inputs, out=written)
        # By rows first: one float32 sum over a million squares would lose three digits.
        squares = torch.linalg.vector_norm(written, dim=2).view(len(self), -1).square_().sum(1)
        return squares, self if room is None else Direct(room)

    def ghost(self) -> torch.Tensor:
        """Return the squared norms from the Gram matrices, ``(batch,)``.

        Where frames cancel, float32 leaves nothing of the norm: those samples' are computed again in float64.
        """
        squares, self.size, self.doubt = of_grams(self.outputs, self.inputs)
        cancel = self.doubt > CANCELS * squares
        if bool(cancel.any()):
            again, _, doubt = of_grams(self.outputs[cancel].double(), self.inputs[cancel].double())
            squares[cancel], self.doubt[cancel] = again, doubt
        return squares

    def at_most(self, squares: torch.Tensor) -> torch.Tensor:
        """Return the bound, from the norms of the frames whatever their signs."""
        if self.size is None:
            sizes = torch.linalg.vector_norm(self.outputs, dim=-1) * torch.linalg.vector_norm(self.inputs, dim=-1)
            self.size = sizes.flatten(1).sum(1)
        return with_errors(squares, self.doubt, self.size, self.outputs.shape[-2])

    def add(self, factors: torch.Tensor, out: torch.Tensor) -> None:
        """Add the weighted sum to ``out``."""
        weighted = self.outputs * factors.view(-1, *[1] * (self.outputs.dim() - 1))
        if self.outputs.dim() == 3:
            rows, columns = self.outputs.shape[-1], self.inputs.shape[-1]
            out.view(rows, columns).addmm_(weighted.flatten(0, 1).t(), self.inputs.flatten(0, 1))
        else:
            out.add_(torch.einsum("bgtp,bgtd->gpd", weighted, self.inputs).flatten())

    def samples(self) -> torch.Tensor:
        """Return the gradients, ``(batch, entries)``."""
        return (self.outputs.mT @ self.inputs).flatten(1)

    def only(self, rows: torch.Tensor) -> Term:
        """Return the gradients of some samples."""
        return Product(self.outputs[rows], self.inputs[rows])


class Lookup(Term):
    """A table whose rows are looked up.

    Args:
        outputs: gradients of the rows that were read, ``(batch, tokens, width)``.
        indices: which ones, int64 ``(batch, tokens)``.
        entries: rows of the table.
    """

    def __init__(self, outputs: torch.Tensor, indices: torch.Tensor, entries: int) -> None:
        self.outputs = outputs
        self.indices = indices
        self.entries = entries

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.outputs)

    def measured(self, room: torch.Tensor | None) -> tuple[torch.Tensor, Term]:
        """Return the squared norms, ``(batch,)``, and the table's gradients, or what makes them where that is less."""
        if room is not None and self.indices.shape[1] ** 2 > self.entries:
            return Direct(self.samples()).measured(room)
        same = self.indices.unsqueeze(1) == self.indices.unsqueeze(2)
        outputs = self.outputs.double()  # tokens may cancel
        return ((outputs @ outputs.mT) * same).sum((1, 2)).clamp_(min=0).to(self.outputs.dtype), self

    def at_most(self, squares: torch.Tensor) -> torch.Tensor:
        """Return the bound, from the norms of the tokens whatever their signs."""
        _, tokens, width = self.outputs.shape
        size = torch.linalg.vector_norm(self.outputs, dim=-1).sum(1)
        return with_errors(squares, (tokens * tokens + width) * 2.0**-53 * size.square(), size, tokens)

    def add(self, factors: torch.Tensor, out: torch.Tensor) -> None:
        """Add the weighted sum to ``out``."""
        weighted = self.outputs * factors.view(-1, 1, 1)
        out.view(self.entries, -1).index_add_(0, self.indices.flatten(), weighted.flatten(0, 1))

    def samples(self) -> torch.Tensor:
        """Return the gradients, ``(batch, entries)``."""
        batch, _, width = self.outputs.shape
        table = self.outputs.new_zeros(batch * self.entries, width)
        first = torch.arange(batch, device=table.device).unsqueeze(1) * self.entries
        table.index_add_(0, (self.indices + first).flatten(), self.outputs.flatten(0, 1))
        return table.view(batch, -1)

    def only(self, rows: torch.Tensor) -> Term:
        """Return the gradients of some samples."""
        return Lookup(self.outputs[rows], self.indices[rows], self.entries)


def of_grams(outputs: torch.Tensor, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return squared norms, float64, the sums of the frames' norms, and the squares' rounding errors at most.

    All are ``(batch,)``; an entry of a Gram matrix is off by its length times half the precision at most, the sum over
    all of them is in float64 (Higham 2002, §3.1).
    """
    grams = outputs @ outputs.mT, inputs @ inputs.mT
    squares = torch.linalg.vecdot(grams[0].flatten(1).double(), grams[1].flatten(1).double()).clamp_(min=0)
    size = (grams[0].diagonal(dim1=-2, dim2=-1) * grams[1].diagonal(dim1=-2, dim2=-1)).sqrt().flatten(1).sum(1)
    error = (outputs.shape[-1] + inputs.shape[-1] + 4) * 0.5 * torch.finfo(outputs.dtype).eps
    error += (grams[0].shape[-1] ** 2 + 4) * 2.0**-53
    return squares, size, error * size.double().square()


def with_errors(squares: torch.Tensor, doubt: torch.Tensor | float, size: torch.Tensor, summands: int) -> torch.Tensor:
    """Return squared norms with the largest rounding errors, ``(batch,)``.

    Args:
        squares: as measured.
        doubt: their rounding error at most.
        size: sum of the norms of the summands of the gradient.
        summands: how many, added up in the precision of ``size``.
    """
    norms = (squares + doubt).sqrt() + (summands + 2) * 0.5 * torch.finfo(squares.dtype).eps * size
    return norms.square().to(squares.dtype)


def merged(terms: list[Term]) -> Term:
    """Return the sum of what several uses of the same parameter give each sample.

    Gradients add before their norm is taken: the norm of a sum is not the sum of the norms.
    """
    if len(terms) == 1:
        return terms[0]
    products = [term for term in terms if isinstance(term, Product)]
    if len(products) == len(terms):
        return Product(
            torch.cat([term.outputs for term in products], dim=-2), torch.cat([term.inputs for term in products], -2)
        )
    return Direct(torch.stack([term.samples() for term in terms]).sum(0))
