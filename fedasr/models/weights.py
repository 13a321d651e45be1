"""A model's weights as one flat vector with named views, and the hash that says two runs are equal."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fedasr.errors import InputError
from fedasr.files import write_arrays
from fedasr.paths import is_file, is_folder

Vector = npt.NDArray[np.float32]
Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Layout:
    """Where each named tensor lies in the flat vector: names, shapes and slices, in the model's own order."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    slices: tuple[slice, ...]

    @classmethod
    def of(cls, arrays: Mapping[str, Any]) -> Layout:
        """Return the layout of named arrays or tensors."""
        slices, start = [], 0
        for array in arrays.values():
            size = int(np.prod(array.shape))
            slices.append(slice(start, start + size))
            start += size
        return cls(tuple(arrays), tuple(tuple(a.shape) for a in arrays.values()), tuple(slices))

    @property
    def size(self) -> int:
        """Number of scalars."""
        return self.slices[-1].stop if self.slices else 0

    def views(self, vector: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """Return named views of ``vector``."""
        return {
            name: vector[part].reshape(shape)
            for name, shape, part in zip(self.names, self.shapes, self.slices, strict=True)
        }

    def flatten(self, arrays: Arrays, out: Vector) -> Vector:
        """Copy named arrays into the flat vector ``out``.

        Raises:
            ValueError: names, shapes or kinds differ from the layout; the message names the first that does.
        """
        if tuple(arrays) != self.names:
            extra = sorted(set(arrays) ^ set(self.names))
            raise ValueError(f"arrays do not match the model: {', '.join(extra) or 'another order'}")
        for (name, array), shape, part in zip(arrays.items(), self.shapes, self.slices, strict=True):
            if array.shape != shape or array.dtype.kind != "f":
                raise ValueError(f"array '{name}' is {array.dtype} {array.shape}; expected float32 {shape}")
            out[part] = array.reshape(-1)
        return out


def flat_parameters(model: nn.Module) -> tuple[Layout, torch.Tensor]:
    """Move the model's parameters into one flat tensor and return it with its layout.

    The parameters become views of the tensor, so loading the global weights, or reading the trained ones, is one copy.
    """
    parameters = dict(model.named_parameters())
    layout = Layout.of(parameters)
    device = next(iter(parameters.values())).device
    flat = torch.empty(layout.size, dtype=torch.float32, device=device)
    for parameter, shape, part in zip(parameters.values(), layout.shapes, layout.slices, strict=True):
        flat[part] = parameter.detach().reshape(-1)
        parameter.data = flat[part].view(shape)
    return layout, flat


def model_arrays(model: nn.Module) -> dict[str, npt.NDArray[np.float32]]:
    """Return copies of the model's parameters as named float32 arrays."""
    return {name: p.detach().cpu().numpy().astype(np.float32, copy=True) for name, p in model.named_parameters()}


def load_arrays(model: nn.Module, arrays: Arrays) -> None:
    """Copy named arrays into the model's parameters.

    Raises:
        ValueError: a name or shape does not fit.
    """
    parameters = dict(model.named_parameters())
    if set(arrays) != set(parameters):
        raise ValueError(f"weights do not match the model: {', '.join(sorted(set(arrays) ^ set(parameters))[:4])}")
    for name, parameter in parameters.items():
        assign(name, parameter, arrays[name])


def assign(name: str, tensor: torch.Tensor, array: npt.NDArray[Any]) -> None:
    """Copy an array into a tensor of a model.

    Raises:
        ValueError: its shape does not fit.
    """
    if tuple(tensor.shape) != array.shape:
        raise ValueError(f"'{name}' is {array.shape}; the model has {tuple(tensor.shape)}")
    with torch.no_grad():
        tensor.copy_(torch.from_numpy(np.array(array, dtype=np.float32)))


def sha256(arrays: Arrays) -> str:
    """Return the SHA-256 over the raw bytes of the weights in sorted name order."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def save_weights(path: Path, arrays: Arrays) -> None:
    """Write the weights to ``path`` (safetensors), whole or not at all."""
    write_arrays(path, arrays)


def read_weights(source: str | Path) -> tuple[dict[str, npt.NDArray[Any]], Path]:
    """Return the weights of a run folder or a ``.safetensors`` file, and the file they are in.

    Raises:
        InputError: there are none, the file is damaged, or a weight is no finite number.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = Path(source)
    if is_folder(path):
        path = path / "model.safetensors"
    if not is_file(path):
        raise InputError("no such weights; expected a finished run folder or a .safetensors file", where=str(path))
    try:
        arrays = load_file(path)
    except (SafetensorError, OSError, TypeError, KeyError, ValueError) as error:
        raise InputError(f"is not a readable safetensors file: {error}", where=str(path)) from None
    for name, array in arrays.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise InputError(f"'{name}' ({array.dtype}) holds something other than finite numbers", where=str(path))
    return arrays, path
