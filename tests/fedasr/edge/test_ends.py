"""What it means for an edge device that its SuperNode has ended."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from fedasr.edge.processes import Process, first_to_end
from fedasr.edge.run_client import end_of_supernode
from fedasr.edge.supernode import GIVEN_UP

INTERRUPTED = "import os, signal; os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(60)"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "rejected", "again"),
    [
        (f"import sys; sys.exit({GIVEN_UP})", False, True),
        ("print('revoked while it ran')", False, True),
        pytest.param(INTERRUPTED, False, True, id="the second interrupt of a loop and a heartbeat that are refused"),
        ("print('401 Unauthorized'); raise SystemExit(1)", True, False),
        ("print('[code: 2004]'); raise SystemExit(1)", True, False),
        ("print('Failed to initialize the connection'); raise SystemExit(1)", False, True),
        ("raise ValueError('a defect')", False, False),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", False, False),
    ],
)
def test_an_edge_device_whose_server_is_lost_or_refuses_it_starts_again_or_says_so(
    script: str, rejected: bool, again: bool, tmp_path: Path
) -> None:
    process = Process([sys.executable, "-c", script], dict(os.environ), tmp_path)
    assert first_to_end([process], threading.Event()) is process
    end = end_of_supernode(process)
    assert (end.rejected, end.again) == (rejected, again), end.why


def test_the_end_says_the_status_and_the_last_line(tmp_path: Path) -> None:
    process = Process([sys.executable, "-c", "raise ValueError('a defect')"], dict(os.environ), tmp_path)
    first_to_end([process], threading.Event())
    assert end_of_supernode(process).why == "SuperNode ended with status 1: ValueError: a defect"
