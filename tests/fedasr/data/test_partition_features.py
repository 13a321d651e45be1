import numpy as np
import pytest

from fedasr.config.schema import CacheConfig, DataConfig, PartitionConfig
from fedasr.data.features import LogMel
from fedasr.data.partition import make_partition, utterance_embeddings
from fedasr.data.partition.features import cluster
from fedasr.errors import InputError

pytest.importorskip("sklearn", reason="scikit-learn is not installed")


class Tones:
    """A tiny corpus: even rows are low and loud, odd rows are high and soft."""

    def __init__(self, utterances=40):
        self.rendered = 0
        self.utterances = utterances
        self.columns = {
            "speaker": np.array([f"s{i % 4}" for i in range(utterances)], object),
            "text": np.full(utterances, "a", object),
            "split": np.full(utterances, "train", object),
            "duration_s": np.full(utterances, 0.2, np.float32),
        }

    def __len__(self):
        return self.utterances

    def waveform(self, index):
        self.rendered += 1
        hertz, gain = (200, 0.5) if index % 2 == 0 else (2000, 0.05)
        noise = np.random.default_rng(index).normal(0, 0.01 * gain, 3200)
        return (gain * np.sin(2 * np.pi * hertz * np.arange(3200) / 16_000) + noise).astype(np.float32)

    def content_key(self, index):
        return f"tone-{index}".encode()

    def where(self, index):
        return f"tone {index}"


def config():
    return DataConfig(cache=CacheConfig(directory="off"))


def test_embeddings_are_means_and_deviations_of_features_that_are_not_normalised():
    corpus = Tones()
    embed = utterance_embeddings(corpus, config())
    result = embed(np.array([3, 0]))
    assert result.shape == (2, 80)
    features = config().features
    features.normalize = "none"
    raw = LogMel(features)(corpus.waveform(3))
    assert result[0] == pytest.approx(np.concatenate([raw.mean(axis=0), raw.std(axis=0)]))
    before = corpus.rendered
    assert embed(np.array([0])).tolist() == result[1:].tolist()
    assert corpus.rendered == before, "the second time comes from the cache"


def test_a_corpus_with_features_of_its_own_is_taken_at_its_word():
    corpus = Tones()
    corpus.features = lambda row: np.full((5, 2), row, np.float32)
    assert utterance_embeddings(corpus, config())(np.array([7])).tolist() == [[7, 7, 0, 0]]


def test_clients_differ_in_sound():
    corpus = Tones(200)
    partition = make_partition(
        PartitionConfig(name="feature-kmeans", clusters=2, alpha=0.01), corpus.columns, np.arange(200), 10, 0,
        utterance_embeddings(corpus, config()),
    )  # fmt: skip
    assert partition.counts.tolist() == [20] * 10
    odd = np.array([np.mean(partition.indices(c) % 2) for c in range(10)])
    assert np.isin(odd, [0, 1]).sum() >= 8


def test_clusters_are_seeded():
    points = np.random.default_rng(0).normal(size=(300, 5))
    first, again = (cluster(points, 6, np.random.default_rng(1)) for _ in range(2))
    assert first.tolist() == again.tolist()
    assert sorted(set(first.tolist())) == list(range(6))


def test_fewer_distinct_points_than_clusters():
    points = np.repeat([[0.0, 1.0], [5.0, 1.0]], 10, axis=0)
    assert set(cluster(points, 5, np.random.default_rng(0)).tolist()) == {0, 1}


def test_embeddings_that_say_nothing_are_refused():
    normalised = np.random.default_rng(0).normal([0, 0, 1, 1], 1e-7, (50, 4))
    with pytest.raises(InputError, match="all utterance embeddings are alike"):
        cluster(normalised, 3, np.random.default_rng(0))
    with pytest.raises(InputError, match="not finite"):
        cluster(np.full((50, 4), np.nan), 3, np.random.default_rng(0))


def test_embeddings_are_needed():
    with pytest.raises(InputError, match="needs utterance embeddings"):
        make_partition(PartitionConfig(name="feature-kmeans"), Tones().columns, np.arange(40), 4, 0)
