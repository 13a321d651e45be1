"""Seed model, then federated fine-tuning on real speech, beside the same model trained centrally and from scratch.

    python -m benchmarks.real_speech speech_commands --out docs/results/speech_commands.md
    python -m benchmarks.real_speech arabic_commands connected_digits --seeds 0

Every run is an ordinary run folder under --runs; a finished one is not run again. Central means one client that holds
everything, AdamW, and as many passes over the speech as the federated run had in all. WER is on speakers that are no
client.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import fedasr
from fedasr.config import load
from fedasr.evaluation.recognizer import evaluate_manifest
from fedasr.experiment import Experiment


@dataclass(frozen=True)
class Recipe:
    """A federated config, the config of its seed model, and where its speech lies."""

    seed_config: str
    manifest: str
    subset: str | None = None
    before: str | None = None
    """the config that the seed model itself starts from"""


RECIPES = {
    "speech_commands": Recipe("seed_keywords", "speech_commands_v2_testset_mini/manifest.csv"),
    "arabic_commands": Recipe("seed_arabic", "arabic_speech_commands_mini/manifest.csv"),
    "connected_digits": Recipe("seed_digits", "speechocean762_mini/manifest.csv", "connected_digits", "seed_keywords"),
}


def train(config: str, folder: Path, overrides: dict[str, Any]) -> fedasr.Run:
    """Run a config into a folder, or take what is there."""
    print(f"{folder.name} …", flush=True)
    return fedasr.run(config, out=folder, overrides=overrides, resume=True)


def central(run: fedasr.Run, utterances: int, workers: int) -> dict[str, Any]:
    """Return the overrides that train centrally with the passes of a federated run."""
    passes = run.rounds["examples"].sum() * int(run.config.client.epochs) / utterances
    return {
        "data.partition.name": "iid",
        "data.clients": 1,
        "selection.clients_per_round": 1,
        "strategy.name": "fedavg",
        "strategy.learning_rate": 1.0,
        "client.epochs": 1,
        # What works best centrally: a federated client's few plain steps would be a weak baseline.
        "client.optimizer": "adamw",
        "client.learning_rate": 0.001,
        "client.weight_decay": 0.01,
        "client.batch_size": 8,
        "rounds": max(1, round(passes)),
        "evaluate.every": 0,
        "runtime.workers": workers,
    }


def subset_manifest(data: Path, recipe: Recipe, folder: Path) -> Path:
    """Return the manifest of a recipe's speech; for a subset, a copy of its rows with absolute paths."""
    import pandas as pd

    path = (data / recipe.manifest).resolve()
    if recipe.subset is None:
        return path
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table = table[table["subset"] == recipe.subset].copy()
    table["path"] = [str(path.parent / name) for name in table["path"]]
    target = folder / f"{recipe.subset}.csv"
    table.to_csv(target, index=False)
    return target


def measure(name: str, data: Path, runs: Path, seeds: Sequence[int], mini: bool, scratch: int | None = None) -> str:
    """Run a recipe and return its table."""
    recipe = RECIPES[name]
    runs.mkdir(parents=True, exist_ok=True)
    small = {
        "rounds": 2,
        "data.synthetic.speakers": 8,
        "data.synthetic.utterances_per_speaker": 4,
        "model.layers": 2,
        "model.hidden": 32,
    }
    extra = {key: value for key, value in small.items() if not key.startswith("data.")} if mini else {}
    manifest = subset_manifest(data, recipe, runs)
    result: dict[str, list[tuple[float, float, float]]] = {}
    for seed in seeds:
        pretrained = runs / f"{recipe.seed_config}-{seed}"
        first = {"init_from": str(runs / f"{recipe.before}-{seed}")} if recipe.before else {}
        if recipe.before:
            train(recipe.before, runs / f"{recipe.before}-{seed}", {"seed": seed, **(small if mini else {})})
        train(recipe.seed_config, pretrained, {"seed": seed, **first, **(small if mini else {})})
        base = {"seed": seed, "data.manifest": str((data / recipe.manifest).resolve()), **extra}
        federated = train(name, runs / f"{name}-{seed}", {**base, "init_from": str(pretrained)})
        vocabulary = Experiment(load(federated.config)).vocabulary
        utterances = int(federated.clients.groupby("client")["examples"].max().sum())
        one = central(federated, utterances, 1)
        cases = {
            "seed model only": pretrained,
            "federated, from the seed model": federated.path,
            "central, from the seed model": train(
                name, runs / f"{name}-central-{seed}", {**base, "init_from": str(pretrained), **one}
            ).path,
        }
        if seed in seeds[:scratch]:
            folder = runs / f"{name}-scratch-{seed}"
            cases["federated, from scratch"] = train(name, folder, {**base, "init_from": None}).path
        for label, folder in cases.items():
            rows = [evaluate_manifest(folder, manifest, "test", decoder) for decoder in ("greedy", "beam")]
            phrases = evaluate_manifest(folder, manifest, "test", "vocabulary", vocabulary=vocabulary)
            result.setdefault(label, []).append((rows[0]["wer"], rows[1]["wer"], phrases["wer"]))
    words = evaluate_manifest(federated.path, manifest, "test")["words"]
    lines = [
        f"`{name}`: {utterances} real utterances of {federated.summary['clients']} clients; tested on {words} words of"
        f" speakers that are no client; {len(seeds)} seed(s){', mean ± standard deviation' if len(seeds) > 1 else ''}.",
        "",
        "| training | WER greedy | WER beam | WER closed vocabulary |",
        "|---|---|---|---|",
    ]
    for label, values in result.items():
        cells = [spread([value[column] for value in values]) for column in range(3)]
        label += "" if len(values) == len(seeds) else f" ({len(values)} seed)"
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def spread(values: list[float]) -> str:
    """Return the mean, and the standard deviation where there are several."""
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def main() -> None:
    """Run recipes and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="+", choices=sorted(RECIPES))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("FEDASR_DATA", "../shared/data")))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--scratch", type=int, help="how many of the seeds also train from scratch; all, if absent")
    parser.add_argument("--mini", action="store_true", help="two rounds of a small model: does it run?")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    tables = [
        measure(name, arguments.data, arguments.runs, arguments.seeds, arguments.mini, arguments.scratch)
        for name in arguments.recipes
    ]
    text = "\n".join(tables)
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
