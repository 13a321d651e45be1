"""Frozen tensors: constants of a model, which are neither trained nor sent (``model.frozen``).

They are its parameters no longer but buffers, so that whoever asks for the parameters, to train, send, clip, mask or
account for them, gets the shared ones alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn

from fedasr.errors import InputError, nearest
from fedasr.models.weights import Arrays, assign


def frozen_names(names: Collection[str], globs: Sequence[str]) -> list[str]:
    """Return which of a model's tensors are frozen, in the model's order.

    Args:
        names: of all its parameters.
        globs: ``model.frozen``.

    Raises:
        InputError: a glob fits no tensor, or together they fit all.
    """
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in names):
            modules = dict.fromkeys(name[: place + 1] + "*" for name in names for place in dots(name))
            raise InputError(
                f"'model.frozen' has '{glob}'{nearest(glob, [*modules, *names])}, which fits no tensor; those of the"
                f" model are in: {', '.join(dict.fromkeys(name.split('.')[0] for name in names))}"
            )
    frozen = [name for name in names if any(fnmatchcase(name, glob) for glob in globs)]
    if len(frozen) == len(names):
        raise InputError("'model.frozen' fits every tensor of the model, so that nothing is trained; leave some out")
    return frozen


def dots(name: str) -> list[int]:
    """Return where the dots of a name are."""
    return [place for place, character in enumerate(name) if character == "."]


def freeze(model: nn.Module, frozen: Arrays) -> None:
    """Make parameters of a model constants.

    Args:
        model: is changed.
        frozen: the parameters' names, as ``named_parameters`` has them, and their values.
    """
    parameters = dict(model.named_parameters())
    constants: dict[int, torch.Tensor] = {}
    for name, array in frozen.items():
        parameter = parameters[name].requires_grad_(False)
        # An LSTM keeps a list of its parameters beside their names: the buffer has the same memory.
        assign(name, parameter, array)
        constants[id(parameter)] = parameter.data
    for module in model.modules():  # a parameter may be in several
        for name, parameter in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            if id(parameter) in constants:
                delattr(module, name)
                module.register_buffer(name, constants[id(parameter)])
