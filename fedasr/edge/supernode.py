"""Flower's SuperNode, which ends where it gives up: ``python -m fedasr.edge.supernode`` takes its arguments.

A line that breaks in the middle of a TLS handshake is one that Flower does not try again. Its loop ends then, but not
its process, in which a thread goes on serving the executor: an edge device that looks alive and never answers again.
"""

from __future__ import annotations

import os
import sys

from fedasr.edge.processes import die_with_parent
from fedasr.flower.supernode import run_supernode

GIVEN_UP = 75
"""Exit status where it has given up its server; starting again may mend it."""


def main() -> None:
    """Run the SuperNode; it ends by itself only where it is told to, with a status of its own, or gives up."""
    die_with_parent()
    run_supernode()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(GIVEN_UP)


if __name__ == "__main__":
    main()
