"""Ask what a path is, and where a user's own things lie, whatever the machine lacks.

A name that the system refuses (too long, forbidden, a NUL) is nothing, never an exception.
"""

from __future__ import annotations

import os
import stat
import tempfile
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


def of_seed(path: str, seed: int) -> Path:
    """Return the path in which ``{seed}`` stands for the seed of the run."""
    return Path(path.replace("{seed}", str(seed)))


def home() -> Path | None:
    """Return the user's home, None where there is none: no ``HOME``, and a user whom the system does not know."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def own_temporary() -> Path:
    """Return this user's folder in the temporary one, made for it and closed to others.

    Anybody may make a folder of that name there first, and what is loaded from it runs; then it is one without a name.
    """
    user = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"fedasr-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        others_may_write = stat.S_IMODE(status.st_mode) & 0o022
        if stat.S_ISDIR(status.st_mode) and user in ("user", status.st_uid) and not others_may_write:
            folder.chmod(0o700)
            return folder
    except OSError:
        pass  # a file in its place, or no permission
    return Path(tempfile.mkdtemp(prefix="fedasr-"))
