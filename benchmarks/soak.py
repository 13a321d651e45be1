"""Edge devices that are killed every few seconds for many rounds: is every round accounted for, does memory stay flat?

    python -m benchmarks.soak --figure docs/results/soak.png

A server and its devices run on this machine over TLS with node authentication, as ``fedasr edge`` starts them. At
random times a random device loses all its processes, its executor, or the process that answers a message, by SIGKILL;
what ends is started again after a moment, as a service manager does. One device is spared, so that its memory can be
followed.
"""

from __future__ import annotations

import argparse
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import fedasr
from benchmarks.measure import resident_mb
from fedasr.results.figures import style
from tests.e2e.edge_world import NAMES, World, executors, family, speech, tell, until, write_manifest

SPARED = "device-0"
KINDS = ("device", "executor", "message")
SAMPLE_SECONDS = 2.0
LOOK_SECONDS = 0.2
RESTART_SECONDS = 2.0
"""How long what has ended stays away."""
DEADLINE_S = 30.0
PATIENCE = 2.5
"""The deadline is at least as many times as long as the server takes to start: the machine may be slow, or busy."""
LAST_LINES = 40
"""Of the server's log, told where a run does not end well."""
LEARNING_SHARE = 0.2
"""Of the samples: at first processes import and fill their caches, which is no leak."""


@dataclass
class Soak:
    """What was seen."""

    rounds: int
    devices: int
    deadline_s: float = DEADLINE_S
    """of a round"""
    seconds: float = 0.0
    kills: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    starts: int = 0
    """of edge devices, after the first"""
    replies: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    """reason → how many"""
    database_mb: float = 0.0
    """of the SuperLink, at the end"""
    left: list[str] = field(default_factory=list)
    """processes that outlived the end"""
    memory: list[tuple[float, float, float]] = field(default_factory=list)
    """(seconds, megabytes of the server's processes, of the spared device's)"""


def config(manifest: Path, rounds: int, devices: int, deadline_s: float) -> dict[str, Any]:
    """Return the config of the run: a tiny model, every device in every round."""
    return {
        "name": "soak",
        "seed": 1,
        "rounds": rounds,
        "data": {"corpus": "manifest", "manifest": str(manifest), "clients": devices},
        "model": {"encoder": "lstm", "channels": [8, 8], "hidden": 8},
        "client": {"optimizer": "sgd", "learning_rate": 0.1, "batch_size": 4, "steps": 10},
        "selection": {"clients_per_round": devices},
        "strategy": {"max_failed_share": 1.0},
        "evaluate": {"every": 0},
        "runtime": {"name": "deployment", "reply_timeout_s": deadline_s},
    }


def soak(root: Path, rounds: int, devices: int, every_s: float, seed: int) -> tuple[Soak, fedasr.Run]:
    """Let edge devices be killed while a run goes on, and return what was seen and the run.

    Args:
        root: a folder, empty or made.
        rounds: of the run.
        devices: how many, one of which is spared.
        every_s: mean seconds between two kills.
        seed: of the kills.
    """
    root.mkdir(exist_ok=True)
    world, rng, seen = World(root), Random(seed), Soak(rounds, devices)
    rows = speech(root / "speech")
    folders: dict[str, Path] = {}
    try:
        began = time.monotonic()
        server = world.start_server()
        seen.deadline_s = max(DEADLINE_S, round(PATIENCE * (time.monotonic() - began)))
        for number in range(devices):
            name = f"device-{number}"
            folders[name] = world.enrol(name)
            write_manifest(
                folders[name] / "manifest.csv", rows[NAMES[number % len(NAMES)]], ("path", "speaker", "text")
            )
            world.start_device(folders[name])
        out = root / "run"
        test = write_manifest(root / "test.csv", rows["test"])
        run = world.submit(config(test, rounds, devices, seen.deadline_s), out)
        until(lambda: world.at_work(SPARED), 300, "the first round")
        started = time.monotonic()
        due, sample = started + rng.expovariate(1 / every_s), started
        away: dict[str, float] = {}
        while not world.ended(run):
            now = time.monotonic()
            if now >= sample:
                memory = resident_mb(server.pid), resident_mb(world.devices[SPARED].pid)
                seen.memory.append((now - started, *memory))
                sample = now + SAMPLE_SECONDS
            if now >= due and kill(world, rng.choice([name for name in folders if name != SPARED]), rng, seen):
                due = now + rng.expovariate(1 / every_s)
            for name, device in list(world.devices.items()):
                if device.poll() is not None and now >= away.setdefault(name, now + RESTART_SECONDS):
                    world.start_device(folders[name])
                    seen.starts += 1
                    del away[name]
            time.sleep(LOOK_SECONDS)
        seen.seconds = time.monotonic() - started
        seen.database_mb = world.home.joinpath("superlink.db").stat().st_size / 1e6
    finally:
        left = world.stop()
    result = fedasr.load_run(out)
    seen.replies = int((result.clients["status"] == "ok").sum())
    seen.failures = dict(Counter(result.clients["reason"].dropna()))
    seen.left = left
    last_lines = "\n".join(world.log("server.log").splitlines()[-LAST_LINES:])
    assert result.summary["status"] == "done", f"{result.summary}\n{last_lines}"
    return seen, result


def kill(world: World, name: str, rng: Random, seen: Soak) -> bool:
    """Kill a device, its executor, or the process that answers a message; return False where there is none just now."""
    kind = rng.choice(KINDS)
    device = world.devices[name]
    alive = family(device) if device.poll() is None else []
    victims = {"device": alive, "executor": executors(device)[:1], "message": executors(device)[1:]}[kind]
    tell(victims, signal.SIGKILL)
    seen.kills[kind] += bool(victims)
    return bool(victims)


def check(seen: Soak, run: fedasr.Run) -> None:
    """Raise where a round is missing, an edge device is not in a round exactly once, or a process outlived the end.

    Raises:
        AssertionError: saying which.
    """
    assert not seen.left, f"processes are left over: {seen.left}"
    assert run.rounds["round"].tolist() == list(range(1, seen.rounds + 1))
    pairs = Counter(zip(run.clients["round"], run.clients["client"], strict=True))
    assert max(pairs.values()) == 1, [pair for pair, often in pairs.items() if often > 1]
    rows = run.clients.groupby("round").size()
    assert rows.tolist() == run.rounds["clients_selected"].tolist()
    replied = run.clients[run.clients["status"] == "ok"].groupby("round").size()
    assert replied.reindex(run.rounds["round"], fill_value=0).tolist() == run.rounds["clients_replied"].tolist()
    assert run.clients.loc[run.clients["status"] != "ok", "reason"].notna().all()


def growth(memory: Sequence[tuple[float, float, float]], column: int) -> tuple[float, float, float]:
    """Return the memory after the processes have settled, at the end, and its slope in megabytes a minute."""
    table = np.array(memory)
    table = table[int(LEARNING_SHARE * len(table)) :]
    tenth = max(1, len(table) // 10)
    slope = np.polyfit(table[:, 0] / 60, table[:, column], 1)[0] if len(table) > 1 else float("nan")
    return float(np.median(table[:tenth, column])), float(np.median(table[-tenth:, column])), float(slope)


def tables(seen: Soak) -> str:
    """Return the tables of the page, Markdown."""
    killed = ", ".join(f"{often} × {kind}" for kind, often in seen.kills.items())
    total = sum(seen.kills.values())
    lines = [
        "| | |",
        "|---|---|",
        f"| rounds | {seen.rounds}, in {seen.seconds / 60:.1f} minutes, each at most {seen.deadline_s:.0f} s |",
        f"| edge devices | {seen.devices}, one of which is spared |",
        f"| killed | {total} ({killed}), one every {seen.seconds / max(1, total):.1f} s |",
        f"| started again | {seen.starts} |",
        f"| replies | {seen.replies} |",
        *(f"| failed: {reason} | {often} |" for reason, often in sorted(seen.failures.items(), key=lambda x: -x[1])),
        f"| the SuperLink's database at the end | {seen.database_mb:.1f} MB |",
        "",
        "| memory, MB | settled | at the end | a minute |",
        "|---|---|---|---|",
    ]
    for column, who in ((1, "server"), (2, "the spared edge device")):
        settled, end, slope = growth(seen.memory, column)
        lines.append(f"| {who} | {settled:.0f} | {end:.0f} | {slope:+.2f} |")
    return "\n".join(lines)


def draw(seen: Soak, target: Path) -> None:
    """Draw the memory over time."""
    table = np.array(seen.memory)
    figure = style.figure(6.4, 3.0)
    axes = style.axes(figure)
    for index, who in enumerate(("server", "spared edge device")):
        axes.plot(table[:, 0] / 60, table[:, index + 1], label=who, **style.look(index))
    axes.set_ylim(0, 1.06 * float(table[:, 1:].max()))
    style.name_axes(axes, "minutes", "resident memory, MB")
    ends = [(*table[-1, [0, index + 1]], who) for index, who in enumerate(("server", "spared edge device"))]
    style.name_lines(axes, [(x / 60, y, who, style.SERIES[index]) for index, (x, y, who) in enumerate(ends)])
    figure.savefig(target)


def main(arguments: Sequence[str] | None = None) -> None:
    """Soak, check, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--devices", type=int, default=5)
    parser.add_argument("--every", type=float, default=6.0, help="mean seconds between two kills")
    parser.add_argument("--seed", type=int, default=0, help="of the kills")
    parser.add_argument("--folder", type=Path, help="where the edge devices live, for a look at it afterwards")
    parser.add_argument("--figure", type=Path, help="where the memory over time is drawn")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="soak") as folder:
        seen, run = soak(given.folder or Path(folder), given.rounds, given.devices, given.every, given.seed)
        print(tables(seen), flush=True)
        if given.figure is not None:
            draw(seen, given.figure)
        check(seen, run)


if __name__ == "__main__":
    main()
