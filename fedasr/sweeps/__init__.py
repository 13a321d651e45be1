"""Many runs from one file: strategies × seeds, each an ordinary run folder."""

from fedasr.sweeps.execute import sweep
from fedasr.sweeps.plan import Plan, Planned, read_plan

__all__ = ["Plan", "Planned", "read_plan", "sweep"]
