"""Figures of runs, as matplotlib Figures: they show in a notebook and are saved by ``figure.savefig``.

Nothing here touches pyplot's global state. Rounds without evaluation are left out, not drawn as zero.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedasr.errors import InputError, nearest
from fedasr.results.figures import fairness as fairness_figure
from fedasr.results.figures import group_figures, style
from fedasr.results.figures.tradeoff import draw
from fedasr.results.load import Run, as_run
from fedasr.results.tables.compare import points
from fedasr.results.tables.fairness import read_fairness
from fedasr.results.tables.forgetting import at_period_ends
from fedasr.results.tables.groups import Runs, group_runs
from fedasr.results.tables.tradeoff import tradeoff as privacy_tradeoff
from fedasr.units import BYTES, metric_factor, suit

Drawing = Callable[[Axes, Run], None]


def compare(runs: Runs, metric: str = "wer", x: str = "round") -> Figure:
    """Draw learning curves: the mean over seeds, and its 95 % t interval as a band.

    Args:
        runs: ``Run`` objects or run folders; those that differ only in their seed become one line.
        metric: a numeric column of ``rounds``.
        x: ``round``, ``bytes``, ``audio_seconds``, ``simulated_seconds`` or ``updates``.

    Raises:
        InputError: as ``fedasr.results.tables.compare.curves``.
    """
    return group_figures.learning_curves(group_runs(runs), metric, x)


def deciles(runs: Runs) -> Figure:
    """Draw the final WER by decile of activity: the mean over seeds, and its 95 % t interval as a band.

    Args:
        runs: one or more ``Run`` objects or run folders; those that differ only in their seed become one line.

    Raises:
        InputError: no runs, or a folder is not a run folder.
    """
    return group_figures.deciles(group_runs(runs))


def fairness(run: Run | str | Path, attribute: str | None = None) -> Figure:
    """Draw the WER of each group of test speakers with its interval, as ``fairness.json`` has it.

    Args:
        run: a ``Run`` or run folder whose groups were compared (``fedasr.fairness``).
        attribute: whose values the groups are; None: the last that was compared.

    Raises:
        InputError: that attribute was not compared.
    """
    loaded = as_run(run)
    known = {one["attribute"]: one for one in read_fairness(loaded.path)}
    chosen = next(reversed(known), None) if attribute is None else attribute
    if chosen not in known:
        asked = "no attribute" if chosen is None else f"'{chosen}'{nearest(chosen, known)}"
        raise InputError(
            f"{asked} was compared; compare groups with fedasr.fairness or 'fedasr fairness' first",
            where=str(loaded.path),
        )
    return fairness_figure.groups(known[chosen])


def forgetting(runs: Runs) -> Figure:
    """Draw the forgetting of each past period: the mean over seeds, and its 95 % t interval.

    Args:
        runs: one or more ``Run`` objects or run folders of the continual setting.

    Raises:
        InputError: no runs, or a folder is not a run folder.
    """
    return group_figures.forgetting(group_runs(runs))


def participation(runs: Runs) -> Figure:
    """Draw who took part how often: of one run a histogram, of several a profile per group with its Gini coefficient.

    Args:
        runs: a ``Run`` or run folder, or several; those that differ only in their seed become one line.

    Raises:
        InputError: no runs, or a folder is not a run folder.
    """
    groups = group_runs(runs)
    if len(groups) == 1 and len(groups[0].runs) == 1:
        return single(draw_participation, groups[0].runs[0])
    return group_figures.participation(groups)


def periods(run: Run | str | Path) -> Figure:
    """Draw the WER on the speech of each period as training goes on; a large dot marks a period's own model.

    Raises:
        InputError: the folder is not a run folder.
    """
    return single(draw_periods, run)


def run(run: Run | str | Path) -> Figure:
    """Draw a run at a glance: error rates, losses, participation and traffic."""
    loaded = as_run(run)
    fig = style.figure(9.6, 6.2, pad=0.12)
    axes = [style.quiet(ax) for ax in fig.subplots(2, 2).flat]
    for ax, draw_one in zip(axes, (draw_errors, draw_losses, draw_participation, draw_traffic), strict=True):
        draw_one(ax, loaded)
    return fig


def errors(run: Run | str | Path) -> Figure:
    """Draw word and character error rate over the rounds."""
    return single(draw_errors, run)


def losses(run: Run | str | Path) -> Figure:
    """Draw held-out and training loss over the rounds."""
    return single(draw_losses, run)


def traffic(run: Run | str | Path) -> Figure:
    """Draw the data sent up and down, summed over the rounds."""
    return single(draw_traffic, run)


def tradeoff(runs: Runs, metric: str = "wer") -> Figure:
    """Draw the error rate against ε: a line a mechanism, with its 95 % t interval over seeds.

    Args:
        runs: ``Run`` objects or run folders, private or not.
        metric: a numeric column of ``rounds``.

    Raises:
        InputError: as ``fedasr.results.tables.tradeoff.tradeoff``.
    """
    return draw(privacy_tradeoff(runs, metric), metric)


def epsilon(run: Run | str | Path) -> Figure:
    """Draw what a private run has spent over the rounds.

    Raises:
        InputError: the folder is not a run folder.
    """
    return single(draw_epsilon, run)


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
        if metric in run.initial and 0 not in at:
            at, values = np.append(0.0, at), np.append(run.initial[metric], values)
        if len(at):
            values = values * metric_factor(metric)
            look = style.look(index)
            ax.plot(at, values, label=label, linewidth=1.8, **look, **style.marker(len(at)))
            ends.append((float(at[-1]), float(values[-1]), label, str(look["color"])))
    style.name_axes(ax, "Round", title)
    if not ends:
        return style.nothing(ax, "no evaluation yet")
    style.from_zero(ax)
    style.whole_numbers(ax)
    style.name_lines(ax, ends)


def draw_participation(ax: Axes, run: Run) -> None:
    """Draw the number of clients over the number of rounds in which their update arrived."""
    counts = run.participation.counts
    known = run.participation.clients is not None
    style.name_axes(ax, "Rounds taken part in", "Clients" if known else "Clients that were ever selected")
    if not len(counts):
        return style.nothing(ax, "no client has been selected yet")
    bins = np.arange(counts.max() + 2) - 0.5 if counts.max() <= 40 else np.linspace(-0.5, counts.max() + 0.5, 41)
    heights, edges = np.histogram(counts, bins)
    ax.bar((edges[:-1] + edges[1:]) / 2, heights, width=0.86 * np.diff(edges), color=style.SERIES[0])
    style.whole_numbers(ax, y=True)


def draw_periods(ax: Axes, run: Run) -> None:
    """Draw a line a test period: the WER on its speech at the end of every period."""
    table = at_period_ends(run)
    style.name_axes(ax, "After period", "Word error rate on the speech of each period (%)")
    if not len(table):
        return style.nothing(ax, "no period has ended yet")
    ends = []
    for index, tested in enumerate(sorted(set(table["test_period"].astype(int)))):
        rows = table[table["test_period"] == tested].sort_values("period")
        at, values = rows["period"].to_numpy(np.float64), 100 * rows["wer"].to_numpy(np.float64)
        look = style.look(index)
        label = f"of period {tested}"
        ax.plot(at, values, label=label, linewidth=1.6, marker="o", markersize=2.8, **look)
        own = at == tested
        ax.plot(at[own], values[own], "o", markersize=6.0, color=look["color"])
        ends.append((float(at[-1]), float(values[-1]), label, str(look["color"])))
    style.from_zero(ax)
    style.whole_numbers(ax)
    style.name_lines(ax, ends, "WER on speech")


def draw_epsilon(ax: Axes, run: Run) -> None:
    """Draw what a private run has spent; where devices keep ledgers of their own, the largest and the median."""
    spent = run.rounds[["round", "epsilon"]].dropna()
    facts = run.privacy or {}
    labels = ", ".join(str(facts[name]) for name in ("unit", "randomness") if facts.get(name))
    style.name_axes(ax, "Round", f"ε spent, at δ = {run.summary.get('delta') or 0:g}{f' ({labels})' if labels else ''}")
    if not len(spent):
        return style.nothing(ax, "nothing was spent yet")
    of_devices = run.clients[["round", "client", "epsilon"]].dropna()
    curves = {"largest" if len(of_devices) else "ε": (spent["round"].to_numpy(), spent["epsilon"].to_numpy())}
    if len(of_devices):
        table = of_devices.pivot_table(index="round", columns="client", values="epsilon").ffill()
        curves["median device"] = (table.index.to_numpy(), table.median(axis=1).to_numpy())
    ends = []
    for index, (label, (x, y)) in enumerate(curves.items()):
        looks = style.look(index)
        ax.plot(x, y, **looks, linewidth=1.8, label=label, **style.marker(len(x)))
        ends.append((float(x[-1]), float(y[-1]), label if len(curves) > 1 else "", looks["color"]))
    style.from_zero(ax)
    style.whole_numbers(ax)
    style.name_lines(ax, ends)


def draw_traffic(ax: Axes, run: Run) -> None:
    """Draw the data sent to the server and to the clients, summed over the rounds."""
    rounds = run.rounds
    totals = {name: rounds[name].fillna(0).cumsum().to_numpy(np.float64) for name in ("bytes_up", "bytes_down")}
    scale = suit(max((float(total[-1]) for total in totals.values() if len(total)), default=0.0), BYTES)
    style.name_axes(ax, "Round", f"Data sent so far ({scale.unit})")
    if not len(rounds):
        return style.nothing(ax, "no round has finished yet")
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
    style.from_zero(ax)
    style.whole_numbers(ax)
    style.name_lines(ax, ends)
