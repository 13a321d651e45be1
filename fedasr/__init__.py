"""FedASR: federated learning simulation for speech recognition.

``run`` runs a config and returns a ``Run``; ``load_run`` reads one back; ``sweep`` runs many settings under many seeds;
``compare`` returns a table of runs with error bars; ``fairness`` compares the groups of a run's test speech, ``impact``
what several runs do to groups; ``plot`` draws figures. A ``Callback`` follows a run. The same from a shell:
``fedasr --help``. Parts of your own are tested with ``fedasr.testing``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Flower reads these when it is first imported; neither a simulation nor a device should call home.
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")

__version__ = "0.1.0"

# `strategies`, `clients` and `simulations` are imported as `fedasr.strategies` and so on. An installation has them in
# this folder, a checkout and a Flower app beside it. A user's own folder of such a name hides none of them.
_beside = Path(__file__).resolve().parent.parent
if not (_beside / "fedasr" / "strategies").is_dir() and (_beside / "strategies" / "server_app.py").is_file():
    __path__.append(str(_beside))

if TYPE_CHECKING:
    from fedasr.api import Run, compare, fairness, impact, load_run, run, sweep
    from fedasr.results.figures import plot
    from fedasr.runtime.callbacks import Callback

__all__ = ["Callback", "Run", "compare", "fairness", "impact", "load_run", "plot", "run", "sweep"]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: `import fedasr` in a worker or a shell must not pay for pandas and matplotlib.
    if name in ("Run", "compare", "fairness", "impact", "load_run", "run", "sweep"):
        import fedasr.api

        return getattr(fedasr.api, name)
    if name == "Callback":
        import fedasr.runtime.callbacks

        return fedasr.runtime.callbacks.Callback
    if name == "plot":
        import fedasr.results.figures.plot

        return fedasr.results.figures.plot
    raise AttributeError(f"module 'fedasr' has no attribute '{name}'")
