"""The continual setting: speech that comes over time and may have to go again. See ``docs/continual.md``."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedasr.config.schema import StreamConfig
from fedasr.data.corpus import Corpus
from fedasr.data.partition import Partition
from fedasr.data.stream.arrivals import Arrivals, PoissonArrivals, TraceArrivals
from fedasr.data.stream.stream import Stored, Stream

__all__ = ["Arrivals", "Stored", "Stream", "make_stream"]


def make_stream(
    config: StreamConfig,
    rounds: int,
    partition: Partition,
    corpus: Corpus,
    durations: npt.NDArray[np.floating],
    seed: int,
) -> Stream:
    """Return what the devices of a run store in each of its rounds.

    Args:
        config: how speech arrives and what is kept.
        rounds: of the run.
        partition: what each client records in its whole life.
        corpus: its columns ``text`` and ``timestamp`` are read where the config asks for them.
        durations: seconds of every utterance of the corpus, shape ``(corpus,)``.
        seed: of the run.

    Raises:
        InputError: the corpus has no column ``timestamp`` and the config asks for it.
    """
    arrivals: Arrivals | None = None
    if config.arrival == "poisson":
        arrivals = PoissonArrivals(seed, config.periods, config.drift, corpus.columns["text"])
    elif config.arrival == "trace":
        arrivals = TraceArrivals(corpus, partition.rows, config.periods)
    return Stream(config, rounds, partition, durations, arrivals)
