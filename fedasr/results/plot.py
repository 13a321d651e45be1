"""Figures of runs, as matplotlib Figures: they show in a notebook and are saved by ``figure.savefig``.

Nothing here touches pyplot's global state. Rounds without evaluation are left out, not drawn as zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedasr.results import style
from fedasr.results.compare import Runs, curve_table, points
from fedasr.results.groups import Group, differing, group_runs
from fedasr.results.load import Run, as_run
from fedasr.results.participation import counts, population
from fedasr.results.units import BYTES, axis_label, metric_factor, metric_label, suit

Drawing = Callable[[Axes, Run], None]


def compare(runs: Runs, metric: str = "wer", x: str = "round") -> Figure:
    """Draw learning curves: the mean over seeds, and its 95 % t interval as a band.

    Args:
        runs: ``Run`` objects or run folders; those that differ only in their seed become one line.
        metric: a numeric column of ``rounds``.
        x: ``round``, ``bytes``, ``audio_seconds``, ``simulated_seconds`` or ``updates``.

    Raises:
        InputError: as ``fedasr.results.compare.curves``.
    """
    return compare_groups(group_runs(runs), metric, x)


def compare_groups(groups: Sequence[Group], metric: str = "wer", x: str = "round") -> Figure:
    """Draw ``compare`` of runs that are grouped already."""
    table = curve_table(groups, metric, x)
    label, divisor = axis_label(x, float(table[x].max()))
    factor = metric_factor(metric)
    counted = {len(group.runs) for group in groups}
    fig = style.figure()
    ax = style.axes(fig)
    ends = []
    for index, group in enumerate(groups):
        line = table[table["label"] == group.label]
        if not len(line):
            continue
        at = line[x].to_numpy(np.float64) / divisor
        mean, low, high = (factor * line[name].to_numpy(np.float64) for name in ("mean", "low", "high"))
        name = group.short if len(counted) == 1 else f"{group.short} ({len(group.runs)})"
        name = name.replace("$", r"\$")  # matplotlib reads text between dollars as a formula
        look = style.look(index)
        ax.plot(at, mean, label=name, linewidth=1.8, **look, **style.marker(len(at)))
        if len(at) > 1:
            ax.fill_between(at, low, high, color=look["color"], alpha=0.18, linewidth=0)
        elif np.isfinite(low).all():
            ax.errorbar(at, mean, yerr=high - mean, color=look["color"], linewidth=1.2, capsize=3)
        ends.append((float(at[-1]), float(mean[-1]), name, str(look["color"])))
    from_zero(ax)
    style.name_axes(ax, label, metric_label(metric))
    if x in ("round", "updates"):
        style.whole_numbers(ax)
    if len(ends) > 1:
        by_keys = any(group.short != group.label for group in groups)
        style.name_lines(ax, ends, ", ".join(differing(groups)) if by_keys else "")
    if max(counted) > 1:
        seeds = f"{counted.pop()} seeds" if len(counted) == 1 else "(n) seeds"
        ax.set_title(f"mean of {seeds}, 95 % interval", loc="right", color=style.MUTED, fontsize=7.5, pad=8)
    return fig


def run(run: Run | str | Path) -> Figure:
    """Draw a run at a glance: error rates, losses, participation and traffic."""
    loaded = as_run(run)
    fig = style.figure(9.6, 6.2, pad=0.12)
    axes = [style.quiet(ax) for ax in fig.subplots(2, 2).flat]
    for ax, draw in zip(axes, (draw_errors, draw_losses, draw_participation, draw_traffic), strict=True):
        draw(ax, loaded)
    return fig


def errors(run: Run | str | Path) -> Figure:
    """Draw word and character error rate over the rounds."""
    return single(draw_errors, run)


def losses(run: Run | str | Path) -> Figure:
    """Draw held-out and training loss over the rounds."""
    return single(draw_losses, run)


def participation(run: Run | str | Path) -> Figure:
    """Draw how many clients took part how often."""
    return single(draw_participation, run)


def traffic(run: Run | str | Path) -> Figure:
    """Draw the data sent up and down, summed over the rounds."""
    return single(draw_traffic, run)


def single(draw: Drawing, run: Run | str | Path) -> Figure:
    """Return a figure of one drawing."""
    fig = style.figure()
    draw(style.axes(fig), as_run(run))
    return fig


def draw_errors(ax: Axes, run: Run) -> None:
    """Draw word and character error rate in percent."""
    draw_metrics(ax, run, {"wer": "WER", "cer": "CER", "client_wer": "WER on clients"}, "Error rate (%)")


def draw_losses(ax: Axes, run: Run) -> None:
    """Draw held-out and training loss."""
    draw_metrics(ax, run, {"loss": "held-out", "train_loss": "training"}, "Loss (nats per character)")


def draw_metrics(ax: Axes, run: Run, names: dict[str, str], title: str) -> None:
    """Draw columns of ``rounds`` over the rounds, each where it has values."""
    ends = []
    for index, (metric, label) in enumerate(names.items()):
        at, values = points(run, metric)
        if len(at):
            values = values * metric_factor(metric)
            look = style.look(index)
            ax.plot(at, values, label=label, linewidth=1.8, **look, **style.marker(len(at)))
            ends.append((float(at[-1]), float(values[-1]), label, str(look["color"])))
    style.name_axes(ax, "Round", title)
    if not ends:
        return nothing(ax, "no evaluation yet")
    from_zero(ax)
    style.whole_numbers(ax)
    style.name_lines(ax, ends)


def draw_participation(ax: Axes, run: Run) -> None:
    """Draw the number of clients over the number of rounds in which their update arrived."""
    times = counts(run)
    known = population(run) is not None
    style.name_axes(ax, "Rounds taken part in", "Clients" if known else "Clients that were ever selected")
    if not len(times):
        return nothing(ax, "no client has been selected yet")
    bins = np.arange(times.max() + 2) - 0.5 if times.max() <= 40 else np.linspace(-0.5, times.max() + 0.5, 41)
    heights, edges = np.histogram(times, bins)
    ax.bar((edges[:-1] + edges[1:]) / 2, heights, width=0.86 * np.diff(edges), color=style.SERIES[0])
    style.whole_numbers(ax, y=True)


def draw_traffic(ax: Axes, run: Run) -> None:
    """Draw the data sent to the server and to the clients, summed over the rounds."""
    rounds = run.rounds
    totals = {name: rounds[name].fillna(0).cumsum().to_numpy(np.float64) for name in ("bytes_up", "bytes_down")}
    scale = suit(max((float(total[-1]) for total in totals.values() if len(total)), default=0.0), BYTES)
    style.name_axes(ax, "Round", f"Data sent so far ({scale.unit})")
    if not len(rounds):
        return nothing(ax, "no round has finished yet")
    at = rounds["round"].to_numpy(np.float64)
    ends = []
    for index, (name, total) in enumerate(totals.items()):
        label = "to the server" if name == "bytes_up" else "to the clients"
        dash = ("-", "--")[index]  # the two are often equal: the dashes let both be seen
        ax.plot(
            at, total / scale.divisor, dash, color=style.SERIES[index], label=label, linewidth=1.8,
            **style.marker(len(at)),
        )  # fmt: skip
        ends.append((float(at[-1]), float(total[-1] / scale.divisor), label, style.SERIES[index]))
    from_zero(ax)
    style.whole_numbers(ax)
    style.name_lines(ax, ends)


def from_zero(ax: Axes) -> None:
    """Start the y axis at zero where no line is below: a rate's size is read against it.

    The band of two or three seeds can be many times as wide as the curve is high; it is cut rather than let flatten
    the lines.
    """
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=np.float64) for line in ax.get_lines()])
    if np.nanmin(values) >= 0:
        highest = float(np.nanmax(values))
        ax.set_ylim(0, 1.06 * min(float(ax.dataLim.y1), 1.3 * highest) if highest else 1.0)


def nothing(ax: Axes, why: str) -> None:
    """Say why axes are empty."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.text(0.5, 0.5, why, ha="center", va="center", transform=ax.transAxes, color=style.MUTED, fontsize=9)
