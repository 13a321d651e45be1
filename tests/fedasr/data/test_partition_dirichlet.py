import numpy as np
import pytest

from fedasr.config.schema import PartitionConfig
from fedasr.data.partition import make_partition
from fedasr.data.partition.dirichlet import dirichlet_draws, round_shares


def make(name, codes, clients, seed=0, alpha=0.5):
    columns = {"text": np.asarray(codes)}
    return make_partition(
        PartitionConfig(name=name, column="text", alpha=alpha), columns, np.arange(len(codes)), clients, seed
    )


def by_label(partition, codes, clients, labels):
    """Return the counts of shape ``(clients, labels)``, rows of dropped clients left out."""
    counts = np.zeros((clients, labels), int)
    for client in range(len(partition)):
        held = np.bincount(codes[partition.indices(client)], minlength=labels)
        counts[int(partition.names[client].removeprefix("client-"))] = held
    return counts


@pytest.mark.parametrize("concentration", [0.02, 0.5, 3.0])
def test_draws_have_the_moments_of_the_law(concentration):
    draws = dirichlet_draws(np.full((20_000, 4), concentration), np.random.default_rng(0))
    assert draws.sum(axis=1) == pytest.approx(1)
    assert draws.mean(axis=0) == pytest.approx(0.25, abs=0.015)
    assert draws.var(axis=0) == pytest.approx(0.25 * 0.75 / (4 * concentration + 1), rel=0.08)


@pytest.mark.parametrize("concentration", [1e-310, 1e-100, 1e-4, 1e300])
def test_no_concentration_gives_nan(concentration):
    draws = dirichlet_draws(np.full((1000, 7), concentration), np.random.default_rng(0))
    assert np.isfinite(draws).all()
    assert draws.sum(axis=1) == pytest.approx(1)


def test_tiny_concentrations_choose_one_category_in_proportion():
    draws = dirichlet_draws(np.tile([1e-6, 3e-6], (4000, 1)), np.random.default_rng(0))
    assert draws.max(axis=1).min() > 0.999
    assert draws[:, 1].mean() == pytest.approx(0.75, abs=0.03)


def test_rounding_is_exact_near_and_without_bias():
    shares = np.tile([0.35, 0.0, 0.05, 0.6], (20_000, 1))
    counts = round_shares(shares, np.full(20_000, 7), np.random.default_rng(0))
    assert (counts.sum(axis=1) == 7).all()
    assert (np.abs(counts - 7 * shares) < 1).all()
    assert counts.mean(axis=0) == pytest.approx(7 * shares[0], abs=0.02)


@pytest.mark.thorough
def test_symmetric_equals_flwr_datasets_in_law():
    """Moments of a client's share of a label, where labels are frequent enough for the library's rounding."""
    partitioner = pytest.importorskip("flwr_datasets.partitioner", reason="flwr-datasets is not installed")
    from datasets import Dataset

    labels, clients, alpha = 60, 12, 0.5
    codes = np.repeat(np.arange(labels), 400)
    library = partitioner.DirichletPartitioner(clients, "text", alpha, min_partition_size=0, shuffle=False, seed=3)
    library.dataset = Dataset.from_dict({"text": codes.tolist(), "row": list(range(len(codes)))})
    theirs = np.array([np.bincount(library.load_partition(c)["text"], minlength=labels) for c in range(clients)])
    ours = by_label(make("dirichlet", codes, clients, alpha=alpha), codes, clients, labels)
    assert ours.sum() == theirs.sum() == len(codes)
    for power in (1, 2, 3):
        # 720 shares each: the standard error of the second and third moment is about 7 % and 9 %.
        moments = [((counts / 400) ** power).mean() for counts in (ours, theirs)]
        assert moments[0] == pytest.approx(moments[1], rel=0.3)
    variance = (1 / clients) * (1 - 1 / clients) / (clients * alpha + 1)
    assert (ours / 400).var() == pytest.approx(variance, rel=0.25)


def test_symmetric_favours_no_client_where_labels_are_rare():
    """flwr-datasets 0.6 gives its last client an utterance of every label: all 300 of these."""
    codes = np.arange(300)
    totals = sum(by_label(make("dirichlet", codes, 10, seed), codes, 10, 300).sum(axis=1) for seed in range(20))
    assert totals.sum() == 6000
    assert totals == pytest.approx(600, abs=130)  # five standard deviations of a binomial


def test_symmetric_shuffles_within_a_label():
    codes = np.zeros(1000, int)
    partition = make("dirichlet", codes, 4, alpha=100.0)
    assert all(np.diff(partition.indices(c)).max() > 1 for c in range(4))


def test_alpha_orders_the_skew():
    codes = np.repeat(np.arange(10), 300)
    for name in ("dirichlet", "dirichlet-prior"):
        largest = []
        for alpha in (0.01, 1.0, 1000.0):
            counts = by_label(make(name, codes, 20, alpha=alpha), codes, 20, 10)
            counts = counts[counts.sum(axis=1) > 0]
            largest.append((counts.max(axis=1) / counts.sum(axis=1)).mean())
        assert largest[0] > largest[1] > largest[2]
        assert largest[2] < 0.15


def test_prior_makes_clients_of_equal_size():
    codes = np.random.default_rng(0).integers(0, 35, 1357)
    for alpha in (1e-300, 0.1, 10.0):
        partition = make("dirichlet-prior", codes, 166, alpha=alpha)
        assert len(partition) == 166
        assert set(partition.counts.tolist()) == {8, 9}


@pytest.mark.thorough
def test_prior_follows_the_prior():
    codes = np.repeat([0, 1, 2], [8000, 1500, 500])
    large = by_label(make("dirichlet-prior", codes, 50, alpha=1e9), codes, 50, 3)
    assert np.abs(large - [160, 30, 10]).max() <= 2
    # The first client's pools are full: its expected shares are the prior.
    first = [by_label(make("dirichlet-prior", codes, 50, seed, alpha=0.5), codes, 50, 3)[0] for seed in range(300)]
    assert np.mean(first, axis=0) / 200 == pytest.approx([0.8, 0.15, 0.05], abs=0.07)


def test_prior_tops_up_from_what_remains():
    # Each client wants one label only; three pools of 4 cannot fill four clients of 3 without mixing.
    codes = np.repeat([0, 1, 2], 4)
    for seed in range(10):
        partition = make("dirichlet-prior", codes, 4, seed, alpha=1e-9)
        counts = by_label(partition, codes, 4, 3)
        assert counts.sum(axis=0).tolist() == [4, 4, 4]
        assert counts.sum(axis=1).tolist() == [3, 3, 3, 3]
        assert counts[0].max() == 3
