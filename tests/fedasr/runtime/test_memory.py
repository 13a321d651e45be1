"""Shared memory that is scarce, as in a container with 64 MB of it, is no "Bus error"."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from flwr.app import RecordDict

from fedasr.flower.records import array_record, numpy_arrays
from fedasr.runtime.executors import memory

MEBIBYTE = 1 << 20


@pytest.fixture
def no_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shared memory in which there is no room: the system says so where the room is taken."""

    def refuse(descriptor: int, start: int, size: int) -> None:
        if str(Path(f"/proc/self/fd/{descriptor}").readlink()).startswith("/dev/shm/"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse)


def test_a_region_has_the_room_that_it_says_it_has() -> None:
    regions = memory.Regions()
    try:
        name = regions.take(MEBIBYTE)
        assert (memory.SHARED / name).stat().st_blocks * 512 >= MEBIBYTE
    finally:
        regions.close()


@pytest.mark.usefixtures("no_shared_memory")
def test_files_take_the_place_of_shared_memory() -> None:
    regions, worker = memory.Regions(), memory.Attachments()
    content = RecordDict({"arrays": array_record({"w": np.arange(6, dtype=np.float32).reshape(2, 3)})})
    packed, arrays = memory.plan(content)
    name = regions.take(packed.size)
    folder = Path(name).parent
    try:
        memory.write(regions.memory[name].bytes(), packed, arrays)
        result = numpy_arrays(memory.unpack(worker.view(name), packed)["arrays"])  # type: ignore[arg-type]
        np.testing.assert_array_equal(result["w"], arrays[0])
        worker.view(name)[:4] = 255
        assert list(regions.memory[name].bytes()[:4]) == [255] * 4
    finally:
        regions.close()
    assert not folder.exists()


@pytest.mark.usefixtures("no_shared_memory")
def test_a_worker_removes_what_a_killed_parent_leaves() -> None:
    regions, worker = memory.Regions(), memory.Attachments()
    name = regions.take(10)
    worker.view(name)
    worker.remove_files()
    assert not Path(name).parent.exists()


@pytest.mark.usefixtures("no_shared_memory")
def test_no_room_anywhere_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "FileRegion", refused)
    regions = memory.Regions()
    with pytest.raises(OSError, match=r"no room for 5,000 bytes that the workers share.*--shm-size") as caught:
        regions.take(5000)
    assert caught.value.errno == errno.ENOSPC
    regions.close()


def refused(path: Path, size: int) -> memory.FileRegion:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


SCARCE = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x00020000) or libc.mount(b"none", b"/", None, 0x44000, None):
    sys.exit(77)
if libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 0, b"size=1m"):
    sys.exit(77)
import numpy as np
from fedasr.runtime.executors import memory
regions = memory.Regions()
names = [regions.take(1 << 19) for _ in range(8)]
for name in names:
    regions.memory[name].bytes()[:] = 1
kinds = [type(regions.memory[name]).__name__ for name in names]
regions.close()
print(*kinds)
"""


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="shared memory of a size of its own is made by Linux")
def test_a_container_with_little_shared_memory() -> None:
    """Four megabytes where there is one: without taking the room first, this dies of SIGBUS."""
    done = subprocess.run([sys.executable, "-c", SCARCE], capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("this machine does not let us mount a small /dev/shm")
    assert done.returncode == 0, done.stderr
    kinds = done.stdout.split()
    assert kinds[0] == "SharedRegion"
    assert kinds[-1] == "FileRegion"
