"""Tiny corpora with times, by hand."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fedasr.config.schema import StreamConfig
from fedasr.data.partition import Partition
from fedasr.data.stream import Stream, make_stream


@dataclass
class Table:
    """A corpus without sound."""

    columns: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.columns["duration_s"])

    def waveform(self, index):
        raise NotImplementedError

    def content_key(self, index):
        raise NotImplementedError

    def where(self, index: int) -> str:
        return f"table.csv:{index + 2}"


def table(size, **columns) -> Table:
    """Return a corpus of ``size`` utterances; utterance ``i`` lasts 2^i seconds, up to 2^20."""
    made = {name: np.array(values, object) for name, values in columns.items()}
    made["duration_s"] = (2.0 ** np.minimum(np.arange(size), 20)).astype(np.float32)
    return Table(made)


def stream_of(corpus, sizes, *, rounds=100, seed=0, **keys) -> Stream:
    """Return a stream in which consecutive rows belong to clients of these sizes."""
    partition = Partition.from_ids(
        np.repeat(np.arange(len(sizes)), sizes), np.arange(sum(sizes)), [f"c{i}" for i in range(len(sizes))]
    )
    return make_stream(StreamConfig(**keys), rounds, partition, corpus, corpus.columns["duration_s"], seed)
