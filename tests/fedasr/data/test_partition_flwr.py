import numpy as np
import pytest

from fedasr.config.schema import PartitionConfig
from fedasr.data.partition import from_flwr, make_partition
from fedasr.errors import InputError

library = pytest.importorskip("flwr_datasets.partitioner", reason="flwr-datasets is not installed")

COLUMNS = {
    "speaker": np.array([f"s{i % 7}" for i in range(90)], object),
    "text": np.array([f"w{i % 4}" for i in range(90)], object),
    "duration_s": np.linspace(0.5, 2, 90).astype(np.float32),
}
ROWS = np.arange(10, 90)


def test_natural_equals_the_library():
    theirs = from_flwr(library.NaturalIdPartitioner("speaker"), COLUMNS, ROWS)
    ours = make_partition(PartitionConfig(), COLUMNS, ROWS, None, 0)
    assert {tuple(theirs.indices(c)) for c in range(7)} == {tuple(ours.indices(c)) for c in range(7)}


def test_the_librarys_iid_is_cut_in_order_and_ours_is_not():
    theirs = from_flwr(library.IidPartitioner(8), COLUMNS, ROWS)
    assert theirs.indices(0).tolist() == list(range(10, 20))
    ours = make_partition(PartitionConfig(name="iid"), COLUMNS, ROWS, 8, 0)
    assert ours.counts.tolist() == theirs.counts.tolist() == [10] * 8
    assert ours.indices(0).tolist() != theirs.indices(0).tolist()


def shards(config, columns, rows, clients, seed):
    partitioner = library.PathologicalPartitioner(clients, "text", num_classes_per_partition=2, seed=seed)
    return from_flwr(partitioner, columns, rows)


def test_any_partitioner_of_the_library_from_a_config():
    partition = make_partition(PartitionConfig(name=f"{__name__}:shards"), COLUMNS, ROWS, 6, 0)
    assert [len(set(COLUMNS["text"][partition.indices(c)])) for c in range(6)] == [2] * 6
    assert len(np.unique(partition.rows)) == len(partition.rows)


def test_what_the_library_refuses_is_one_line():
    with pytest.raises(InputError, match="IidPartitioner"):
        from_flwr(library.IidPartitioner(200), COLUMNS, ROWS)
