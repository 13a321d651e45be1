"""What the tests share: where the real speech is, and one thread a process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent


def speech_folder() -> Path | None:
    """Return the folder of real speech: FEDASR_DATA, or ../shared/data beside the checkout."""
    for candidate in (os.environ.get("FEDASR_DATA"), ROOT.parent / "shared" / "data"):
        if candidate and Path(candidate).is_dir():
            return Path(candidate)
    return None


@pytest.fixture(scope="session")
def speech() -> Path:
    """Return the folder of real speech, or skip."""
    folder = speech_folder()
    if folder is None:
        pytest.skip("no real speech: set FEDASR_DATA to a folder of corpora, each with a manifest.csv")
    return folder
