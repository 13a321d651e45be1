"""The workload that the engine is measured on: N clients × 20 utterances of 100×40 features, 3 to 10 tokens each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.config.schema import DataConfig, PartitionConfig
from fedasr.data.corpus import Column, Waveform
from fedasr.data.partition import Partition

FRAMES, MEL, PER_CLIENT, DISTINCT = 100, 40, 20, 1000
ALPHABET = "abcdefghijklmnopqrstuvwxyz'-#+."


class FeatureCorpus:
    """1,000 distinct utterances of random features; clients share them, since only the cost matters."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.table = rng.normal(size=(DISTINCT, FRAMES, MEL)).astype(np.float32)
        texts = ["".join(rng.choice(list(ALPHABET), size=rng.integers(3, 11))) for _ in range(DISTINCT)]
        self.columns: Mapping[str, Column] = {
            "speaker": np.array(["s"] * DISTINCT, object),
            "text": np.array(texts, object),
            "split": np.array(["train"] * (DISTINCT - 10) + ["test"] * 10, object),
            "duration_s": np.full(DISTINCT, FRAMES / 100, np.float32),
        }

    def __len__(self) -> int:
        return DISTINCT

    def features(self, index: int) -> npt.NDArray[np.float32]:
        """Return the features of an utterance, shape ``(100, 40)``."""
        result: npt.NDArray[np.float32] = self.table[index]
        return result

    def waveform(self, index: int) -> Waveform:
        """Return nothing: this corpus has features only."""
        raise TypeError("the benchmark corpus has no waveforms")

    def content_key(self, index: int) -> bytes:
        """Return a key."""
        return index.to_bytes(8, "little")

    def where(self, index: int) -> str:
        """Return where an utterance comes from."""
        return f"benchmark utterance {index}"


class Names(Sequence[str]):
    """The names of clients, made when asked for."""

    def __init__(self, clients: int) -> None:
        self.clients = clients

    def __len__(self) -> int:
        return self.clients

    def __getitem__(self, client: Any) -> Any:
        return f"c{client}"

    def __iter__(self) -> Iterator[str]:
        return (f"c{client}" for client in range(self.clients))

    def tolist(self) -> list[str]:
        """Return all of them, as an array would."""
        return [f"c{client}" for client in range(self.clients)]


class Cyclic(Partition):
    """Client c holds utterances 20c … 20c+19, modulo the distinct ones: a million clients cost nothing."""

    def __init__(self, clients: int, rows: npt.NDArray[np.integer]) -> None:
        object.__setattr__(self, "names", Names(clients))
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "offsets", PER_CLIENT * np.arange(clients + 1))
        object.__setattr__(self, "dropped", 0)

    def indices(self, client: int) -> npt.NDArray[np.integer]:
        """Return the rows of a client."""
        return self.rows[(client * PER_CLIENT + np.arange(PER_CLIENT)) % len(self.rows)]

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Utterances of each client."""
        return np.full(len(self), PER_CLIENT, np.int64)

    def seconds(self, durations: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Audio of each client in seconds."""
        return np.full(len(self), PER_CLIENT * FRAMES / 100)


def corpus(config: DataConfig, seed: int) -> FeatureCorpus:
    """Return the corpus (``data.corpus: benchmarks.workload:corpus``)."""
    return FeatureCorpus(seed)


def partition(
    config: PartitionConfig,
    columns: Mapping[str, Column],
    rows: npt.NDArray[np.integer],
    clients: int | None,
    seed: int,
) -> Partition:
    """Return the partition (``data.partition.name: benchmarks.workload:partition``)."""
    return Cyclic(clients or 1000, rows)


def config(clients: int, rounds: int, workers: int, echo: bool) -> dict[str, Any]:
    """Return the config of workload W, or O (``echo``: the clients return the model unchanged)."""
    return {
        "name": "O" if echo else "W",
        "rounds": rounds,
        "data": {
            "corpus": "benchmarks.workload:corpus",
            "clients": clients,
            "partition": {"name": "benchmarks.workload:partition"},
            "features": {"mel_bins": MEL},
        },
        "model": {
            "name": "ctc",
            "encoder": "lstm",
            "channels": [64, 96],
            "strides": [2, 2],
            "hidden": 128,
            "layers": 1,
            "norm": "none",
            "alphabet": f"chars:{ALPHABET}",
        },
        "client": {
            "optimizer": "sgd",
            "learning_rate": 0.01,
            "epochs": 0 if echo else 1,
            "batch_size": 10,
            "clip_norm": None,
            "group_by_length": False,
        },
        "selection": {"clients_per_round": 50},
        "evaluate": {"every": 0},
        "runtime": {"workers": workers},
    }
