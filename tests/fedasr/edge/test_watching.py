"""Watching a run of devices: its folder is read while it is written, and told to people, programs and Prometheus."""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fedasr.cli.edge_status import metrics_command
from fedasr.cli.main import status as command
from fedasr.config import load
from fedasr.data.fleet import Fleet
from fedasr.edge.control import SubmittedRun
from fedasr.edge.processes import free_port
from fedasr.edge.server_folder import Enrolment, ServerFolder
from fedasr.edge.watching.changes import changes
from fedasr.edge.watching.journals import backwards
from fedasr.edge.watching.metrics import exposition
from fedasr.edge.watching.run_state import rounds_after, run_state
from fedasr.edge.watching.screen import screen
from fedasr.edge.watching.server_state import choose, device_state, in_detail
from fedasr.edge.watching.words import spending
from fedasr.errors import InputError
from fedasr.runtime.launch import open_run
from fedasr.runtime.run_folder import RunFolder
from fedasr.runtime.session import Silent, session
from fedasr.runtime.watched_edge_grid import EXCHANGE, WatchedEdgeGrid
from fedasr.strategies.server_app import run_strategy
from tests.clients.edge_devices import NAMES, SuperLink, Town

RUN = "17042938378696582008"


class Onlooker(Silent):
    """Reads the run folder after each round, while the run goes on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: list[dict[str, Any]] = []

    def round(self, row: Any) -> None:
        self.seen.append(run_state(self.folder))


class Watched:
    """A run of three edge devices, and somebody who looks at it."""

    def __init__(self, root: Path, **changes: Any) -> None:
        self.folder = root / "run"
        town = Town(root / "town")
        config = load(town.config(town.server, runtime__name="deployment", **changes))
        fleet = Fleet.unasked(list(town.folders))
        experiment = open_run(config, self.folder, resume=False, fleet=fleet)
        assert experiment is not None
        self.onlooker = Onlooker(self.folder)
        grid = WatchedEdgeGrid(SuperLink(town.folders), fleet.names, 5.0, self.folder)
        with session(self.onlooker):
            run_strategy(grid, experiment, RunFolder(self.folder), resume=False)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    return Watched(tmp_path_factory.mktemp("watched"))


@pytest.fixture
def server(tmp_path: Path) -> ServerFolder:
    result = ServerFolder(tmp_path / "server")
    result.create(["127.0.0.1"], free_port())
    return result


def submitted(out: Path | str, status: str = "finished:completed") -> SubmittedRun:
    over = "2026-11-21T21:31:09Z" if status.startswith("finished") else None
    at = "2026-11-21T21:23:28Z"
    return SubmittedRun(RUN, status, "", {"out": str(out)}, at, at, over, 453.5, 3_447_656, 3_866_805)


def whole_status(server: ServerFolder, run: SubmittedRun | None, *states: str) -> dict[str, Any]:
    """Return the status of a server whose edge devices have these states."""
    devices = [
        {**device_state(Enrolment(name, "1", "SHA256:abc", "2026-11-21T21:23:16Z"), None), "state": state}
        for name, state in zip(NAMES, states, strict=False)
    ]
    short = [] if run is None else [{"run": run.run_id, "status": run.status}]
    return {"address": "h:1", "boxes": devices, "runs": short, "run": None if run is None else in_detail(server, run)}


@pytest.mark.parametrize("block", [1, 2, 7, 1 << 16])
@pytest.mark.parametrize("rows", [0, 1, 5])
@pytest.mark.parametrize("unfinished", ["", '{"n": 9'])
def test_a_journal_is_read_from_its_end(tmp_path: Path, block: int, rows: int, unfinished: str) -> None:
    journal = tmp_path / "rounds.jsonl"
    journal.write_text("".join(json.dumps({"n": n, "text": "é" * n}) + "\n" for n in range(rows)) + unfinished)
    assert [row["n"] for row in backwards(journal, block)] == list(reversed(range(rows)))


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    journal = tmp_path / "rounds.jsonl"
    journal.write_text('{"n": 1}\nnonsense\n{"n": 2}\n')
    with pytest.raises(InputError, match=r"rounds.jsonl: is damaged: a line is not a JSON object"):
        list(backwards(journal))
    assert list(backwards(tmp_path / "none.jsonl")) == []


@pytest.mark.slow
def test_a_run_is_read_while_it_goes_on(watched: Watched) -> None:
    first, second = watched.onlooker.seen
    assert (first["state"], first["round"], first["rounds"]) == ("running", 1, 2)
    assert (second["round"], second["wer_round"]) == (2, 2)
    assert first["wer"] is not None
    assert first["privacy"] is None
    assert [device["box"] for device in first["last_round"]["boxes"]] == ["cleo", "ben", "anna"]  # the most audio first
    assert {device["status"] for device in first["last_round"]["boxes"]} == {"ok"}
    assert first["now"]["kind"] == "train"
    assert sorted(first["now"]["answered"]) == sorted(NAMES)
    assert (first["now"]["waiting"], first["now"]["over"]) == ([], True)
    done = run_state(watched.folder)
    assert (done["state"], done["now"], done["round"]) == ("done", None, 2)


@pytest.mark.slow
def test_who_does_not_answer_is_waited_for(watched: Watched, tmp_path: Path) -> None:
    """The file of a round in which one has answered, one has failed, and one is still at it."""
    said = json.loads((watched.folder / EXCHANGE).read_text())
    half = {**said, "answered": ["anna"], "failed": {"ben": "disk full"}, "over": False}
    copy = tmp_path / "run"
    (copy / "checkpoint").mkdir(parents=True)
    for name in ("config.yaml", "checkpoint/rounds.jsonl", "checkpoint/clients.jsonl"):
        (copy / name).write_bytes((watched.folder / name).read_bytes())
    (copy / EXCHANGE).write_text(json.dumps(half))
    now = run_state(copy)["now"]
    assert (now["answered"], now["failed"], now["waiting"]) == (["anna"], {"ben": "disk full"}, ["cleo"])


@pytest.mark.slow
def test_what_a_private_run_has_spent_is_told_while_it_goes_on(tmp_path: Path) -> None:
    private = {
        "privacy__unit": "example",
        "privacy__noise_multiplier": 1.0,
        "privacy__secret_noise": True,
        "strategy__weighting": "uniform",
    }
    result = Watched(tmp_path, **private, evaluate__every=2)
    first, second = (state["privacy"] for state in result.onlooker.seen)
    assert (first["round"], first["unit"], first["delta"]) == (1, "example", 1e-5)
    assert 0 < first["epsilon"] < second["epsilon"]
    (sentence,) = first["guarantee"]
    assert "at δ = 1e-05, one utterance added or removed, against the server; " in sentence
    last = run_state(result.folder)["privacy"]
    document = json.loads((result.folder / "privacy.json").read_text())
    assert (last["epsilon"], last["guarantee"]) == (document["epsilon"], [document["guarantee"]])
    assert last["epsilon"] == second["epsilon"]
    assert spending(first) == [f"after round 1: {sentence}"]


@pytest.mark.slow
def test_rounds_since_are_told_with_their_edge_devices(watched: Watched) -> None:
    assert [row["round"] for row in rounds_after(watched.folder, 0)] == [2, 1]
    (last,) = rounds_after(watched.folder, 1)
    assert (last["asked"], last["answered"], last["failed"]) == (3, 3, 0)
    assert list(rounds_after(watched.folder, 2)) == []


@pytest.mark.thorough
def test_a_round_whose_edge_devices_are_not_written_yet_is_left(watched: Watched, tmp_path: Path) -> None:
    copy = tmp_path / "checkpoint"
    copy.mkdir()
    (copy / "rounds.jsonl").write_bytes((watched.folder / "checkpoint/rounds.jsonl").read_bytes())
    clients = (watched.folder / "checkpoint/clients.jsonl").read_text().splitlines(keepends=True)
    (copy / "clients.jsonl").write_text("".join(clients[:-1]))
    assert [row["round"] for row in rounds_after(tmp_path, 0)] == [1]


@pytest.mark.thorough
def test_what_happened_is_a_line_each(watched: Watched, server: ServerFolder) -> None:
    run = submitted(watched.folder, "running")
    before = whole_status(server, run, "online", "online", "offline")
    before["run"] |= watched.onlooker.seen[0]
    after = whole_status(server, submitted(watched.folder), "online", "offline", "offline")
    first = [event.text for event in changes(None, before)]
    assert first[:3] == ["edge device anna: online", "edge device ben: online", "edge device cleo: offline"]
    assert first[3] == f"run {RUN}: running"
    assert first[4].startswith("round 1 of 2: 3 of 3 edge devices answered, WER ")
    events = list(changes(before, after))
    assert [event.event for event in events] == ["box", "run", "round", "over"]
    assert events[0].text == "edge device ben: offline"
    assert events[-1].text.startswith("the run is over: done after round 2 of 2, WER ")
    assert list(changes(after, after)) == []
    assert all(json.dumps(event.as_json()) for event in events)


def shown(status: dict[str, Any], columns: int = 80) -> str:
    console = Console(file=StringIO(), width=columns, highlight=False)
    console.print(screen(status))
    file = console.file
    assert isinstance(file, StringIO)
    return file.getvalue()


@pytest.mark.thorough
def test_a_picture_fits_80_columns(watched: Watched, server: ServerFolder) -> None:
    status = whole_status(server, submitted(watched.folder, "running"), "online", "online", "never connected")
    status["run"] |= watched.onlooker.seen[0]
    status["run"]["now"] |= {"over": False, "answered": ["anna"], "failed": {"ben": "a [red]very[/red] long " * 9}}
    status["run"]["now"]["waiting"] = ["cleo"]
    text = shown(status)
    assert max(map(len, text.splitlines())) <= 80
    assert "round 1, train: 1 of 3 edge devices have answered, 1 failed" in text
    assert re.search(r"cleo +never connected +waiting +ok", text)
    assert "[red]" in text
    assert "no run was submitted yet" in shown(whole_status(server, None, "online"))


def parsed(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Return the samples of an exposition by name, after checking that each line is one the format allows."""
    result: dict[str, list[tuple[dict[str, str], float]]] = {}
    kinds: dict[str, str] = {}
    assert text.endswith("\n")
    for line in text.splitlines():
        comment = re.fullmatch(r"# (HELP|TYPE) ([a-z_]+) (.+)", line)
        if comment is not None:
            if comment[1] == "TYPE":
                assert comment[2] not in kinds
                kinds[comment[2]] = comment[3]
            continue
        sample = re.fullmatch(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)', line)
        assert sample is not None, line
        assert kinds[sample[1]] == ("counter" if sample[1].endswith("_total") else "gauge")
        labels = {
            name: value.replace("\\n", "\n").replace('\\"', '"').replace("\\\\", "\\")
            for name, value in re.findall(r'([a-z]+)="((?:[^"\\]|\\.)*)"', sample[2] or "")
        }
        result.setdefault(sample[1], []).append((labels, float(sample[3])))
    return result


@pytest.mark.thorough
def test_prometheus_can_read_it(watched: Watched, server: ServerFolder) -> None:
    status = whole_status(server, submitted(watched.folder), "online", "offline", "revoked")
    status["run"]["name"] = 'a "b" \\ c\nd'
    status["run"]["privacy"] = {"epsilon": float("inf"), "delta": 1e-5, "unit": "user"}
    result = parsed(exposition(status, now=5.0))
    of = {"run": RUN}
    assert result["fedasr_status_timestamp_seconds"] == [({}, 5.0)]
    assert result["fedasr_box_connected"] == [({"box": "anna"}, 1.0), ({"box": "ben"}, 0.0)]
    assert result["fedasr_run_info"][0][0]["name"] == 'a "b" \\ c\nd'
    assert result["fedasr_run_rounds_completed"] == [(of, 2.0)]
    assert result["fedasr_run_received_bytes_total"] == [(of, 3_447_656.0)]
    assert result["fedasr_run_word_error_rate_ratio"] == [(of, status["run"]["wer"])]
    assert result["fedasr_run_last_round_boxes_answered"] == [(of, 3.0)]
    assert len(result["fedasr_box_last_round_answered"]) == 3
    assert result["fedasr_run_privacy_epsilon"] == [({**of, "delta": "1e-05", "unit": "user"}, float("inf"))]


@pytest.mark.thorough
def test_metrics_are_written_whole(watched: Watched, server: ServerFolder, tmp_path: Path) -> None:
    status = whole_status(server, submitted(watched.folder), "online")
    metrics_command(status, tmp_path / "fedasr.prom")
    assert parsed((tmp_path / "fedasr.prom").read_text())["fedasr_run_active"] == [({"run": RUN}, 0.0)]
    assert sorted(path.name for path in tmp_path.glob("*fedasr*")) == ["fedasr.prom"]
    with pytest.raises(InputError, match=r"none/fedasr.prom: cannot be written: No such file or directory"):
        metrics_command(status, tmp_path / "none" / "fedasr.prom")


def test_what_cannot_be_read_is_a_line(server: ServerFolder, tmp_path: Path) -> None:
    state = in_detail(server, submitted(tmp_path / "gone", "finished:failed"))
    assert state["problem"] == f"{tmp_path / 'gone'}: no such folder; the run has not made it yet, or it was moved"
    assert (state["over"], state["good"], state["round"]) == (True, False, None)
    status = {"address": "h:1", "boxes": [], "runs": [{"run": RUN, "status": "x"}], "run": state}
    assert "no such folder" in shown(status, 200)
    assert "the run is over: finished:failed" in shown(status, 200)
    assert parsed(exposition(status))["fedasr_run_active"] == [({"run": RUN}, 0.0)]
    (tmp_path / "other").mkdir()
    assert "holds no run" in str(in_detail(server, submitted(tmp_path / "other"))["problem"])


def test_a_run_without_a_folder_of_its_own_is_found(server: ServerFolder) -> None:
    run = submitted("")
    assert run.folder(server.work) is None
    made = server.work / "runs" / f"home-{RUN}"
    made.mkdir(parents=True)
    assert run.folder(server.work) == made


def test_a_run_is_chosen() -> None:
    runs = [submitted("a")]
    assert choose(runs, None) is runs[0]
    assert choose([], None) is None
    assert choose(runs, RUN) is runs[0]
    with pytest.raises(InputError, match=f"RUN: the SuperLink has no run '5'; the newest: {RUN}"):
        choose(runs, "5")
    with pytest.raises(InputError, match="none was submitted yet"):
        choose([], "5")


@pytest.fixture
def home(server: ServerFolder) -> str:
    return str(server.path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--watch", "--json"], "give one of --watch and --json, not both"),
        (["--json", "--prometheus"], "give one of --json and --prometheus, not both"),
        (["--out", "x.prom"], "--out: says where to write metrics; add --prometheus"),
        (["--data", "box", "--watch"], "--data: an edge device knows of no runs"),
        (["--data", "box", "5"], "--data: an edge device knows of no runs"),
        (["--watch"], "the SuperLink does not answer; start it with 'fedasr edge run-server --home"),
        ([], "the SuperLink does not answer"),
    ],
)
def test_wrong_input_is_a_line(home: str, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["edge", "status", "--home", home, *arguments]) == 2
    text = capsys.readouterr().err
    assert said in text
    assert len(text.strip().splitlines()) == 1
