"""Updates on disk: what was written is read back by columns, and memory holds a block."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from fedasr.errors import RunFailed
from fedasr.models.weights import Layout
from fedasr.strategies.aggregation.coordinate_wise import CoordinateWise, median
from fedasr.strategies.aggregation.update_file import UpdateFile


@pytest.mark.parametrize("values", [1, 7, 12, 13, 100, 10**6])
def test_columns_come_back_whatever_the_block(values: int, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(4, 13)).astype(np.float32)
    file = UpdateFile(tmp_path)
    for row in rows:
        file.append(row)
    result = np.zeros_like(rows)
    for part, block in file.blocks(13, values):
        assert block.size <= max(values, 4)
        result[:, part] = block
    np.testing.assert_array_equal(result, rows)


def test_a_cleared_file_forgets_a_larger_cohort(tmp_path: Path) -> None:
    file = UpdateFile(tmp_path)
    for value in (1, 2, 3):
        file.append(np.full(3, value, np.float32))
    file.clear()
    assert list(file.blocks(3)) == []
    file.append(np.full(3, 9, np.float32))
    ((_, block),) = file.blocks(3)
    np.testing.assert_array_equal(block, np.full((1, 3), 9))


def test_nothing_is_left_in_the_folder(tmp_path: Path) -> None:
    file = UpdateFile(tmp_path)
    file.append(np.zeros(3, np.float32))
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_closed_with_its_owner(tmp_path: Path) -> None:
    owner = UpdateFile(tmp_path)
    owner.append(np.zeros(3, np.float32))
    file = owner.file
    del owner
    gc.collect()
    assert file is not None
    assert file.closed


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"nowhere: the updates of a round cannot be kept here: No such file"):
        UpdateFile(tmp_path / "nowhere").append(np.zeros(3, np.float32))


def test_memory_does_not_grow_with_the_cohort(tmp_path: Path) -> None:
    """80 updates of 400 kB, 32 MB together, in a few megabytes."""
    layout = Layout.of({"w": np.zeros(100_000, np.float32)})
    start = np.zeros(layout.size, np.float32)
    peaks = []
    for clients in (20, 80):
        tracemalloc.start()
        aggregate = CoordinateWise(layout, median, UpdateFile(tmp_path))
        for client in range(clients):
            update = np.full(layout.size, client, np.float32)
            aggregate.rule.add(aggregate.sum, start, layout.views(update), 1)
        assert aggregate.mean()[0] == (clients - 1) / 2
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert max(peaks) < 16e6
    assert peaks[1] < 1.5 * peaks[0]
