"""How many cores this process may use, which in a container or a job is not how many the machine has."""

from __future__ import annotations

import math
import os
from pathlib import Path

QUOTA_2 = Path("/sys/fs/cgroup/cpu.max")
QUOTA_1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
PERIOD_1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


def cores() -> int:
    """Return the number of cores that the scheduler and the container leave to this process, at least 1."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(count, quota())))


def quota() -> float:
    """Return how many cores' time the control group grants, infinity where it sets no limit or there is none."""
    try:
        granted, period = QUOTA_2.read_text().split()
    except (OSError, ValueError):
        try:
            granted, period = QUOTA_1.read_text().strip(), PERIOD_1.read_text().strip()
        except OSError:
            return math.inf
    if not (granted.isdigit() and period.isdigit()) or int(period) == 0:
        return math.inf  # "max", or -1
    return int(granted) / int(period)
