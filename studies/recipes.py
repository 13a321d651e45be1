"""Real sentences, open vocabulary: what does it cost that the speech stays on the devices, and what does a seed give?

    python -m studies.recipes sentences readers --out runs/recipes --seeds 1 2 3

For each recipe: the seed models, which all seeds share; then for each seed the devices and the same passes in one
place, from the seed model and from scratch. Runs that are there are not done again. Prints a Markdown table; rates are
of speakers that are no client, their intervals from whole speakers drawn with replacement.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

import fedasr
from fedasr import seeds as draws
from fedasr.config import load
from fedasr.evaluation.intervals import speaker_interval
from fedasr.evaluation.wer import error_counts
from fedasr.results.load import Run
from fedasr.results.tables.statistics import mean_interval
from fedasr.runtime.launch import launch
from studies.tables import grid

BEFORE = {"sentences": ("seed_sentences", "seed_readers"), "readers": ("seed_sentences",)}
"""The configs of the seed models of each recipe, each from the one before it."""
CENTRAL: dict[str, Any] = {"strategy.name": "central", "client.learning_rate": 0.003, "client.batch_size": 16}
"""In one place, the rate of the seed models: that of a device's few steps would be a weak baseline."""
SCRATCH: dict[str, Any] = {"init_from": None}
ARMS: dict[str, dict[str, Any]] = {
    "devices, from the seed model": {},
    "one place, from the seed model": CENTRAL,
    "devices, from scratch": SCRATCH,
    "one place, from scratch": {**CENTRAL, **SCRATCH},
}
PAIRS = tuple((name, name.replace("devices", "one place")) for name in ARMS if name.startswith("devices"))
RESAMPLES = 2000
MINIATURE: dict[str, Any] = {"rounds": 1, "model.layers": 1, "model.hidden": 8}
SHORT: dict[str, Any] = {"data.max_seconds": 2.8}
"""What a miniature takes of real speech, and below of synthetic speech."""
FEW: dict[str, Any] = {"data.synthetic.speakers": 4, "data.synthetic.utterances_per_speaker": 4}


class Errors(NamedTuple):
    """What a run made of the test speech: an utterance a row."""

    speakers: npt.NDArray[Any]
    characters: npt.NDArray[np.int64]
    wrong: npt.NDArray[np.int64]

    @property
    def cer(self) -> float:
        """Return the character error rate."""
        return float(self.wrong.sum() / self.characters.sum())


def folder(out: Path, seed: int, name: str) -> Path:
    """Return the folder of a run."""
    return out / f"{''.join(c if c.isalnum() else '_' for c in name)}-{seed}"


def run_all(out: Path, recipe: str, seeds: Sequence[int], arms: Sequence[str], miniature: bool = False) -> None:
    """Do the runs that are not there yet."""
    changes = {**MINIATURE, **SHORT} if miniature else {}
    first: dict[str, Any] = {}
    for name in BEFORE[recipe]:
        smaller = {**MINIATURE, **FEW} if miniature and name == "seed_sentences" else changes
        launch(load(name, {**smaller, **first}), out / name, resume=True)
        first = {"init_from": str(out / name)}
    for seed in seeds:
        for arm in arms:
            tree = {"seed": seed, **first, **changes, **ARMS[arm]}
            launch(load(recipe, tree), folder(out, seed, f"{recipe}: {arm}"), resume=True)


def errors_of(run: Run) -> Errors:
    """Return the character errors of the final model on each utterance of the test speech."""
    table = run.transcripts[run.transcripts["round"] == run.summary["rounds"]].sort_values("utterance")
    pairs = zip(table["reference"].fillna(""), table["hypothesis"].fillna(""), strict=True)
    counts = [error_counts([reference], [hypothesis]) for reference, hypothesis in pairs]
    return Errors(
        table["speaker"].astype(str).to_numpy(),
        np.array([count.characters for count in counts], np.int64),
        np.array([count.character_errors for count in counts], np.int64),
    )


def pooled(parts: Sequence[Errors]) -> Errors:
    """Return the errors of several seeds on the same speech as one."""
    return Errors(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def excess(devices: Errors, place: Errors, seed: int = 0) -> tuple[float, float, float]:
    """Return by how much the CER on devices exceeds that in one place, a fraction of the latter, and its 95 % interval.

    Whole speakers are drawn with replacement, the same ones for both.
    """
    names = np.unique(devices.speakers)
    sums = np.array(
        [[part.wrong[part.speakers == name].sum() for name in names] for part in (devices, place)], np.float64
    )
    rng = draws.generator(seed, "recipes/excess")
    weights = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    drawn = weights @ sums.T
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1] - 1, (0.025, 0.975))
    return float(sums[0].sum() / sums[1].sum() - 1), float(low), float(high)


def rows(out: Path, recipe: str, seeds: Sequence[int], arms: Sequence[str]) -> Iterator[list[str]]:
    """Yield a row for the seed model and one for each arm: CER and WER over seeds, and the interval over speakers."""
    started = [arm for arm in arms if ARMS[arm].get("init_from", "the seed model") is not None]
    if started:
        first = [fedasr.load_run(folder(out, seed, f"{recipe}: {started[0]}")).initial for seed in seeds]
        yield ["the seed model", *(spread([start[metric] for start in first]) for metric in ("cer", "wer")), ""]
    for arm in arms:
        runs = [fedasr.load_run(folder(out, seed, f"{recipe}: {arm}")) for seed in seeds]
        whole = pooled([errors_of(run) for run in runs])
        low, high, _ = speaker_interval(whole.speakers, whole.characters, whole.wrong, 0)
        rates = [spread([run.last(metric) for run in runs]) for metric in ("cer", "wer")]
        yield [arm, *rates, f"{low:.3f} to {high:.3f}"]


def spread(values: Sequence[float]) -> str:
    """Return the mean and, of several seeds, the lowest and the highest."""
    mean = f"{np.mean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.3f} to {max(values):.3f})"


def gaps(out: Path, recipe: str, seeds: Sequence[int], arms: Sequence[str]) -> Iterator[list[str]]:
    """Yield by how much the CER on devices exceeds that in one place, relative to the latter."""
    for devices, place in PAIRS:
        if devices not in arms or place not in arms:
            continue
        parts = [
            [errors_of(fedasr.load_run(folder(out, seed, f"{recipe}: {arm}"))) for seed in seeds]
            for arm in (devices, place)
        ]
        value, low, high = excess(*map(pooled, parts))
        by_seed = [theirs.cer / mine.cer - 1 for theirs, mine in zip(*parts, strict=True)]
        _, least, most = map(float, mean_interval(np.array(by_seed)))
        over_seeds = "" if len(seeds) < 2 else f"{100 * least:+.1f} to {100 * most:+.1f} %"
        yield [devices.split(", ")[1], f"{100 * value:+.1f} %", f"{100 * low:+.1f} to {100 * high:+.1f} %", over_seeds]


def markdown(out: Path, recipe: str, seeds: Sequence[int], arms: Sequence[str]) -> str:
    """Return the tables of a recipe."""
    head = (f"`{recipe}`, {len(seeds)} seed(s)", "CER", "WER", "CER, 95 % over speakers")
    gap_head = ("CER on devices beside one place", "relative", "95 % over speakers", "95 % over seeds")
    tables = [grid(head, list(rows(out, recipe, seeds, arms)))]
    if between := list(gaps(out, recipe, seeds, arms)):
        tables.append(grid(gap_head, between))
    return "\n".join(tables)


def learning(out: Path, recipe: str, seeds: Sequence[int], arms: Sequence[str]) -> pd.DataFrame:
    """Return the CER after each evaluated round: a row a recipe, arm, seed and round."""
    parts = []
    for arm in arms:
        for seed in seeds:
            table = fedasr.load_run(folder(out, seed, f"{recipe}: {arm}")).rounds.dropna(subset=["cer"])
            parts.append(table[["round", "cer", "wer"]].assign(recipe=recipe, arm=arm, seed=seed))
    return pd.concat(parts, ignore_index=True)[["recipe", "arm", "seed", "round", "cer", "wer"]]


def main() -> None:
    """Run recipes and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="+", choices=sorted(BEFORE))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--csv", type=Path, help="write the error rates over the rounds")
    parser.add_argument("--miniature", action="store_true", help="one round of a small model: does it run?")
    given = parser.parse_args()
    for recipe in given.recipes:
        run_all(given.out, recipe, given.seeds, given.arms, given.miniature)
        print(markdown(given.out, recipe, given.seeds, given.arms), flush=True)
    if given.csv:
        tables = [learning(given.out, recipe, given.seeds, given.arms) for recipe in given.recipes]
        pd.concat(tables, ignore_index=True).to_csv(given.csv, index=False, float_format="%.4f")


if __name__ == "__main__":
    main()
