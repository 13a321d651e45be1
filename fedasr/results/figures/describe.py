"""The picture of a partition: who holds how much, who holds what, and how unlike the clients are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from fedasr import seeds
from fedasr.data.corpus import Column
from fedasr.data.heterogeneity import LabelCounts, client_pairs, gini, jensen_shannon, label_counts, lorenz
from fedasr.data.partition.base import Partition
from fedasr.results.figures import style
from fedasr.units import SECONDS, duration, suit

SHOWN_CLIENTS = 80
SHOWN_LABELS = 20
LONGEST_LABEL = 22
POINTS = 2000
"""A curve of more clients than this is thinned out; nobody can see more."""

OURS, CHANCE = style.SERIES[0], style.SERIES[4]


def figure(
    partition: Partition,
    columns: Mapping[str, Column],
    durations: npt.NDArray[np.floating],
    label: str = "text",
    sample: int = 200,
    seed: int = 0,
) -> Figure:
    """Draw a partition: audio per client, its Lorenz curve, the divergence of client pairs, and clients by labels.

    Args:
        partition: who holds what.
        columns: the corpus's columns, each of shape ``(corpus,)``.
        durations: seconds of every utterance of the corpus, shape ``(corpus,)``.
        label: the column whose distribution is compared between clients.
        sample: as in ``heterogeneity``, with whose numbers the figure agrees.
        seed: of the pairs of clients, of the shuffle, and of the clients that are shown.

    Raises:
        InputError: there is no such column.
    """
    counts = label_counts(partition, columns, label)
    seconds = partition.seconds(durations)
    pairs = client_pairs(np.flatnonzero(partition.counts), sample, seed)
    fig = style.figure(9.6, 6.4, pad=0.12)
    # Two subfigures, so that long labels below do not narrow the axes above.
    top, bottom = fig.subfigures(2, 1, squeeze=False, height_ratios=(1.0, 1.25))[:, 0]
    above = [style.quiet(ax) for ax in top.subplots(1, 3)]
    draw_seconds(above[0], seconds)
    draw_lorenz(above[1], seconds)
    draw_divergence(above[2], jensen_shannon(counts, pairs), jensen_shannon(counts.shuffled(seed), pairs))
    draw_labels(style.quiet(bottom.subplots()), partition, counts, label, seed)
    return fig


def draw_seconds(ax: Axes, seconds: npt.NDArray[np.float64]) -> None:
    """Draw the audio of each client, most first."""
    scale = suit(float(seconds.max()), SECONDS)
    held = np.sort(seconds)[::-1] / scale.divisor
    at = np.unique(np.linspace(0, len(held) - 1, POINTS).astype(np.int64))
    ax.fill_between(np.append(at, len(held)), np.append(held[at], held[-1]), step="post", color=OURS, linewidth=0)
    ax.set_xlim(0, len(held))
    ax.set_ylim(0, 1.06 * held[0] or 1)
    middle = float(np.median(held))
    ax.axhline(middle, color=style.INK, linewidth=0.9, linestyle="--")
    ax.annotate(
        f"median {duration(middle * scale.divisor)}", (1, middle), xycoords=("axes fraction", "data"), xytext=(-2, 3),
        textcoords="offset points", ha="right", color=style.INK, fontsize=style.LABEL_POINTS,
    )  # fmt: skip
    style.name_axes(ax, "Clients, most audio first", f"Audio per client ({scale.unit})")
    style.whole_numbers(ax)


def draw_lorenz(ax: Axes, seconds: npt.NDArray[np.float64]) -> None:
    """Draw the Lorenz curve of the audio, and its Gini coefficient: twice the shaded area."""
    clients, held = lorenz(seconds)
    at = np.unique(np.linspace(0, len(clients) - 1, POINTS).astype(np.int64))
    x, y = 100 * clients[at], 100 * held[at]
    ax.plot([0, 100], [0, 100], color=style.MUTED, linewidth=0.9, linestyle="--")
    ax.plot(x, y, color=OURS, linewidth=1.8)
    ax.fill_between(x, y, x, color=OURS, alpha=0.15, linewidth=0)
    ax.set_xlim(0, 100)
    ax.set_ylim(0, 100)
    ax.text(6, 88, f"Gini {gini(seconds):.2f}", color=style.INK, fontsize=style.TEXT_POINTS)
    style.name_axes(ax, "Clients, least audio first (%)", "Share of all audio (%)")


def draw_divergence(ax: Axes, ours: npt.NDArray[np.float64], chance: npt.NDArray[np.float64]) -> None:
    """Draw how the Jensen–Shannon divergence of client pairs is distributed, beside what chance makes of it."""
    style.name_axes(ax, "Jensen–Shannon divergence (bits)", "Client pairs (%)")
    ax.set_xlim(0, 1)
    if not len(ours):
        ax.set_yticks([])
        ax.text(0.5, 0.5, "a single client has no pair", ha="center", color=style.MUTED, fontsize=style.TEXT_POINTS)
        return
    bins = np.linspace(0, 1, 41).tolist()
    weights = np.full(len(ours), 100 / len(ours))
    ax.hist(ours, bins, weights=weights, color=OURS, alpha=0.85, label=f"this partition, mean {ours.mean():.2f}")
    ax.hist(
        chance, bins, weights=weights, histtype="step", color=CHANCE, linewidth=1.6,
        label=f"shuffled labels, mean {chance.mean():.2f}",
    )  # fmt: skip
    ax.set_ylim(0, 1.32 * ax.get_ylim()[1])  # room for the legend
    ax.set_yticks([tick for tick in ax.get_yticks() if tick <= 100])
    ax.legend(loc="upper left", frameon=False, fontsize=7.5, labelcolor=style.INK, handlelength=1.2, borderaxespad=0.4)


def draw_labels(ax: Axes, partition: Partition, counts: LabelCounts, label: str, seed: int) -> None:
    """Draw which share of a client's utterances each of the most frequent labels has."""
    totals = np.bincount(counts.label, counts.count, len(counts.names))
    labels = np.argsort(-totals, kind="stable")[:SHOWN_LABELS]
    clients = shown_clients(partition, seed)
    share = 100 * counts.dense(clients, labels) / partition.counts[clients][:, None]
    # Clients of the same main label stand side by side, the most one-sided first; those that have none shown, last.
    most = share.max(axis=1)
    share = share[np.lexsort((-most, np.where(most > 0, share.argmax(axis=1), len(labels))))]
    white_to_ours = LinearSegmentedColormap.from_list("ours", ["white", OURS, style.INK])
    image = ax.imshow(share.T, cmap=white_to_ours, vmin=0, vmax=100, aspect="auto", interpolation="nearest")
    ax.grid(False)
    ax.set_xticks([])
    ax.set_yticks(range(len(labels)), [shorten(counts.names[index]) for index in labels], parse_math=False, fontsize=7)
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.tick_params(length=0)
    of_labels = "" if len(labels) == len(counts.names) else f"the {len(labels)} most frequent of "
    of_clients = "" if len(clients) == len(partition) else f"{len(clients)} random ones of "
    style.name_axes(
        ax,
        f"Clients ({of_clients}{len(partition):,}), by main label",
        f"Label '{label}' ({of_labels}{len(counts.names):,})",
    )
    bar = ax.figure.colorbar(image, ax=ax, pad=0.01, fraction=0.03)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=style.MUTED, labelcolor=style.INK, labelsize=style.LABEL_POINTS, width=0.8, length=3)
    bar.set_label("Share of a client's utterances (%)", color=style.INK, fontsize=style.LABEL_POINTS)


def shown_clients(partition: Partition, seed: int) -> npt.NDArray[np.int64]:
    """Return the clients that hold something; where there are many, some of them drawn by the seed."""
    holding = np.flatnonzero(partition.counts)
    if len(holding) <= SHOWN_CLIENTS:
        return holding
    return np.sort(seeds.generator(seed, "describe/clients").choice(holding, SHOWN_CLIENTS, replace=False))


def shorten(text: str) -> str:
    """Return a label short enough for an axis."""
    return text if len(text) <= LONGEST_LABEL else f"{text[: LONGEST_LABEL - 1].rstrip()}…"
