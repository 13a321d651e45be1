"""The recurrence in C++, compiled on first use where there is a compiler, and kept in the user's cache folder."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from fedasr.data.cache import cache_folder
from fedasr.files import replacing
from fedasr.privacy.gradients.recurrence_source import SOURCE
from fedasr.privacy.ziggurat import Tables, Words
from fedasr.typing import Floats

FLAGS = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
NATIVE = ("-march=native",)
"""Not every compiler knows it; without it the code is right, and slower."""

COMPILE_LIMIT_S = 120


class Kernels:
    """The compiled recurrence; float32 on the CPU only.

    Args:
        library: the shared library that ``compile_library`` made.
    """

    def __init__(self, library: Path) -> None:
        loaded = ctypes.CDLL(str(library))
        size, pointer = ctypes.c_int64, ctypes.c_void_p
        self._forward = loaded.fedasr_lstm_forward
        self._forward.argtypes = [size] * 3 + [pointer] * 6
        self._backward = loaded.fedasr_lstm_backward
        self._backward.argtypes = [size] * 3 + [pointer] * 9
        self._normals = loaded.fedasr_normals
        self._normals.argtypes = [size] + [pointer] * 5
        self._normals.restype = size

    def forward(
        self, gates: torch.Tensor, weight: torch.Tensor, h0: torch.Tensor, c0: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return hidden and cell states ``(batch, time, hidden)``; ``gates`` become activated, in place.

        Args:
            gates: the inputs' share of the pre-activations with the biases, ``(batch, time, 4 * hidden)``, contiguous.
            weight: of the recurrence, ``(4 * hidden, hidden)``.
            h0: hidden states before the first frame, ``(batch, hidden)``.
            c0: cell states before the first frame, ``(batch, hidden)``.
        """
        batch, time, width = gates.shape
        weight, h0, c0 = weight.contiguous(), h0.contiguous(), c0.contiguous()
        h, c = gates.new_empty(batch, time, width // 4), gates.new_empty(batch, time, width // 4)
        tensors = (gates, weight, h0, c0, h, c)
        if self._forward(batch, time, width // 4, *(t.data_ptr() for t in tensors)):
            raise MemoryError("no memory for the weights of a recurrence")
        return h, c

    def backward(
        self,
        gates: torch.Tensor,
        weight: torch.Tensor,
        c0: torch.Tensor,
        c: torch.Tensor,
        grad_h: torch.Tensor,
        grad_c: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the gradients of the pre-activations ``(batch, time, 4 * hidden)``, of ``h0`` and of ``c0``.

        Args:
            gates: activated, as ``forward`` left them.
            weight: of the recurrence, ``(4 * hidden, hidden)``.
            c0: cell states before the first frame, ``(batch, hidden)``.
            c: cell states, ``(batch, time, hidden)``.
            grad_h: gradient of the hidden states, ``(batch, time, hidden)``.
            grad_c: gradient of the cell states, ``(batch, time, hidden)``; None: zeros.
        """
        batch, time, hidden = c.shape
        weight, c0, grad_h = weight.contiguous(), c0.contiguous(), grad_h.contiguous()
        grad_c = None if grad_c is None else grad_c.contiguous()
        delta, grad_h0, grad_c0 = torch.empty_like(gates), torch.empty_like(c0), torch.empty_like(c0)
        read = [t.data_ptr() for t in (gates, weight, c0, c, grad_h)] + [None if grad_c is None else grad_c.data_ptr()]
        if self._backward(batch, time, hidden, *read, *(t.data_ptr() for t in (delta, grad_h0, grad_c0))):
            raise MemoryError("no memory for the weights of a recurrence")
        return delta, grad_h0, grad_c0

    def normals(self, words: Words, layers: Tables) -> tuple[Floats, Words]:
        """Return normal numbers, and which of them are not decided yet; see ``ziggurat.quick``."""
        out, open_ = np.empty(len(words)), np.empty(len(words) + 1, np.int64)
        read = words.ctypes.data, layers.width.ctypes.data, layers.sure.ctypes.data
        undecided = self._normals(len(words), *read, out.ctypes.data, open_.ctypes.data)
        return out, open_[:undecided]


@lru_cache(maxsize=1)
def kernels() -> Kernels | None:
    """Return the compiled recurrence; None where there is no compiler, or where what it makes does not load.

    The first process of a machine compiles it, a second or two; later ones load it.
    """
    compiler = find_compiler()
    if compiler is None:
        return None
    kept = cache_folder(None)
    try:
        kept.mkdir(parents=True, exist_ok=True)
        return Kernels(compile_library(compiler, kept))
    except OSError:
        pass  # a full or read-only home, or one that is mounted noexec
    try:
        with tempfile.TemporaryDirectory(prefix="fedasr-") as folder:
            return Kernels(compile_library(compiler, Path(folder)))  # stays mapped after its file is gone
    except OSError:
        return None


def find_compiler() -> str | None:
    """Return the C++ compiler: ``$CXX``, or the first of c++, g++ and clang++ on the path; None where there is none."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        path = shutil.which(name) if name else None
        if path:
            return path
    return None


def compile_library(compiler: str, folder: Path) -> Path:
    """Return the shared library in ``folder``, made there if it is not there yet.

    Its name says source, compiler and processor, so that a home shared by machines never mixes theirs.

    Raises:
        OSError: the compiler fails, or the folder cannot be written.
    """
    digest = hashlib.sha256(SOURCE.encode())
    digest.update("\n".join((*FLAGS, *NATIVE, compiler, str(Path(compiler).stat().st_mtime_ns), processor())).encode())
    library = folder / f"recurrence-{digest.hexdigest()[:20]}.so"
    if library.is_file():
        return library
    with replacing(library, shared=True) as temporary:
        for flags in ((*FLAGS, *NATIVE), FLAGS):
            command = [compiler, *flags, "-o", str(temporary), "-x", "c++", "-"]
            try:
                done = subprocess.run(
                    command, input=SOURCE.encode(), capture_output=True, timeout=COMPILE_LIMIT_S, check=False
                )
            except subprocess.TimeoutExpired as error:
                raise OSError(f"{compiler} took more than {COMPILE_LIMIT_S} s") from error
            if done.returncode == 0:
                break
        else:
            raise OSError(f"{compiler} failed: {done.stderr.decode(errors='replace')[-300:]}")
    return library


def processor() -> str:
    """Return what tells one kind of processor from another: its architecture, model and instruction sets."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    wanted = ("model name", "flags", "Features", "CPU part")
    return "\n".join(dict.fromkeys([platform.machine(), *(line for line in lines if line.startswith(wanted))]))
