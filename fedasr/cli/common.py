"""What every command shares: where output goes, and what an error looks like."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from fedasr.errors import InputError

console = Console(stderr=True, highlight=False, soft_wrap=True)
"""For people: standard error, plain when it is not a terminal."""


def print_json(value: Any) -> None:
    """Print one JSON object on standard output. NaN and infinities, which JSON lacks, become null."""
    sys.stdout.write(json.dumps(clean(value), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def clean(value: Any) -> Any:
    """Return ``value`` with NumPy scalars as Python numbers and non-finite floats as None."""
    if isinstance(value, dict):
        return {str(k): clean(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(v) for v in value]
    import numpy as np

    if isinstance(value, np.ndarray):
        return clean(value.tolist())
    if isinstance(value, np.generic):
        return clean(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


@contextmanager
def about(config: str) -> Iterator[None]:
    """Name the config in an input error that names no place yet, such as a key that does not suit the speech."""
    try:
        yield
    except InputError as error:
        if error.where is None:
            raise InputError(str(error), where=config) from error
        raise
