"""Trackers live in packages that FedASR installs only where they are asked for."""

from __future__ import annotations

import importlib.util

from fedasr.errors import InputError


def check_installed(package: str, name: str) -> None:
    """Raise where the package of a tracker is not installed.

    Args:
        package: to be imported.
        name: of the tracker in ``log``, and of the extra that installs its package.

    Raises:
        InputError: naming the extra.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:  # W&B leaves a folder of its own name in the working folder
        raise InputError(f"needs the package '{package}': pip install 'fedasr[{name}]'")
