"""What a process of an edge device has started ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedasr.edge.processes import PARENT_VARIABLE, Process, process_name

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")

STAYS = "from fedasr.edge.processes import die_with_parent as d; d(); print('there', flush=True); input()"
STARTS = f"""
import sys, time
from pathlib import Path
from fedasr.edge.processes import Process
child = Process([sys.executable, "-c", {STAYS.replace("input()", "import time; time.sleep(60)")!r}], {{}}, Path())
while not child.tail: time.sleep(0.05)
print(child.process.pid, flush=True)
time.sleep(60)
"""


def test_who_was_orphaned_before_it_could_look_ends_at_once() -> None:
    """Between a fork and the first line of the child its parent may be killed."""
    other = {**os.environ, PARENT_VARIABLE: str(os.getppid())}
    done = subprocess.run(
        [sys.executable, "-c", STAYS], env=other, input="\n", capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (1, "")


def test_who_has_a_parent_stays(tmp_path: Path) -> None:
    process = Process([sys.executable, "-c", STAYS.replace("input()", "")], dict(os.environ), tmp_path)
    assert process.process.wait(60) == 0
    process.reader.join(10)
    assert list(process.tail) == ["there"]


@pytest.mark.thorough
def test_a_child_ends_with_its_killed_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", STARTS], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert process_name(child)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    end = time.monotonic() + 10
    while process_name(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not process_name(child)


DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
LEAVES = f"""
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {DEAF!r}], stdout=subprocess.PIPE, start_new_session=True)
child.stdout.readline()
print(child.pid, flush=True)
os._exit(1)
"""
SERVES = f"""
import os, sys
from pathlib import Path
from fedasr.edge.processes import Process, descendants, nothing_left
with nothing_left():
    process = Process([sys.executable, "-c", {LEAVES!r}], {{}}, Path())
    process.process.wait()
    process.reader.join(1)
    process.stop()
    print(process.tail[0], descendants(os.getpid()), flush=True)
print(descendants(os.getpid()), flush=True)
"""


@pytest.mark.slow
def test_what_a_process_leaves_behind_is_ended() -> None:
    """Another session, deaf to the polite signal, its parent dead: a server's app whose SuperLink was killed."""
    done = subprocess.run([sys.executable, "-c", SERVES], capture_output=True, text=True, timeout=60)
    orphan = int(done.stdout.split()[0])
    assert done.stdout == f"{orphan} [{orphan}]\n[]\n", done.stderr
    assert not process_name(orphan)
