"""FedASR: federated learning simulation for speech recognition."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# Flower reads these when it is first imported; neither a simulation nor a device should call home.
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fedasr.api import Run, compare, load_run, run, sweep
    from fedasr.results import plot

__all__ = ["Run", "compare", "load_run", "plot", "run", "sweep"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: `import fedasr` in a worker or a shell must not pay for pandas and matplotlib.
    if name in ("Run", "compare", "load_run", "run", "sweep"):
        import fedasr.api

        return getattr(fedasr.api, name)
    if name == "plot":
        import fedasr.results.plot

        return fedasr.results.plot
    raise AttributeError(f"module 'fedasr' has no attribute '{name}'")
