"""Skips where something optional is not installed, without importing it: Ray takes seconds in every worker."""

from __future__ import annotations

from importlib.util import find_spec

import pytest


def needs(package: str, reason: str) -> None:
    """Skip the test, or the module that calls this, where a package is not installed."""
    if find_spec(package) is None:
        pytest.skip(reason, allow_module_level=True)
