"""Types of Flower that its public modules do not export."""

from __future__ import annotations

from fedasr.flower.surface import supported

with supported():
    from flwr.clientapp.typing import ClientAppCallable
    from flwr.supercore.run import Run

__all__ = ["ClientAppCallable", "Run"]
