import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.data import heterogeneity as module
from fedasr.data.heterogeneity import client_pairs, gini, heterogeneity, jensen_shannon, label_counts, lorenz
from fedasr.data.partition import Partition
from fedasr.errors import InputError
from tests.tiers import examples


def clients(*texts):
    """Return the partition and columns in which client ``c`` has the one-letter transcripts ``texts[c]``."""
    ids = np.repeat(np.arange(len(texts)), [len(t) for t in texts])
    partition = Partition.from_ids(ids, np.arange(len(ids)), [f"c{i}" for i in range(len(texts))])
    return partition, {"text": np.array(list("".join(texts)), object)}


def divergence(*texts):
    partition, columns = clients(*texts)
    pairs = client_pairs(np.arange(len(texts)), 200, 0)
    return jensen_shannon(label_counts(partition, columns, "text"), pairs)


def test_gini_of_equal_and_of_one_holds_all():
    assert gini(np.ones(4)) == 0
    assert gini(np.array([0.0, 0, 0, 7])) == pytest.approx(3 / 4)
    assert gini(np.array([1.0, 3])) == pytest.approx(1 / 4)
    assert gini(np.zeros(3)) == 0
    assert gini(np.array([5.0])) == 0


@settings(max_examples=examples(50), deadline=None)
@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=30))
def test_gini_is_half_the_relative_mean_difference_and_the_area_above_lorenz(values):
    x = np.array(values)
    wanted = np.abs(x[:, None] - x).mean() / (2 * x.mean())
    assert gini(x) == pytest.approx(wanted, abs=1e-9)
    share, held = lorenz(x)
    assert 1 - 2 * np.trapezoid(held, share) == pytest.approx(wanted, abs=1e-9)


def test_divergence_is_one_bit_where_disjoint_and_zero_where_equal():
    assert divergence("aab", "cd") == pytest.approx([1])
    assert divergence("aab", "aaaabb") == pytest.approx([0], abs=1e-15)
    # p = (1, 0), q = (1/2, 1/2): H(3/4, 1/4) - H(q)/2 in bits
    assert divergence("a", "ab") == pytest.approx([-0.75 * np.log2(0.75) - 0.25 * np.log2(0.25) - 0.5])


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.text("abcdef", min_size=1, max_size=9), min_size=2, max_size=7), st.sampled_from([1, 5, 10**6]))
def test_divergence_equals_its_definition(texts, block):
    letters = "abcdef"
    shares = np.array([[t.count(c) / len(t) for c in letters] for t in texts])

    def entropy(p):
        p = p[p > 0]
        return -(p * np.log2(p)).sum()

    wanted = [
        entropy((shares[i] + shares[j]) / 2) - (entropy(shares[i]) + entropy(shares[j])) / 2
        for i in range(len(texts))
        for j in range(i + 1, len(texts))
    ]
    before = module.BLOCK
    module.BLOCK = block
    try:
        assert divergence(*texts) == pytest.approx(wanted, abs=1e-9)
    finally:
        module.BLOCK = before


def test_the_report_of_three_clients():
    partition, columns = clients("aab", "ab", "ccc")
    durations = np.array([1, 1, 1, 2, 2, 3, 3, 3], np.float32)
    report = heterogeneity(partition, columns, durations)
    assert (report["clients"], report["utterances"], report["labels"], report["pairs"]) == (3, 8, 3, 3)
    assert report["hours"] == pytest.approx(16 / 3600)
    assert report["hours_gini"] == pytest.approx(gini(np.array([3.0, 4, 9])))
    assert report["utterances_per_client"] == {"min": 2, "median": 3.0, "mean": pytest.approx(8 / 3), "max": 3}
    assert report["seconds_per_client"] == {"min": 3.0, "median": 4.0, "mean": pytest.approx(16 / 3), "max": 9.0}
    assert report["clients_per_label"] == {"min": 1, "median": 2.0, "mean": pytest.approx(5 / 3), "max": 2}
    assert report["labels_per_client"] == {"min": 1, "median": 2.0, "mean": pytest.approx(5 / 3), "max": 2}
    assert report["jensen_shannon"] == pytest.approx((divergence("aab", "ab")[0] + 2) / 3)


def test_another_column_and_an_unknown_one():
    partition, columns = clients("ab", "ab")
    columns["accent"] = np.array(["x", "x", "y", "y"], object)
    durations = np.ones(4, np.float32)
    assert heterogeneity(partition, columns, durations, label="accent")["jensen_shannon"] == 1
    with pytest.raises(InputError, match=r"no column 'accemt' \(did you mean 'accent'\?\)"):
        heterogeneity(partition, columns, durations, label="accemt")


def test_many_clients_are_sampled_near_the_exact_value():
    rng = np.random.default_rng(0)
    partition, columns = clients(*["".join(rng.choice(list("abcdefgh"), 6)) for _ in range(300)])
    durations = np.ones(len(partition.rows), np.float32)
    exact = heterogeneity(partition, columns, durations, sample=300)
    sampled = heterogeneity(partition, columns, durations, sample=60)
    assert (exact["pairs"], sampled["pairs"]) == (300 * 299 // 2, 60 * 59 // 2)
    assert sampled["jensen_shannon"] == pytest.approx(exact["jensen_shannon"], abs=0.02)
    assert exact["jensen_shannon_iid"] == pytest.approx(exact["jensen_shannon"], abs=0.03), "these are IID"
    pairs = client_pairs(np.arange(300), 60, 0)
    assert (pairs[:, 0] != pairs[:, 1]).all()


def test_one_client_has_no_pair():
    partition, columns = clients("abc")
    assert heterogeneity(partition, columns, np.ones(3, np.float32))["jensen_shannon"] == 0
