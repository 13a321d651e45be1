"""Where a device keeps weights of its own between messages: files that never leave it.

On a device that is a folder beside the speech (``data`` of the node's own configuration); a simulation gives one to
all its devices, by ``client-store`` of the run config or, in Flower's engine, which takes no run config, by the
environment; elsewhere, as with ``flwr run``, it is a temporary folder.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import Context

from fedasr.errors import InputError
from fedasr.files import create, refused, write_arrays
from fedasr.models.weights import read_weights
from fedasr.paths import STORE_VARIABLE

FOLDER = "weights"
SECRET_BYTES = 32


class ClientStore:
    """Named weights in a folder. A file is there whole or not at all, so a killed device finds all that it had.

    Args:
        folder: made when something is first kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Return the file of a name."""
        return self.folder / f"{name}.safetensors"

    def __contains__(self, name: str) -> bool:
        return self.path(name).is_file()

    def save(self, name: str, arrays: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Keep weights under a name, replacing what was there.

        Raises:
            InputError: they cannot be written, such as to a full disk; what was there before is there still.
        """
        target = self.path(name)
        with refused(target):
            # What a teacher has learnt is for nobody else on the machine either. Two runs may share a store.
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_arrays(target, arrays, shared=True)

    def load(self, name: str, order: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
        """Return the weights of a name, in the order of the model's own.

        Raises:
            InputError: there are none, or the file is damaged.
        """
        arrays, _ = read_weights(self.path(name))
        return {key: arrays[key] for key in order}

    def secret(self, name: str) -> bytes:
        """Return 32 random bytes that the device keeps under a name, drawn when they are first asked for.

        Raises:
            InputError: they cannot be written or read, or the file is damaged.
        """
        target = self.folder / f"{name}.secret"
        try:
            if not target.exists():
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                # Two runs may share a store. Whoever is first decides: with a secret of its own each, the same question
                # would be answered twice with other noise, for the price of one.
                create(target, secrets.token_bytes(SECRET_BYTES))
            content = target.read_bytes()
        except OSError as error:
            raise InputError(f"cannot be kept: {error}", where=str(target)) from None
        if len(content) != SECRET_BYTES:
            raise InputError(
                f"is damaged: {len(content)} bytes, expected {SECRET_BYTES}; remove it, and start the runs that it"
                " took part in anew",
                where=str(target),
            )
        return content


def find_store(context: Context) -> ClientStore:
    """Return the store of the device that a context belongs to."""
    data = context.node_config.get("data")
    if data is not None:
        return ClientStore(Path(str(data)) / FOLDER)
    given = context.run_config.get("client-store") or os.environ.get(STORE_VARIABLE)
    if given is not None:
        return ClientStore(Path(str(given)))
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return ClientStore(Path(tempfile.gettempdir()) / f"fedasr-{user}" / FOLDER)
