"""Error rate against ε: what privacy costs, mechanism by mechanism, with everything that an ε depends on."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedasr.errors import InputError
from fedasr.privacy.ledger import PUBLIC_SEED, SECRET
from fedasr.results import style
from fedasr.results.comparison import check_suffix, interval, short_name
from fedasr.results.groups import Runs, flatten, swept, unique
from fedasr.results.html import element, figure, page, write
from fedasr.results.html import table as html_table
from fedasr.results.load import Run
from fedasr.results.statistics import mean_interval
from fedasr.units import metric_factor, metric_label, metric_text

PUBLIC = "no privacy"
NOTHING = "nothing released"
"""A run of PATE whose budget afforded no label: its student learnt public speech alone, and ε is 0."""
MECHANISM = {
    "data.corpus": "",
    "data.manifest": "",
    "model.name": "",
    "strategy.name": "",
    "pate.mechanism": "",
    "pate.unit": "votes on each ",
    "pate.simulated_teachers": "simulated teachers: ",
    "privacy.unit": "",
    "privacy.noise_at": "noise at the ",
    "privacy.micro_batches": "micro-batches ",
}
"""What sets mechanisms apart, and what stands before the value in their names; the rest of a config may be tuned."""
ASKED = "-"
"""Value of ``pate.simulated_teachers`` where the teachers were asked."""
COLUMNS = ["mechanism", "unit", "epsilon", "delta", "adjacency", "seen_by", "sampling", "population", "randomness", "n",
           "seeds"]  # fmt: skip


def tradeoff(runs: Runs, metric: str = "wer") -> pd.DataFrame:
    """Return one row per mechanism and budget.

    Args:
        runs: ``Run`` objects or run folders, private or not; those that differ only in their seed become one row.
        metric: a numeric column of ``rounds``; its last value counts.

    Returns:
        ``mechanism``; ``unit, epsilon, delta, adjacency, seen_by, sampling, population, randomness`` as in
        ``privacy.json`` (ε: the largest over the seeds; infinite without privacy, 0 where nothing was released, and
        then the rest empty);
        ``n`` seeds and which; the metric's mean, ``<metric>_low`` and ``<metric>_high``, the 95 % t interval over
        seeds. By mechanism, then ε.

    Raises:
        InputError: no runs, a folder is not a run folder, or a run has not ended or never measured the metric.
    """
    points: dict[tuple[str, float, str], list[Run]] = {}
    names = mechanism_names(distinct := unique(runs))
    for run in distinct:
        points.setdefault((names[run.path], allowance(run), identity(run)), []).append(run)
    rows = []
    for (name, _, _), members in points.items():
        by_seed = {run.seed: run for run in members}
        if len(by_seed) < len(members):
            twice = sorted(run.seed for run in members if by_seed[run.seed] is not run)[0]
            where = str(next(run.path for run in members if by_seed[run.seed] is not run))
            raise InputError(
                f"repeats seed {twice} of '{name}' at the same budget; give each mechanism, budget and seed once",
                where=where,
            )
        values = np.array([run.last(metric) for run in members], np.float64)
        if not np.isfinite(values).all():
            where = str(members[int(np.argmin(np.isfinite(values)))].path)
            raise InputError(f"has no '{metric}' after its last round", where=where)
        mean, low, high = mean_interval(values)
        facts = {"mechanism": name, **privacy_facts(members), "n": len(members), "seeds": sorted(by_seed)}
        rows.append(facts | {metric: float(mean), f"{metric}_low": float(low), f"{metric}_high": float(high)})
    table = pd.DataFrame(rows, columns=[*COLUMNS, metric, f"{metric}_low", f"{metric}_high"])
    return table.sort_values(["mechanism", "epsilon"], kind="stable", ignore_index=True)


def allowance(run: Run) -> float:
    """Return what groups runs over seeds: the budget, or without one the noise, infinite without privacy."""
    privacy = run.config.get("privacy") or {}
    if privacy.get("unit", "none") == "none":
        return math.inf
    if released_nothing(run):
        return 0.0
    value = privacy.get("epsilon") or privacy.get("noise_multiplier")
    return float(value or math.nan)


def released_nothing(run: Run) -> bool:
    """Say whether a run of PATE has ended without a label that was paid for."""
    strategy = (run.config.get("strategy") or {}).get("name")
    return strategy == "pate" and run.status == "done" and run.privacy is None and run.summary.get("epsilon") == 0


def study(run: Run) -> str:
    """Return what a run is part of: the folder of its sweep, or by itself its name."""
    return run.path.resolve().parent.name if swept(run.path.name) else run.name


def identity(run: Run) -> str:
    """Return what the seeds of one point have in common: the whole config but the seed."""
    return repr(sorted((key, repr(value)) for key, value in flatten(run.config).items()))


def mechanism_names(runs: Sequence[Run]) -> dict[Path, str]:
    """Return a name for each run: the mechanism, by the keys in which the runs differ."""
    values = {run.path: settings(run) for run in runs}
    private = [settings_of for settings_of in values.values() if settings_of["privacy.unit"] != "none"]
    kinds = {key: {settings_of[key] for settings_of in private} for key in MECHANISM if key != "privacy.unit"}
    # Runs without PATE have no value of its keys: that alone sets nothing apart.
    differing = [key for key, kind in kinds.items() if len(kind - {""} if key.startswith("pate.") else kind) > 1]
    public = {identity(run) for run in runs if values[run.path]["privacy.unit"] == "none"}
    names = {}
    for run in runs:
        path, settings_of = run.path, values[run.path]
        if settings_of["privacy.unit"] == "none":
            # Each study has runs without privacy of its own.
            parts = [PUBLIC, study(run)] if len(public) > 1 else [PUBLIC]
        elif released_nothing(run):
            speech = [key for key in differing if key.startswith(("data.", "model."))]
            parts = [NOTHING, *(f"{MECHANISM[key]}{settings_of[key]}" for key in speech)]
        else:
            differences = [
                f"{MECHANISM[key]}{settings_of[key]}" for key in differing if settings_of[key] not in ("", ASKED)
            ]
            parts = [f"{settings_of['privacy.unit']}-level", *differences]
        names[path] = ", ".join(part for part in parts if part)
    return names


def settings(run: Run) -> dict[str, str]:
    """Return a run's values of the keys of ``MECHANISM``, a path as its folder."""
    chosen = {}
    for key in MECHANISM:
        node: Any = run.config
        for part in key.split("."):
            node = None if node is None else node.get(part)
        chosen[key] = "" if node is None else str(node)
    chosen["pate.simulated_teachers"] = chosen["pate.simulated_teachers"] or ASKED
    if chosen["strategy.name"] != "pate":  # its keys are in every config
        chosen.update({key: "" for key in chosen if key.startswith("pate.")})
    chosen["privacy.unit"] = chosen["privacy.unit"] or "none"
    if chosen["data.manifest"]:
        chosen["data.manifest"] = Path(chosen["data.manifest"]).parent.name
    return chosen


def privacy_facts(runs: Sequence[Run]) -> dict[str, Any]:
    """Return what an ε depends on, of runs that share a budget.

    Raises:
        InputError: a private run has no single ε, because it has not ended or releases of several units.
    """
    empty = {"unit": "", "epsilon": math.inf, "delta": math.nan, "adjacency": "", "seen_by": "", "sampling": "",
             "population": "", "randomness": ""}  # fmt: skip
    if allowance(runs[0]) in (0.0, math.inf):
        return empty | {"epsilon": allowance(runs[0])}
    documents = []
    for run in runs:
        document = run.privacy or {}
        if document.get("epsilon") is None:
            raise InputError("has no single ε; expected a finished private run", where=str(run.path / "privacy.json"))
        documents.append(document)
    populations = {document["population"] for document in documents}
    return {
        "unit": documents[0]["unit"],
        "epsilon": max(float(document["epsilon"]) for document in documents),
        "delta": documents[0]["delta"],
        "adjacency": documents[0]["adjacency"],
        "seen_by": documents[0]["seen_by"],
        "sampling": documents[0]["sampling"],
        "randomness": SECRET if all(document.get("randomness") == SECRET for document in documents) else PUBLIC_SEED,
        "population": " to ".join(str(p) for p in sorted({min(populations, key=number), max(populations, key=number)})),
    }


def number(population: object) -> float:
    """Return a population to compare by; None, where it changed during a run, comes last."""
    return math.inf if population is None else float(str(population))


def text_rows(table: pd.DataFrame, metric: str) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of ``tradeoff`` as people read it."""
    head = ["Mechanism", "ε", "δ", "Neighbour", "Seen by", "Sampling", "Population", "Randomness", short_name(metric),
            "95 % interval", "Seeds"]  # fmt: skip
    body = []
    for row in table.to_dict("records"):
        spent = 0 < row["epsilon"] < math.inf
        body.append(
            [
                row["mechanism"],
                "∞" if row["epsilon"] == math.inf else f"{row['epsilon']:.3g}",
                f"{row['delta']:g}" if spent else "–",
                row["adjacency"] or "–",
                row["seen_by"] or "–",
                row["sampling"] or "–",
                row["population"] or "–",
                row["randomness"] or "–",
                metric_text(metric, row[metric]),
                interval(metric, row[f"{metric}_low"], row[f"{metric}_high"]),
                str(row["n"]),
            ]
        )
    return head, body


def draw(table: pd.DataFrame, metric: str = "wer") -> Figure:
    """Draw the metric against ε: a line a mechanism with its interval, dashed without privacy, dotted at ε = 0."""
    fig = style.figure(5.6, 3.4)
    ax = style.axes(fig)
    factor = metric_factor(metric)
    spent = np.isfinite(table["epsilon"]) & (table["epsilon"] > 0)
    private = table[spent]
    names = list(dict.fromkeys(private["mechanism"]))
    ends = []
    for index, name in enumerate(names):
        rows = private[private["mechanism"] == name]
        looks = style.look(index)
        ax.plot(rows["epsilon"], factor * rows[metric], **looks, marker="o", markersize=3.6, label=style.literal(name))
        ax.fill_between(
            rows["epsilon"], factor * rows[f"{metric}_low"], factor * rows[f"{metric}_high"], alpha=0.15,
            color=looks["color"], linewidth=0,
        )  # fmt: skip
        last = rows.iloc[-1]
        ends.append((float(last["epsilon"]), float(factor * last[metric]), name, looks["color"]))
    for _, row in table[~spent].iterrows():
        level = float(factor * row[metric])
        dashes = ":" if row["epsilon"] == 0 else "--"
        ax.axhline(level, color=style.MUTED, linestyle=dashes, linewidth=1, label=row["mechanism"])
        ends.append((math.inf, level, str(row["mechanism"]), style.MUTED))
    scale(ax, private["epsilon"].tolist())
    style.name_axes(ax, "ε" + common_facts(private), metric_label(metric))
    style.from_zero(ax)
    style.name_lines(ax, ends)
    return fig


def scale(ax: Axes, epsilons: Sequence[float]) -> None:
    """Give the axis of ε a logarithmic scale with a tick at each point."""
    if not epsilons:
        return
    ax.set_xscale("log", base=2)
    ticks = sorted({float(f"{epsilon:.2g}") for epsilon in epsilons})
    apart = [tick for at, tick in enumerate(ticks) if not at or tick > 1.25 * ticks[at - 1]]
    ax.set_xticks(apart, [f"{tick:g}" for tick in apart])
    ax.minorticks_off()


def common_facts(private: pd.DataFrame) -> str:
    """Return what all ε of a figure have in common, for the axis."""
    deltas = sorted(set(private["delta"]))
    drawn = sorted(set(private["randomness"]))
    at = [f" at δ = {deltas[0]:g}"] if len(deltas) == 1 else []
    return ",".join([*at, f" {drawn[0]}"]) if len(drawn) == 1 else "".join(at)


def write_tradeoff(table: pd.DataFrame, out: str | Path, metric: str = "wer") -> Path:
    """Write the trade-off as a figure, a page or a table, by the suffix, and return the path.

    Raises:
        InputError: an unknown suffix, or the file cannot be written.
    """
    path = check_suffix(out)
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return write(path, table.assign(seeds=table["seeds"].map(lambda s: " ".join(map(str, s)))).to_csv(index=False))
    if suffix == ".html":
        heading = f"{metric_label(metric).removesuffix(' (%)')} against ε"
        about = "Bands and intervals are 95 % t intervals of the mean over seeds. An ε of one unit cannot be compared"
        about += " with an ε of another: a user's covers all that the user said, an example's one utterance. An ε whose"
        about += " randomness is a public seed is a simulation's: it holds against nobody who has the seed."
        body = page(
            heading,
            element("h1", heading),
            element("p", about, class_="muted"),
            element("section", figure(draw(table, metric), heading, "")),
            element("section", html_table(*text_rows(table, metric), text_columns=8)),
        )
        return write(path, body)
    image = io.BytesIO()
    draw(table, metric).savefig(image, format=suffix[1:], dpi=300)
    return write(path, image.getvalue())
