import io

import numpy as np
import pytest

from fedasr.data.partition import Partition
from fedasr.results.figures import describe
from fedasr.results.figures.describe import figure, shown_clients


def held(clients, each, labels, seed=0):
    rng = np.random.default_rng(seed)
    n = clients * each
    partition = Partition.from_ids(np.repeat(np.arange(clients), each), np.arange(n), [f"c{i}" for i in range(clients)])
    columns = {"text": np.array([f"word {i} $x^2$" for i in rng.integers(0, labels, n)], object)}
    return partition, columns, rng.uniform(1, 4, n).astype(np.float32)


def drawn(partition, columns, durations):
    fig = figure(partition, columns, durations)
    fig.savefig(io.BytesIO(), format="png", dpi=40)
    return fig, [ax for part in fig.subfigs for ax in part.axes]


def test_the_heat_map_shows_shares_in_percent():
    partition = Partition.from_ids(np.array([0, 0, 0, 0, 1]), np.arange(5), ["a", "b"])
    columns = {"text": np.array(["x", "x", "x", "y", "y"], object)}
    _, axes = drawn(partition, columns, np.ones(5, np.float32))
    image = axes[3].images[0].get_array()
    assert np.asarray(image).tolist() == [[75, 0], [25, 100]]
    assert [text.get_text() for text in axes[3].get_yticklabels()] == ["x", "y"]


def test_many_clients_and_labels_are_thinned_out():
    partition, columns, durations = held(3000, 3, 50)
    _, axes = drawn(partition, columns, durations)
    assert np.asarray(axes[3].images[0].get_array()).shape == (describe.SHOWN_LABELS, describe.SHOWN_CLIENTS)
    assert "3,000" in axes[3].get_xlabel()
    assert "20 most frequent of 50" in axes[3].get_title(loc="left")
    assert len(shown_clients(partition, 0)) == len(set(shown_clients(partition, 0).tolist())) == 80


def test_numbers_in_the_figure_are_those_of_the_report():
    from fedasr.data.heterogeneity import heterogeneity

    partition, columns, durations = held(30, 5, 4)
    report = heterogeneity(partition, columns, durations)
    _, axes = drawn(partition, columns, durations)
    assert f"Gini {report['hours_gini']:.2f}" in [text.get_text() for text in axes[1].texts]
    legend = [text.get_text() for text in axes[2].get_legend().get_texts()]
    assert legend == [
        f"this partition, mean {report['jensen_shannon']:.2f}",
        f"shuffled labels, mean {report['jensen_shannon_iid']:.2f}",
    ]
    shares = sum(bar.get_height() for bar in axes[2].patches if hasattr(bar, "get_height"))
    assert shares == pytest.approx(100)


def test_one_client():
    partition, columns, durations = held(1, 4, 2)
    _, axes = drawn(partition, columns, durations)
    assert "no pair" in axes[2].texts[0].get_text()
