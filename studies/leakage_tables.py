"""The tables and the figure of the study of leakage, from what ``studies.leakage`` recorded.

    python -m studies.leakage_tables docs/results/leakage --figure docs/results/leakage.png

A number is a mean over seeds with the lowest and the highest; of one seed it stands alone, with its own 95 % interval
over speakers or codes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedasr.files import replacing
from fedasr.privacy.accountants import round_up
from fedasr.privacy.audit.exposure import null_moments
from fedasr.results.figures import style
from studies.leakage import GROUPS, OTHERS, TABLE, plan
from studies.leakage_cells import (
    CLIPPED,
    CODED,
    CODES,
    DP_FEDAVG,
    DP_SGD,
    DROPOUT,
    EARLY,
    FEDAVG,
    LONG,
    PATE,
    PLAIN,
    START,
)
from studies.tables import grid

TRAININGS = (START, PLAIN, EARLY, DROPOUT, CLIPPED, FEDAVG, DP_FEDAVG, DP_SGD, LONG, PATE)
PRIVATE = (DP_FEDAVG, DP_SGD, PATE)
WAYS = {"language": "internal language model", "noise": "noise for the code", "voice": "another voice"}
SPEECH = {
    "digits": "synthetic digit strings",
    "home": "synthetic commands, with codes",
    "commands": "real words (speech_commands_v2_testset_mini)",
    "sentences": "real sentences (speechocean762_mini)",
}
NAMES = {"ctc": "CTC", "rnnt": "RNN-T"}
NOTHING = "–"
PLACE_OF_NONE = 20.0
"""Where ε = ∞ stands on the axis of ε, where no ε above ten was asked for."""


class Study:
    """What was recorded.

    Args:
        folder: with the tables of ``studies.leakage``.
    """

    def __init__(self, folder: Path) -> None:
        table = pd.read_csv(folder / TABLE)
        failed = table["error"].notna() if "error" in table else pd.Series(False, table.index)
        self.failed = table[failed]
        done = table[~failed]
        self.halves = done[done["half"].notna()]
        self.cells = done[done["half"].isna()]
        self.groups = pd.read_csv(folder / GROUPS)
        self.others = pd.read_csv(folder / OTHERS)

    def of(self, data: str, family: str, training: str, asked: float | None) -> pd.DataFrame:
        """Return the seeds of one way of training; None: ε was not asked for."""
        cells = self.cells
        same = (cells["data"] == data) & (cells["family"] == family) & (cells["training"] == training)
        return cells[same & (cells["asked"].isna() if asked is None else cells["asked"] == asked)]

    def kinds(self) -> Iterator[tuple[str, str]]:
        """Yield corpus and family of what was done."""
        for data in SPEECH:
            for family in NAMES:
                if ((self.cells["data"] == data) & (self.cells["family"] == family)).any():
                    yield data, family

    def budgets(self, data: str, family: str, training: str) -> list[float | None]:
        """Return the ε that were asked for, ∞ first."""
        cells = self.cells
        rows = cells[(cells["data"] == data) & (cells["family"] == family) & (cells["training"] == training)]
        known = sorted(rows["asked"].dropna().unique(), reverse=True)
        return [*([None] if rows["asked"].isna().any() else []), *known]


def spread(rows: pd.DataFrame, column: str, digits: int = 3) -> str:
    """Return the mean over seeds with the lowest and the highest, or one seed's value with its own interval."""
    if column not in rows:
        return NOTHING
    values = rows[column].dropna()
    if not len(values):
        return NOTHING
    if len(values) > 1:
        return f"{values.mean():.{digits}f} ({values.min():.{digits}f} – {values.max():.{digits}f})"
    low, high = f"{column}_low", f"{column}_high"
    own = rows.loc[values.index[0]]
    if low in rows and np.isfinite(own[low]):
        return f"{values.iloc[0]:.{digits}f} [{own[low]:.{digits}f}, {own[high]:.{digits}f}]"
    return f"{values.iloc[0]:.{digits}f}"


def budget(rows: pd.DataFrame) -> str:
    """Return the largest ε of the ledgers of the seeds."""
    largest = float(rows["epsilon"].max())
    return f"{round_up(largest, 3):g}" if math.isfinite(largest) and largest < 1e6 else "∞"


def promise(rows: pd.DataFrame) -> str:
    """Return what the ε is of: δ, unit, adjacency, sampling and population."""
    first = rows.iloc[0]
    if not isinstance(first["unit"], str) or budget(rows) == "∞":
        return NOTHING
    population = f", {first['population']:.0f}" if np.isfinite(first["population"]) else ""
    return f"{first['unit']}, {first['adjacency']}, sampling {first['sampling']}{population}, δ = {first['delta']:g}"


def main_table(study: Study, data: str, family: str) -> str:
    """Return WER, membership and exposure by way of training and ε."""
    head = ["training", "ε", "of", "seeds", "WER", "AUC", "its ceiling", "TPR at 1 % FPR", "its ceiling"]
    coded = data in CODED
    way = "language" if family == "rnnt" else "noise"
    body = []
    for training in TRAININGS:
        for asked in study.budgets(data, family, training):
            rows = study.of(data, family, training, asked)
            ceilings = [
                f"{round_up(rows[name].max(), 3):.3f}" if name in rows and rows[name].notna().all() else NOTHING
                for name in ("auc_ceiling", "tpr1_ceiling")
            ]
            line = [training, budget(rows), promise(rows), str(len(rows)), spread(rows, "wer")]
            line += [spread(rows, "calibrated_auc"), ceilings[0], spread(rows, "calibrated_tpr1"), ceilings[1]]
            if coded:
                line += [exposure(rows, way), spread(rows, f"{way}_codes_extracted", 2)]
            body.append(line)
    return grid([*head, *(["exposure, bits", "codes extracted"] if coded else [])], body)


def exposure(rows: pd.DataFrame, way: str) -> str:
    """Return the exposure by one way of looking, and p of so much by chance where it is small."""
    name = f"{way}_exposure"
    if name not in rows or rows[name].isna().all():
        return "not attacked"
    shown = rows.rename(columns={f"{way}_low": f"{name}_low", f"{way}_high": f"{name}_high"})
    return spread(shown, name, 2)


def floors_table(study: Study) -> str:
    """Return what is found where nothing can leak, over all models of a corpus and family."""
    body = []
    for data, family in study.kinds():
        rows = study.cells[(study.cells["data"] == data) & (study.cells["family"] == family)]
        once = rows.drop_duplicates("seed")
        line = [SPEECH[data], NAMES[family], str(len(once))]
        line += [spread(once, "initial_auc"), least(once, "initial_p"), spread(once, "no_model_auc")]
        line += [least(once, "no_model_p"), f"{once['non_members'].min():.0f}"]
        way = "language" if family == "rnnt" else "noise"
        line.append(spread(rows[rows["training"] == START], f"{way}_exposure", 2))
        body.append(line)
    head = ["speech", "model", "seeds", "initial model's AUC", "least p", "AUC without a model", "least p"]
    return grid([*head, "non-members", "initial model's exposure, bits"], body)


def least(rows: pd.DataFrame, column: str) -> str:
    """Return the smallest p over the seeds."""
    return f"{rows[column].min():.2g}"


def ways_table(study: Study) -> str:
    """Return the exposure by each way of looking."""
    body = []
    for data, family in study.kinds():
        for training in TRAININGS if data in CODED else ():
            for asked in study.budgets(data, family, training):
                rows = study.of(data, family, training, asked)
                told = [exposure(rows, way) for way in WAYS]
                if set(told) != {"not attacked"}:
                    body.append([data, NAMES[family], training, budget(rows), *told])
    return grid(["speech", "model", "training", "ε", *WAYS.values()], body)


def groups_table(study: Study) -> str:
    """Return the area by groups of speakers: a row a group, a column a way of training and ε."""
    told = study.groups["training"].isin([PLAIN, DP_SGD, DP_FEDAVG])
    # Where all store alike but those who say codes, a group by activity is one of codes.
    table = study.groups[told & (study.groups["data"] != "home")]
    asked = table["asked"].fillna(math.inf)
    columns = sorted(set(zip(table["training"], asked, strict=True)), key=lambda one: (-one[1], one[0]))
    body = []
    for key, rows in table.groupby(["data", "family", "group"], sort=False):
        data, family, group = key
        line = [data, NAMES[family], group, f"{rows['members'].max()} + {rows['non_members'].max()}"]
        for training, epsilon in columns:
            same = rows[(rows["training"] == training) & (rows["asked"].fillna(math.inf) == epsilon)]
            line += [f"{row['auc']:.3f} [{row['auc_low']:.3f}, {row['auc_high']:.3f}]" for _, row in same.iterrows()]
            line += [NOTHING] * (not len(same))
        body.append(line)
    ceilings = ["ceiling", "", "", ""]
    for training, epsilon in columns:
        cells = study.cells[(study.cells["training"] == training) & (study.cells["asked"].fillna(math.inf) == epsilon)]
        cells = cells[cells["data"] != "home"]
        highest = cells["auc_ceiling"].max()
        ceilings.append(f"{round_up(highest, 3):.3f}" if np.isfinite(highest) else NOTHING)
    names = [f"{training}, {'∞' if math.isinf(epsilon) else f'ε = {epsilon:g}'}" for training, epsilon in columns]
    return grid(["speech", "model", "group", "members + others", *names], [*body, ceilings])


def others_table(study: Study) -> str:
    """Return what the model of another seed tells of who was a member, beside what the right one tells."""
    body = []
    for key, rows in study.others.groupby(["data", "family", "training", "asked"], sort=False, dropna=False):
        data, family, training, asked = key
        epsilon = "∞" if math.isnan(asked) else f"{asked:g}"
        line = [data, NAMES[family], training, epsilon, f"{len(rows)}", spread(rows, "own"), spread(rows, "auc")]
        body.append(line)
    return grid(["speech", "model", "training", "ε", "pairs", "AUC by its own model", "by another seed's"], body)


def inversion_table(study: Study) -> str:
    """Return the paired differences of model inversion."""
    body = [
        [
            NAMES[row["family"]],
            row["training"],
            budget(study.halves.loc[[index]]),
            f"{row['wer']:.3f}",
            f"{row['inversion']:.4f} [{row['inversion_low']:.4f}, {row['inversion_high']:.4f}]",
            f"{row['inversion_p']:.2g}",
            f"{row['inversion_unheard']:.3f}",
            f"{row['inversion_speakers']:.0f}",
        ]
        for index, row in study.halves.iterrows()
    ]
    head = ["model", "training", "ε", "WER", "paired difference", "p", "similarity of the model that did not hear them"]
    return grid([*head, "speakers"], body)


def correlation(rows: pd.DataFrame) -> str:
    """Return Spearman's rank correlation of the area with ε over cells."""
    asked = rows["asked"].fillna(math.inf)
    if len(rows) < 4 or asked.nunique() < 2:
        return NOTHING
    ranks = pd.DataFrame({"asked": asked, "auc": rows["calibrated_auc"]}).rank()
    return f"{ranks.corr().iloc[0, 1]:.2f} (n = {len(rows)})"


def correlations_table(study: Study) -> str:
    """Return the rank correlations of area and ε for DP-SGD, with the pooled training as ε = ∞ and without it."""
    body = []
    for data, family in study.kinds():
        rows = study.cells[(study.cells["data"] == data) & (study.cells["family"] == family)]
        private = rows[rows["training"] == DP_SGD]
        both = rows[rows["training"].isin([DP_SGD, PLAIN])]
        body.append([SPEECH[data], NAMES[family], correlation(both), correlation(private)])
    return grid(["speech", "model", "DP-SGD, and pooled as ε = ∞", "DP-SGD alone"], body)


def coverage(study: Study) -> str:
    """Return which cells of the plan have a row: the seeds of each ε; and those that failed with their reasons."""
    known = set(study.cells["cell"]) | set(study.halves["cell"])
    cells = list(dict.fromkeys(plan()))
    kinds = list(dict.fromkeys((cell.data, cell.family) for cell in cells))
    body = []
    for training in TRAININGS:
        for epsilon in dict.fromkeys(cell.epsilon for cell in cells if cell.training == training):
            line = [training, "∞" if epsilon is None else f"{epsilon:g}"]
            for data, family in kinds:
                same = [
                    c for c in cells if (c.data, c.family, c.training, c.epsilon) == (data, family, training, epsilon)
                ]
                done = [str(cell.seed) for cell in same if cell.name in known and not cell.half]
                line.append(", ".join(done) or ("not run" if same else ""))
            body.append(line)
    missing = [cell.name for cell in cells if cell.half and cell.name not in known]
    failed = [f"- `{row['cell']}`: {row['error']}\n" for _, row in study.failed.iterrows()]
    inversion = f"Model inversion was not run for {len(missing)} pairs of halves.\n" if missing else ""
    table = grid(["training", "ε", *(f"{NAMES[family]}, {data}" for data, family in kinds)], body)
    return "\n".join([table, inversion, *failed])


def figure(study: Study) -> Figure:
    """Draw membership, exposure and WER against ε: a column a corpus and family, a line a way of training."""
    kinds = [kind for kind in study.kinds() if any(len(study.budgets(*kind, training)) > 1 for training in PRIVATE)]
    kinds = kinds or list(study.kinds())
    fig = style.figure(0.9 + 2.6 * len(kinds), 6.6)
    panels = fig.subplots(3, len(kinds), squeeze=False, sharex="col")
    for place, (data, family) in enumerate(kinds):
        column = [style.quiet(panels[row][place]) for row in range(3)]
        title = f"{NAMES[family]}, {data}"
        membership(column[0], study, data, family)
        style.name_axes(column[0], "", f"{title}\nMembership, AUC")
        exposures(column[1], study, data, family)
        style.name_axes(column[1], "", "Exposure of codes, bits")
        curves(column[2], study, data, family, "wer")
        column[2].set_ylim(0, 1.04 * column[2].get_ylim()[1])
        style.name_axes(column[2], "ε", "Word error rate")
        infinite = place_of_none(study, data, family)
        ticks = [1, 4, 10] if infinite == PLACE_OF_NONE else [1, 10, 100, 1000]
        column[2].set_xscale("log")
        column[2].set_xticks([*ticks, infinite], [*map(str, ticks), "∞"])
        column[2].minorticks_off()
        column[2].set_xlim(0.8, 1.4 * infinite)
    handles: dict[str, Any] = {}
    for panel in panels.ravel():
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    columns = 3 if len(kinds) > 1 else 2
    fig.legend(
        list(handles.values()), list(handles), loc="outside lower center", frameon=False, ncols=columns,
        fontsize=style.LABEL_POINTS, labelcolor=style.INK,
    )  # fmt: skip
    return fig


def place_of_none(study: Study, data: str, family: str) -> float:
    """Return where ε = ∞ stands on the axis of ε."""
    rows = study.cells[(study.cells["data"] == data) & (study.cells["family"] == family)]
    return PLACE_OF_NONE if not (rows["asked"] > PLACE_OF_NONE / 2).any() else 5 * float(rows["asked"].max())


SHOWN = {
    DP_SGD: (DP_SGD, CLIPPED),
    DP_FEDAVG: (DP_FEDAVG, FEDAVG),
    PATE: (PATE, PATE),
    PLAIN: (None, PLAIN),
    LONG: (LONG, LONG),
}
"""Each line's way of training with an ε, and that without."""


def curves(ax: Axes, study: Study, data: str, family: str, column: str) -> None:
    """Draw one column against ε: a line a way of training, its seeds as dots."""
    for number, (name, (private, without)) in enumerate(SHOWN.items()):
        looks: dict[str, Any] = {"color": style.SERIES[number], "marker": "os^Dv"[number], "markersize": 4.0}
        places, means = [], []
        known = [] if private is None else [a for a in study.budgets(data, family, private) if a is not None]
        for asked in [*sorted(known), None]:
            rows = study.of(data, family, str(without if asked is None else private), asked)
            values = rows[column].dropna() if column in rows else pd.Series(dtype=float)
            if not len(values):
                continue
            place = place_of_none(study, data, family) if asked is None else asked
            ax.plot([place] * len(values), values, ".", color=looks["color"], markersize=3, alpha=0.6)
            places.append(place)
            means.append(float(values.mean()))
        if places:
            label = "pooled, no privacy" if name == PLAIN else name
            ax.plot(places, means, linewidth=1.2, label=label, **looks)
    start = study.of(data, family, START, None)
    if column in start and start[column].notna().any():
        ax.axhline(start[column].mean(), color=style.MUTED, linewidth=1, linestyle=":", label="public initial model")


def membership(ax: Axes, study: Study, data: str, family: str) -> None:
    """Draw the area with the ceilings of the ledgers."""
    curves(ax, study, data, family, "calibrated_auc")
    for number, training in enumerate(SHOWN):
        known = [asked for asked in study.budgets(data, family, training) if asked is not None]
        rows = [study.of(data, family, training, asked) for asked in sorted(known)]
        if rows and "auc_ceiling" in study.cells:
            heights = [float(result["auc_ceiling"].max()) for result in rows]
            ax.plot(
                sorted(known), heights, linestyle="--", linewidth=1, color=style.SERIES[number],
                marker="_", label=f"ceiling of {training}",
            )  # fmt: skip
    ax.set_ylim(0.4, 1.02)


def exposures(ax: Axes, study: Study, data: str, family: str) -> None:
    """Draw the exposure of codes above the band of what chance gives a mean of them."""
    if data not in CODED:
        style.nothing(ax, "no codes in real speech")
        return
    curves(ax, study, data, family, "language_exposure" if family == "rnnt" else "noise_exposure")
    known = study.cells.dropna(subset=["exposure_null"]) if "exposure_null" in study.cells else study.cells.iloc[:0]
    if len(known):
        mean, deviation = null_moments(10 ** CODES["digits"])
        half = 1.96 * deviation / math.sqrt(float(known["codes"].min()))
        ax.axhspan(mean - half, mean + half, color=style.GRID, alpha=0.7, linewidth=0, label="95 % by chance")
    ax.set_ylim(bottom=0)


def tables(study: Study) -> str:
    """Return all tables as Markdown."""
    parts = []
    for data, family in study.kinds():
        parts.append(f"### {NAMES[family]}, {SPEECH[data]}\n\n{main_table(study, data, family)}")
    parts.append(f"### Floors\n\n{floors_table(study)}")
    if len(study.others):
        parts.append(f"### Another seed's model\n\n{others_table(study)}")
    parts.append(f"### Exposure by way of looking\n\n{ways_table(study)}")
    parts.append(f"### Rank correlation of AUC and ε\n\n{correlations_table(study)}")
    if len(study.groups):
        parts.append(f"### Groups\n\n{groups_table(study)}")
    if len(study.halves):
        parts.append(f"### Inversion\n\n{inversion_table(study)}")
    parts.append(f"### Seeds of each cell\n\n{coverage(study)}")
    return "\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, and draw the figure where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args(arguments)
    study = Study(given.folder)
    print(tables(study))
    if given.figure is not None:
        with replacing(given.figure) as temporary:
            figure(study).savefig(temporary, format="png")


if __name__ == "__main__":
    main()
