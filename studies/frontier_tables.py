"""The figure, the tables and the page of the study of bytes, from what ``studies.frontier`` recorded.

    python -m studies.frontier_tables docs/results/compression_frontier --figure docs/results/compression_frontier.png \
      --page docs/results/compression_frontier.md
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from fedasr.files import replacing, write_text
from fedasr.results.figures import style
from studies.frontier import (
    ARMS,
    AVERAGING,
    BATCH,
    BATCHES,
    BMUF,
    BOTH,
    GTC,
    RATE,
    REFERENCE,
    REFERENCES,
    TABLE,
    UP,
    reference_of,
)
from studies.tables import grid

FAMILIES = (AVERAGING, BMUF, GTC, UP, BOTH)
MARKERS = dict(zip(FAMILIES, "sD^ov", strict=True))
TITLES = {"synthetic": "synthetic words in noisy rooms", "real": "real words"}
PLAIN = (REFERENCE, *REFERENCES.values())
NEAR = 0.01
"""A word error rate so much above the lowest is called near it."""


class Study:
    """What was recorded.

    Args:
        folder: with the table of ``studies.frontier``.
    """

    def __init__(self, folder: Path) -> None:
        table = pd.read_csv(folder / TABLE)
        table["megabytes"] = (table["bytes_up"] + table["bytes_down"]) / table["workers"] / 1e6
        self.table = table

    def kinds(self) -> Iterator[tuple[str, str, pd.DataFrame]]:
        """Yield each corpus and partition with its means over seeds, a row an arm, in the order of the arms."""
        for (data, partition), rows in self.table.groupby(["data", "partition"], sort=False):
            yield str(data), str(partition), means(rows)


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row an arm: mean, lowest and highest WER over seeds, and megabytes of a worker over the run.

    Where the run of its reference is there: how much higher its WER is, by pairs of one seed, and how many times fewer
    bytes it takes.
    """
    groups = rows.groupby("arm", sort=False)
    result = pd.DataFrame(
        {
            "wer": groups["wer"].mean(),
            "low": groups["wer"].min(),
            "high": groups["wer"].max(),
            "seeds": groups["seed"].nunique(),
            "up": groups["bytes_up"].mean() / groups["workers"].mean() / 1e6,
            "down": groups["bytes_down"].mean() / groups["workers"].mean() / 1e6,
            "megabytes": groups["megabytes"].mean(),
        }
    )
    wers = rows.pivot(index="seed", columns="arm", values="wer")
    for arm in result.index:
        reference = reference_of(str(arm))
        if reference in wers:
            worse = wers[arm] - wers[reference]
            fewer = result.loc[reference, "megabytes"] / result.loc[arm, "megabytes"]
            result.loc[arm, ["worse", "least", "most", "fewer"]] = worse.mean(), worse.min(), worse.max(), fewer
    return result.reindex([arm for arm in ARMS if arm in result.index])


def frontier(arms: pd.DataFrame) -> list[str]:
    """Return the arms that no other one beats in both bytes and WER, those with the fewest bytes first."""
    best, result = np.inf, []
    for arm, row in arms.sort_values(["megabytes", "wer"]).iterrows():
        if row["wer"] < best:
            best = row["wer"]
            result.append(str(arm))
    return result


def figure(study: Study) -> Figure:
    """Draw WER against megabytes: a panel a corpus and partition, a marker an arm, the frontier as a line."""
    kinds = list(study.kinds())
    columns = min(2, len(kinds))
    rows = -(-len(kinds) // columns)
    fig = style.figure(4.4 * columns, 3.4 * rows + 0.5)
    panels = fig.subplots(rows, columns, squeeze=False)
    for ax, (data, partition, arms) in zip(panels.ravel(), kinds, strict=False):
        panel(style.quiet(ax), arms)
        style.name_axes(ax, "MB of a worker over the run, up and down", f"WER, {TITLES[data]}, {partition}")
    handles, labels = panels[0][0].get_legend_handles_labels()
    fig.legend(
        handles, labels, loc="outside lower center", frameon=False, ncols=3,
        fontsize=style.LABEL_POINTS, labelcolor=style.INK,
    )  # fmt: skip
    return fig


def panel(ax: Axes, arms: pd.DataFrame) -> None:
    """Draw one corpus and partition; the arms of the frontier are named."""
    best = frontier(arms)
    line = arms.loc[best]
    ax.plot(line["megabytes"], line["wer"], color=style.MUTED, linewidth=1, drawstyle="steps-post", label="frontier")
    for number, family in enumerate(FAMILIES):
        chosen = arms[[ARMS[str(arm)].family == family for arm in arms.index]]
        spread = np.abs(chosen[["low", "high"]].to_numpy().T - chosen["wer"].to_numpy())
        ax.errorbar(
            chosen["megabytes"], chosen["wer"], yerr=spread, fmt=MARKERS[family], color=style.SERIES[number],
            markersize=5, elinewidth=0.8, label=family,
        )  # fmt: skip
    for place, arm in enumerate(best):
        ax.annotate(
            arm, (arms.loc[arm, "megabytes"], arms.loc[arm, "wer"]), xytext=(4, 5 if place % 2 else -10),
            textcoords="offset points", fontsize=6.5, color=style.INK,
        )  # fmt: skip
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def table(arms: pd.DataFrame) -> str:
    """Return the table of one corpus and partition."""
    head = (
        "",
        "batches a message",
        "MB up",
        "MB down",
        "fewer bytes",
        "WER",
        "lowest to highest",
        "against its reference, by seed",
    )
    body = []
    best = frontier(arms)
    for arm, row in arms.iterrows():
        name = f"**{arm}**" if arm in best else str(arm)
        paired = "fewer" in row and np.isfinite(row["fewer"])
        fewer = f"{row['fewer']:.3g} ×" if paired else "–"
        worse = f"{row['worse']:+.3f} ({row['least']:+.3f} to {row['most']:+.3f})" if paired else "–"
        spread = f"{row['low']:.3f} to {row['high']:.3f}"
        up, down = f"{row['up']:.3g}", f"{row['down']:.3g}"
        body.append([name, str(ARMS[str(arm)].steps), up, down, fewer, f"{row['wer']:.3f}", spread, worse])
    return grid(head, body)


def findings(study: Study) -> str:
    """Return what the numbers say, a line each."""
    lines = []
    for data, partition, arms in study.kinds():
        if "fewer" not in arms:
            continue
        where = f"{TITLES[data].capitalize()}, {partition}"
        best = arms["wer"].min()
        near = arms[arms["wer"] <= best + NEAR].sort_values("megabytes")
        lines.append(
            f"- **{where}**: the lowest word error rate is {best:.3f} ({arms['wer'].idxmin()}); within {NEAR:g} of it"
            f" the fewest bytes are those of {near.index[0]}, {near['megabytes'].iloc[0]:.3g} MB a worker."
        )
        for arm in (arm for arm in arms.index if ARMS[str(arm)].family in (BMUF, GTC) and arm not in PLAIN):
            row = arms.loc[arm]
            if np.isfinite(row["fewer"]):
                lines.append(
                    f"  - {arm}: {row['fewer']:.3g} × fewer bytes than {reference_of(str(arm))}, word error rate"
                    f" {row['worse']:+.3f} ({row['least']:+.3f} to {row['most']:+.3f}, {row['seeds']:.0f} seeds)."
                )
    return "\n".join(lines)


def page(study: Study, picture: str) -> str:
    """Return the page of results.

    Args:
        study: what was recorded.
        picture: file of the figure, as the page names it.
    """
    rows = study.table
    workers, parameters = int(rows["workers"].iloc[0]), int(rows["parameters"].iloc[0])
    initial = rows.groupby("data", sort=False)["initial_wer"].mean()
    start = ", ".join(f"{wer:.3f} ({TITLES[str(data)]})" for data, wer in initial.items())
    tables = "\n".join(
        f"## {TITLES[data].capitalize()}, {partition}\n\n{table(arms)}" for data, partition, arms in study.kinds()
    )
    return f"""# Word error rate against bytes

```
FEDASR_DATA=FOLDER python -m studies.frontier --out runs/frontier --record docs/results/compression_frontier
python -m studies.frontier_tables docs/results/compression_frontier --figure docs/results/compression_frontier.png \\
  --page docs/results/compression_frontier.md
```

The second command makes this page and the figure from the [recorded runs](compression_frontier/{TABLE}). The keys are
those of [few bytes](../compression.md).

## What is trained

Keyword recognisers (CTC, {parameters:,} parameters), from a public model that has heard studio voices alone: its word
error rate is {start}.
{workers} workers, all of whom take part in each round: a worker's speech is a share at random (IID), or that of its own
speakers (by speaker). Each takes {BATCHES} batches of {BATCH} by plain SGD (rate {RATE:g}, cosine schedule), whatever
the arm, so that data are equal; a message is sent after 1, 10 or 50 of them. The rate is the same for all arms, chosen
from 0.1, 0.3 and 1 in trials of a few arms of seed 1. BMUF has Nesterov block momentum of 1 − 1/{workers} and rate 1;
it is compared with itself after every batch, since momentum alone changes what equal data give, and all others with
plain averaging after every batch. Bytes are those of whole messages: a message down also holds the run's config, about
5 kB, which weighs much beside so small a model.

![Word error rate against megabytes]({picture})

## What it shows

{findings(study)}

Arms in bold lie on the frontier: no other one has both fewer bytes and fewer errors, by means over
{rows["seed"].nunique()} seeds.

{tables}"""


def main() -> None:
    """Write the page and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recorded", type=Path)
    parser.add_argument("--figure", type=Path, required=True)
    parser.add_argument("--page", type=Path)
    given = parser.parse_args()
    study = Study(given.recorded)
    with replacing(given.figure) as temporary:
        figure(study).savefig(temporary, format="png")
    text = page(study, given.figure.name)
    if given.page is None:
        print(text)
    else:
        write_text(given.page, text)


if __name__ == "__main__":
    main()
