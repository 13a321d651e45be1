"""The log as JSON: a line of text is an object with its level, its source, and its facts where it is known."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest

from fedasr.edge.gate import say
from fedasr.edge.log import JsonLines, pass_on, source_of, structured

KEY = "SHA256:8ejQXqWssaBVMxRTmx5/YCQ7AGxkKFmyMjUnWSIA+yQ"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("\x1b[92mINFO \x1b[0m:      Created run 17 in federation @none/default", {"event": "submitted", "run": "17"}),
        ("\x1b[92mINFO \x1b[0m:      [Fleet.ActivateNode] Activated node_id=97", {"event": "connected", "node": "97"}),
        ("\x1b[93mWARNING \x1b[0m:   EXPERIMENTAL: of Flower", {"level": "warning", "text": "EXPERIMENTAL: of Flower"}),
        ("INFO:     Application startup complete.", {"level": "info", "text": "Application startup complete."}),
        ("2026-11-21T21:23:11.260Z ERROR [uvicorn.error] no", {"level": "error", "text": "no"}),
        ("\x1b[92mINFO \x1b[0m:      [RUN 17, ROUND 3]", {"event": "message", "run": "17", "round": 3}),
        ("INFO :      Receiving: train message (ID: 0c11)", {"event": "received", "kind": "train", "message": "0c11"}),
        (f"refused: a from 10.0.0.2, key {KEY}: its key", {"event": "refused", "address": "10.0.0.2", "key": KEY}),
        (
            "refused: POST /x from ::1: only edge devices may call from the network",
            {"event": "refused", "level": "warning", "what": "POST /x", "address": "::1"},
        ),
        (
            "refused: a connection before it said anything: plain HTTP, without TLS",
            {"event": "refused", "reason": "plain HTTP, without TLS"},
        ),
        ("error: no", {"level": "error"}),
        ("Traceback (most recent call last):", {"level": "error"}),
        ("nothing known", {"level": "info", "text": "nothing known"}),
    ],
)
def test_a_line_is_taken_apart(line: str, expected: dict[str, Any]) -> None:
    result = structured(line)
    assert {key: result.get(key) for key in expected} == expected


def test_a_stranger_cannot_pass_for_another() -> None:
    path = f"POST /v1/control/x from 10.9.9.9, key {KEY}: its key is unknown"
    result = structured(f"refused: {path} from 10.0.0.2: only edge devices may call from the network")
    assert (result["address"], result["what"], result.get("key")) == ("10.0.0.2", path, None)


def test_a_stranger_cannot_write_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    say("POST /a\nerror: all is lost from 10.0.0.2: only edge devices may call from the network")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_every_line_is_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    target = io.StringIO()
    monkeypatch.setattr(sys, "stderr", JsonLines(target))
    print("edge device: waiting", file=sys.stderr)
    sys.stderr.write("error: in two ")
    sys.stderr.write("parts\n\n")
    pass_on("Traceback (most recent call last):\n", "executor")
    pass_on('  File "x.py", line 3\n', "executor")
    pass_on("INFO :      \n", "supernode")
    rows = [json.loads(line) for line in target.getvalue().splitlines()]
    assert [(row["source"], row["level"], row["text"]) for row in rows] == [
        ("fedasr", "info", "edge device: waiting"),
        ("fedasr", "error", "error: in two parts"),
        ("executor", "error", "Traceback (most recent call last):"),
        ("executor", "error", '  File "x.py", line 3'),
    ]
    assert all(row["time"].endswith("Z") for row in rows)


def test_lines_for_people_stay_what_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    pass_on("\x1b[92mINFO \x1b[0m:      as it was\n", "supernode")
    assert capsys.readouterr().err == "\x1b[92mINFO \x1b[0m:      as it was\n"


def test_sources_have_short_names() -> None:
    assert source_of(["/bin/flower-supernode", "--x"]) == "supernode"
    assert source_of(["/bin/python", "-m", "fedasr.edge.superlink", "--x"]) == "superlink"


def test_what_others_say_writes_to_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    pass_on("\x1b[92mINFO\x1b[0m: Receiving: \x1b]0;owned\x07train\x1b[2J\x1b[8m\r message\n", "supernode")
    said = "Receiving: \\x1b]0;owned\\x07train\\x1b[2J\\x1b[8m\\r message\n"
    assert capfd.readouterr().err == f"\x1b[92mINFO\x1b[0m: {said}"
