"""What the tests share: where the real speech is, one thread a process, and the tiers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from tests.tiers import LIVE, TIER, has_none, is_live, tier_of

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent
WAITING = {"quick": 0, "thorough": 1, "slow": 2}
"""Workers of a tier beyond one a core."""


def pytest_configure(config: pytest.Config) -> None:
    """Say which tier runs, for the laws."""
    os.environ[TIER] = tier_of(config.option.markexpr)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return a worker for each core where a whole tier runs; tests that are named need none.

    Whole runs wait for processes of their own, and edge devices for each other: more workers keep the cores busy.
    """
    return len(os.sched_getaffinity(0)) + WAITING[tier_of(config.option.markexpr)] if runs_a_tier(config) else 0


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave files unread that have no test of the tier."""
    if collection_path.suffix != ".py" or not collection_path.name.startswith("test_") or not runs_a_tier(config):
        return None
    return has_none(collection_path, tier_of(config.option.markexpr)) or None


def runs_a_tier(config: pytest.Config) -> bool:
    """Say whether a whole tier runs, and not tests that are named."""
    return config.args_source == pytest.Config.ArgsSource.TESTPATHS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put first what takes longest: the tests that start servers, edge devices and clusters, one after the other."""
    live = {path for path in {item.path for item in items} if is_live(path)}
    items.sort(key=lambda item: item.path not in live)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """Return what gives workers files; all live ones to one worker, since two of them starve each other."""
    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


class Scheduling(LoadFileScheduling):
    """A file a worker, and the live ones together."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return LIVE if is_live(ROOT / file) else file


def pytest_itemcollected(item: pytest.Item) -> None:
    """Put whole runs into the thorough tier, but for those that are marked quick."""
    whole = (ROOT / "tests" / "e2e") in item.path.parents
    marked = any(item.get_closest_marker(name) for name in ("quick", "slow"))
    if whole and not marked:
        item.add_marker("thorough")


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
