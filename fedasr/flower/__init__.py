"""The one room that knows Flower's private surface: what has no public door is entered here and nowhere else.

Public are the names that ``flwr.app``, ``flwr.clientapp``, ``flwr.serverapp``, ``flwr.serverapp.strategy`` and
``flwr.simulation`` export. A file here is one idea; what each needs of Flower is in ``surface.py``, which ``check``
holds against the version that is installed.
"""

from fedasr.flower.surface import PARTS, SUPPORTED, UnsupportedFlower, check, installed

__all__ = ["PARTS", "SUPPORTED", "UnsupportedFlower", "check", "installed"]
