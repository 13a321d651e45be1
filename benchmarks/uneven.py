"""What uneven speech costs, and what two habits save: batches of similar length, and the longest clients first.

    python -m benchmarks.uneven --data ../shared/data

Real recordings of three corpora (0.2 to 4 seconds) are dealt out to clients whose sizes follow a power law. The four
combinations run in turn; a ratio is the median over the repeats of (both habits) / (without).
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.run_fedasr import Clock
from fedasr.config import load
from fedasr.runtime.launch import launch

CORPORA = ("speech_commands_v2_testset_mini", "speechocean762_mini", "fsdd_mini")


def write_manifest(data: Path, target: Path) -> int:
    """Write one manifest of the training speech of all corpora; return its utterances."""
    rows: list[tuple[str, str, str, str, str]] = []
    for name in CORPORA:
        with (data / name / "manifest.csv").open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                split = {"train": "train", "valid": "test"}.get(row["split"])
                if split:
                    path = (data / name / row["path"]).resolve()
                    rows.append((str(path), row["speaker"], row["text"], row["duration_s"], split))
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "speaker", "text", "duration_s", "split"])
        writer.writerows(rows)
    return len(rows)


def config(manifest: Path, cache: Path, grouped: bool, longest: bool, rounds: int) -> dict[str, Any]:
    """Return the config of one combination."""
    return {
        "name": "uneven",
        "rounds": rounds,
        "data": {
            "corpus": "manifest",
            "manifest": str(manifest),
            "clients": 60,
            "on_bad_audio": "skip",
            "partition": {"name": "quantity-power", "exponent": 1.2},
            "cache": {"directory": str(cache), "memory_mb": 512},
        },
        "model": {"encoder": "blstm", "channels": [64, 96], "hidden": 128, "layers": 1},
        "client": {"optimizer": "sgd", "learning_rate": 0.01, "batch_size": 8, "group_by_length": grouped},
        "selection": {"clients_per_round": 12},
        "evaluate": {"every": 0, "limit": 10},
        "runtime": {"workers": 2, "longest_first": longest},
    }


def seconds_a_round(settings: dict[str, Any], folder: Path) -> float:
    """Return the mean seconds a round over all but the first (the clients of a round differ, so no median)."""
    clock = Clock()
    launch(load(settings), folder, watcher=clock)
    rounds = [b - a for a, b in pairwise(clock.times)][1:]
    return sum(rounds) / len(rounds)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("FEDASR_DATA", "../shared/data")))
    parser.add_argument("--rounds", type=int, default=13)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    cases = [(False, False), (True, False), (False, True), (True, True)]
    result: dict[tuple[bool, bool], list[float]] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        utterances = write_manifest(arguments.data, work / "all.csv")
        warm = config(work / "all.csv", work / "cache", True, True, arguments.rounds)
        seconds_a_round(warm, work / "warm")
        for repeat in range(arguments.repeats):
            for case in cases:
                settings = config(work / "all.csv", work / "cache", *case, arguments.rounds)
                result[case].append(seconds_a_round(settings, work / f"{repeat}-{case[0]}-{case[1]}"))
    lines = [
        f"{utterances} real utterances of 0.2 to 4 s, 60 clients of power-law sizes, 12 a round, 2 workers,"
        f" {arguments.repeats} repeats in turn; median (lowest–highest).",
        "",
        "| batches of similar length | longest clients first | seconds a round | × neither |",
        "|---|---|---|---|",
    ]
    base = result[(False, False)]
    for case in cases:
        times = sorted(result[case])
        ratio = median(a / b for a, b in zip(result[case], base, strict=True))
        yes = ["no", "yes"]
        spread = f"{median(times):.3f} ({times[0]:.3f}–{times[-1]:.3f})"
        lines.append(f"| {yes[case[0]]} | {yes[case[1]]} | {spread} | {ratio:.2f} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
