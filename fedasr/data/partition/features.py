"""Feature skew: clients differ in how their speech sounds, not in what is said."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from fedasr.config.schema import DataConfig
from fedasr.data.cache import FeatureCache
from fedasr.data.corpus import Corpus
from fedasr.data.features import LogMel
from fedasr.data.partition.base import Partition
from fedasr.data.partition.dirichlet import by_prior
from fedasr.data.partition.request import Codes, Embed, Request
from fedasr.errors import InputError


def feature_kmeans(request: Request) -> Partition:
    """Return equal-sized clients that are skewed in clusters of utterance embeddings (FedNLP's feature skew).

    The embeddings are clustered by k-means, and the clusters are the labels of ``dirichlet-prior``. A server that
    clusters its clients' data sees that data: this makes a simulation, it is nothing for devices.

    Raises:
        InputError: no embeddings, embeddings that are all alike, more clusters than utterances, or no scikit-learn.
    """
    if request.embed is None:
        raise InputError("partition 'feature-kmeans' needs utterance embeddings; pass 'embed' to make_partition")
    if request.config.clusters > len(request.rows):
        raise InputError(
            f"'data.partition.clusters' is {request.config.clusters}, but there are only {len(request.rows)} training"
            " utterances; ask for fewer clusters"
        )
    codes = cluster(np.asarray(request.embed(request.rows)), request.config.clusters, request.generator("kmeans"))
    return by_prior(request, codes, int(codes.max()) + 1)


def utterance_embeddings(corpus: Corpus, config: DataConfig) -> Embed:
    """Return the embedding of utterances: mean and deviation over time of each log-mel band, ``(n, 2·mel)``, float32.

    The features are not normalised per utterance: that would make every mean 0 and every deviation 1. A corpus with a
    method ``features(row) -> (frames, mel)`` of its own is taken at its word.
    """
    log_mel = LogMel(replace(config.features, normalize="none"))
    cache = FeatureCache(config.cache)
    own = getattr(corpus, "features", None)

    def embedding(row: int) -> npt.NDArray[np.float32]:
        features = log_mel(corpus.waveform(row)) if own is None else own(row)
        return np.concatenate([features.mean(axis=0), features.std(axis=0)])

    def embed(rows: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        if own is not None:
            return np.stack([embedding(row) for row in rows.tolist()])
        keys = [b"embedding" + log_mel.key + corpus.content_key(row) for row in rows.tolist()]
        return np.stack(
            [cache.get_or_compute(key, partial(embedding, row)) for key, row in zip(keys, rows.tolist(), strict=True)]
        )

    return embed


def cluster(embeddings: npt.NDArray[np.floating], clusters: int, rng: np.random.Generator) -> Codes:
    """Return the cluster of each embedding, numbered from 0 without gaps, shape ``(utterances,)``.

    Every dimension is scaled to unit variance first; otherwise the loudest mel band decides.

    Args:
        embeddings: shape ``(utterances, dimensions)``.
        clusters: k of k-means; fewer are found where fewer embeddings are distinct.
        rng: draws the seed of k-means.

    Raises:
        InputError: the embeddings are not finite or all alike, or scikit-learn is not installed.
    """
    try:
        from sklearn.cluster import MiniBatchKMeans
        from sklearn.exceptions import ConvergenceWarning
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError:
        raise InputError(
            "partition 'feature-kmeans' needs scikit-learn, which is not installed: pip install \"fedasr[partition]\""
        ) from None
    if not np.isfinite(embeddings).all():
        raise InputError("partition 'feature-kmeans': an utterance embedding is not finite")
    spread = embeddings.std(axis=0)
    varied = spread > 1e-4 * (1.0 + np.abs(embeddings).max(axis=0))
    if not varied.any():
        raise InputError(
            "partition 'feature-kmeans': all utterance embeddings are alike (features normalised per utterance have"
            " mean 0 and deviation 1); embed features that are not normalised"
        )
    scaled = (embeddings[:, varied] - embeddings[:, varied].mean(axis=0)) / spread[varied]
    # More threads would add up in another order: one, so that a seed means the same clusters everywhere.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # says that fewer points than clusters are distinct
        means = MiniBatchKMeans(clusters, random_state=int(rng.integers(2**31)), n_init=3, batch_size=1024)
        labels = means.fit_predict(scaled)
    codes: Codes = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    return codes
