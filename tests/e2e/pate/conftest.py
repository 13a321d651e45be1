"""What the tests of PATE share: small messages, and a run to compare with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import fedasr
from fedasr.strategies.pate import teachers
from fedasr.strategies.pate.units import base

from .world import pate


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> Iterator[None]:
    """Let messages be so small that even a tiny run takes several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "BLOCK", 8)
        patch.setattr(teachers, "AT_A_TIME", 5)
        yield


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> fedasr.Run:
    """Return the tiny run, made by one process without a stop."""
    return fedasr.run(pate(), out=tmp_path_factory.mktemp("runs") / "serial")
