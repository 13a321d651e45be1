"""Three tiers of tests, and how many examples a law is tried on in each.

| command | tier | tests |
|---|---|---|
| ``pytest`` | quick | unmarked: every module, and one small run of each main job |
| ``pytest -m "not slow"`` | thorough | and what is marked ``thorough``; ``tests/e2e`` is, unless marked ``quick`` |
| ``pytest -m slow`` | slow | clusters, devices, installations, notebooks, runs of more than five seconds |
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

TIER = "FEDASR_TEST_TIER"
"""Environment variable that the conftest sets, before the tests are imported."""
FEWER = {"quick": 5, "thorough": 2}
"""The first two tiers try a law on this part of its examples; ``pytest -m ""`` tries all."""


def tier_of(expression: str) -> str:
    """Return the tier that a marker expression of pytest selects."""
    if "not thorough" in expression:
        return "quick"
    return "thorough" if "not slow" in expression else "slow"


def examples(count: int) -> int:
    """Return on how many examples a law is tried here, of ``count``."""
    return max(min(count, 5), count // FEWER.get(os.environ.get(TIER, ""), 1))


LIVE = "live servers, edge devices, and Ray clusters"
"""The unit of work of all files that start some."""


@cache
def is_live(path: Path) -> bool:
    """Say whether the tests of a file start many processes that import PyTorch, with deadlines.

    Two such files at a time starve each other: a node of Ray that is not up after 30 seconds is given up.
    """
    text = path.read_text(encoding="utf-8")
    return "edge_world import" in text or "ray_nodes import" in text or STARTS_RAY.search(text) is not None


STARTS_RAY = re.compile(r"""["']?name["']?[:=] ?["']flower["']|runtime\.name=flower|flower-superlink|flower\.md""")


MODULE_MARK = re.compile(r"^pytestmark = .*pytest\.mark\.(slow|thorough)", re.MULTILINE)


def has_none(path: Path, tier: str) -> bool:
    """Say whether a file has no test of a tier, without importing it, which may take longer than many tests."""
    text = path.read_text(encoding="utf-8")
    if tier == "slow":
        return "mark.slow" not in text
    mark = MODULE_MARK.search(text)
    if tier == "thorough":
        return mark is not None and mark[1] == "slow"
    return mark is not None or ("e2e" in path.parts and "pytest.mark.quick" not in text)
