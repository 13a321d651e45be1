"""Ask what a path is. A name that the system refuses (too long, forbidden, a NUL) is nothing, never an exception."""

from __future__ import annotations

from pathlib import Path

STORE_VARIABLE = "FEDASR_CLIENT_STORE"
"""Environment variable with the folder in which devices simulated by Flower's engine keep what never leaves them."""


def is_file(path: Path) -> bool:
    """Say whether the path is a file that can be seen."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Say whether the path is a folder that can be seen."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def exists(path: Path) -> bool:
    """Say whether there is something at the path that can be seen."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
