"""Per-sample gradient norms and clipped sums of a whole model from one forward and one backward pass.

Book-keeping (Bu et al., "Differentially private optimization on large model at small cost", ICML 2023,
arXiv 2210.00038), here with recurrent layers too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from fedasr.errors import InputError
from fedasr.models.convolutions import DepthwiseConv1d, FrameConv1d
from fedasr.models.norms import FrameGroupNorm
from fedasr.models.weights import Layout
from fedasr.privacy.gradients import layers
from fedasr.privacy.gradients.layers import Forward, Terms
from fedasr.privacy.gradients.recurrence import choose
from fedasr.privacy.gradients.recurrent import lstm, lstm_cell
from fedasr.privacy.gradients.terms import Term, merged

FORWARDS: dict[type[nn.Module], Forward] = {
    nn.Linear: layers.linear,
    FrameConv1d: layers.frame_convolution,
    DepthwiseConv1d: layers.depthwise_convolution,
    nn.Conv1d: layers.convolution,
    nn.LayerNorm: layers.layer_norm,
    FrameGroupNorm: layers.frame_group_norm,
    nn.GroupNorm: layers.group_norm,
    nn.Embedding: layers.embedding,
    nn.LSTMCell: lstm_cell,
}


@dataclass(frozen=True)
class Layer:
    """A module with parameters of its own, how it runs, and which of the model's parameters they are."""

    name: str
    module: nn.Module
    forward: Forward
    indices: dict[str, int]


LARGEST_WORKSPACE = 1 << 26
"""Scalars of per-sample gradients that are written out together: 256 MiB of float32. Beyond it each layer's are made
twice, for the norm and for the sum; a smaller physical batch avoids that."""


class SampleGradients:
    """What a batch's samples would each have given, held as compactly as it comes, until the next batch.

    Attributes:
        losses: of each sample, ``(batch,)``.
        square_norms: of each sample's gradient, by parameter in the order of ``model.parameters()``,
            ``(batch, parameters)``; where a norm comes from products that may cancel, a bound on what float32 makes of
            it.
    """

    def __init__(
        self, losses: torch.Tensor, square_norms: torch.Tensor, terms: list[Term | None], layout: Layout
    ) -> None:
        self.losses = losses
        self.square_norms = square_norms
        self._terms = terms
        self._layout = layout

    def norms(self) -> torch.Tensor:
        """Return the norm of each sample's whole gradient, ``(batch,)``."""
        return self.square_norms.sum(1).sqrt()

    def add_weighted_sum(self, factors: torch.Tensor, out: torch.Tensor) -> None:
        """Add the sum of the samples' gradients, each times its factor, to ``out``.

        A sample whose gradient is not finite adds nothing: zero times infinity would spoil the sum.

        Args:
            factors: ``(batch,)``, or ``(batch, parameters)`` where each parameter has its own.
            out: the flat gradient, ``(scalars,)``.
        """
        finite = torch.isfinite(self.square_norms).all(1)
        some = not bool(finite.all())
        for index, (term, part) in enumerate(zip(self._terms, self._layout.slices, strict=True)):
            if term is None:
                continue
            own = factors if factors.dim() == 1 else factors[:, index]
            if some:
                term.only(finite).add(own[finite], out[part])
            else:
                term.add(own, out[part])

    def samples(self) -> torch.Tensor:
        """Return the gradients themselves, ``(batch, scalars)``: for tests and audits, the memory is the batch's."""
        out = self.losses.new_zeros(len(self.losses), self._layout.size)
        for term, part in zip(self._terms, self._layout.slices, strict=True):
            if term is not None:
                out[:, part] = term.samples()
        return out


class BookKeeper:
    """Keeps the books of a model's layers.

    Args:
        model: layers whose first dimension is the batch (``nn.LSTM`` as its ``batch_first`` says), and whose samples
            do not meet: no BatchNorm.
        recurrence: of LSTM layers: ``auto``, ``compiled`` or ``torch`` (``recurrence.choose``).

    Raises:
        InputError: a layer that is not supported, a parameter that two layers share, or one that is frozen.
    """

    def __init__(self, model: nn.Module, recurrence: str = "auto") -> None:
        self.model = model
        self.layout = Layout.of(dict(model.named_parameters()))
        self.compiled = choose(recurrence)
        forwards = {**FORWARDS, nn.LSTM: lstm(self.compiled)}
        self.layers = list(plan(model, forwards))
        self._parameters = list(model.parameters())
        self._workspace: torch.Tensor | None = None

    def gradients(self, losses: Callable[[], torch.Tensor]) -> SampleGradients:
        """Run a batch forward and backward.

        Args:
            losses: runs the model and returns the loss of each sample, ``(batch,)``; a sample's loss depends on that
                sample alone.

        Raises:
            InputError: a layer did not run, or did not have the batch in its first dimension.
        """
        books = Books(self.layout, self._room)
        with self._kept(books):
            values = losses()
            self._check(books, len(values))
            if values.requires_grad:
                values.sum().backward()  # type: ignore[no-untyped-call]
        norms, terms = books.closed(values.detach())
        return SampleGradients(values.detach(), norms, terms, self.layout)

    def _room(self, batch: int, part: slice) -> torch.Tensor | None:
        """Return where a parameter's gradients may stay, ``(batch, entries)``; None where a batch's are too many.

        The memory is kept from batch to batch: fresh pages cost more than what is computed into them.
        """
        wanted = batch * self.layout.size
        if wanted > LARGEST_WORKSPACE:
            return None
        if self._workspace is None or len(self._workspace) < wanted:
            self._workspace = self._parameters[0].new_empty(wanted, requires_grad=False)
        return self._workspace[batch * part.start : batch * part.stop].view(batch, -1)

    @contextmanager
    def _kept(self, books: Books) -> Iterator[None]:
        """Run the layers our way inside the block: parameters without gradient, outputs watched."""
        for parameter in self._parameters:
            parameter.requires_grad_(False)
        try:
            for layer in self.layers:
                # An instance's own attribute goes before its class's method.
                layer.module.__dict__["forward"] = partial(layer.forward, layer.module, partial(books.watch, layer))
            yield
        finally:
            for layer in self.layers:
                layer.module.__dict__.pop("forward", None)
            for parameter in self._parameters:
                parameter.requires_grad_(True)

    def _check(self, books: Books, batch: int) -> None:
        for layer in self.layers:
            seen = books.batches.get(layer.name)
            if seen is None:
                raise InputError(
                    f"layer '{layer.name}' did not run: its parameters are used in a way that private training cannot"
                    " follow; call the layer itself"
                )
            if seen != {batch}:
                raise InputError(
                    f"layer '{layer.name}' ran on tensors of shape ({min(seen - {batch})}, ...) in a batch of {batch};"
                    " private training needs the batch in the first dimension"
                )


class Books:
    """What the layers of one batch have written down.

    Args:
        layout: of the model's parameters.
        room: where so many samples' gradients of a parameter may stay.
    """

    def __init__(self, layout: Layout, room: Callable[[int, slice], torch.Tensor | None]) -> None:
        self._layout = layout
        self._room = room
        parameters = len(layout.names)
        self.batches: dict[str, set[int]] = {}
        """batch sizes that a layer met"""
        self._expected = [0] * parameters
        self._parts: list[list[Term]] = [[] for _ in range(parameters)]
        self._norms: list[torch.Tensor | None] = [None] * parameters
        self._terms: list[Term | None] = [None] * parameters

    def watch(self, layer: Layer, output: torch.Tensor, make: Terms, names: Collection[str] = ()) -> torch.Tensor:
        """Write down the terms of a layer's parameters when the gradient of ``output`` arrives; return ``output``."""
        self.batches.setdefault(layer.name, set()).add(len(output))
        if not torch.is_grad_enabled():
            return output
        trained = [name for name in names or layer.indices if name in layer.indices]
        if not trained:
            return output
        if not output.requires_grad:
            output.requires_grad_()  # nothing before the first layer wants a gradient
        for name in trained:
            self._expected[layer.indices[name]] += 1

        waiting = [make]  # it holds the layer's inputs: once used it goes, as what autograd kept goes

        def arrived(gradient: torch.Tensor) -> None:
            for name, term in waiting.pop()(gradient).items():
                index = layer.indices.get(name)
                if index is None:  # frozen
                    continue
                self._parts[index].append(term)
                if len(self._parts[index]) == self._expected[index]:
                    self._measure(index)  # now, so that what is no longer needed goes

        del make
        output.register_hook(arrived)  # type: ignore[no-untyped-call]
        return output

    def closed(self, losses: torch.Tensor) -> tuple[torch.Tensor, list[Term | None]]:
        """Return the squared norms ``(batch, parameters)`` and the terms; None: the gradient is zero."""
        for index, parts in enumerate(self._parts):
            if parts:  # some uses of the parameter did not lead to the loss
                self._measure(index)
        zeros = torch.zeros_like(losses)
        return torch.stack([zeros if norm is None else norm for norm in self._norms], dim=1), self._terms

    def _measure(self, index: int) -> None:
        parts, self._parts[index] = self._parts[index], []
        term = merged(parts)
        squares, kept = term.measured(self._room(len(term), self._layout.slices[index]))
        self._norms[index], self._terms[index] = kept.at_most(squares), kept


def plan(model: nn.Module, forwards: Mapping[type[nn.Module], Forward]) -> Iterator[Layer]:
    """Yield the modules that have parameters of their own.

    Raises:
        InputError: one of them is not supported, shares a parameter or has a frozen one, or samples meet in a layer.
    """
    index_of = {id(parameter): index for index, parameter in enumerate(model.parameters())}
    owner: dict[int, str] = {}
    for name, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False, remove_duplicate=False))
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not own:  # it has none, or they are frozen
            raise InputError(
                f"layer '{name}' ({type(module).__name__}) makes the samples of a batch meet, which private training"
                " cannot follow; use LayerNorm or GroupNorm"
            )
        if not own:
            continue
        for key, parameter in own.items():
            full = f"{name}.{key}".lstrip(".")
            if id(parameter) in owner:
                raise InputError(
                    f"parameter '{full}' is also '{owner[id(parameter)]}': private training cannot follow shared"
                    " parameters; give each layer its own"
                )
            if not parameter.requires_grad:
                raise InputError(f"parameter '{full}' takes no gradient; freeze it by its name in 'model.frozen'")
            owner[id(parameter)] = full
        yield Layer(name, module, forward_of(name, module, forwards), {k: index_of[id(p)] for k, p in own.items()})


def forward_of(name: str, module: nn.Module, forwards: Mapping[type[nn.Module], Forward]) -> Forward:
    """Return how a module runs with its books kept: as the class does whose ``forward`` it has.

    Raises:
        InputError: it is none that is supported.
    """
    kind = type(module)
    for known, forward in forwards.items():
        if kind.forward is known.forward and issubclass(kind, known):
            options = refused_options(module)
            if options:
                raise InputError(f"layer '{name}' ({kind.__name__}): private training does not support {options}")
            return forward
    supported = ", ".join(sorted(known.__name__ for known in forwards))
    raise InputError(
        f"layer '{name or 'the model itself'}' ({kind.__name__}) has parameters that private training cannot follow;"
        f" supported are: {supported}"
    )


def refused_options(module: nn.Module) -> str:
    """Return the options of a supported layer that are not, or an empty string."""
    if isinstance(module, nn.LSTM) and module.proj_size:
        return "proj_size"
    if isinstance(module, nn.Embedding) and (module.max_norm is not None or module.scale_grad_by_freq):
        return "max_norm and scale_grad_by_freq: they tie the samples of a batch together"
    return ""
