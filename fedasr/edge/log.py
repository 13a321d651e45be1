"""The log of a server or an edge device as one JSON object a line: what FedASR says, and what Flower's processes say.

The lines stay what they are for people, under ``text``. Where a line is known its facts are fields too.
"""

from __future__ import annotations

import io
import json
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from fedasr.errors import one_line

OWN = "fedasr"
"""The source of what this process says itself."""
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
COLOURS = re.compile(r"(\x1b\[(?:0|1|9[0-7])m)")
FLOWER = re.compile(r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL)[^:]{0,30}:\s*(?P<text>.*)")
UVICORN = re.compile(r"\S+Z (?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL) \[[\w.]+\] (?P<text>.*)")
TROUBLE = re.compile(r"Traceback \(|\w*(Error|Exception)\b|error: |failed: ")
KEY = r"SHA256:[\w+/=]+|none|of another kind"
KNOWN = (
    # What a stranger chooses comes before what the server adds, and is taken greedily: it cannot pass for that.
    ("refused", "warning", rf"refused: (?P<what>.*) from (?P<address>\S*), key (?P<key>{KEY}): (?P<reason>[^:]*)"),
    ("refused", "warning", r"refused: (?P<what>.*) from (?P<address>\S*): (?P<reason>only edge devices may call.*)"),
    ("refused", "warning", r"refused: a connection before it said anything: (?P<reason>.*)"),
    ("connected", None, r"\[Fleet.ActivateNode\] Activated node_id=(?P<node>\d+)"),
    ("disconnected", None, r"\[Fleet.DeactivateNode\] Deactivated node_id=(?P<node>\d+)"),
    ("submitted", None, r"Created run (?P<run>\d+) .*"),
    ("started", None, r"Started task (?P<task>\d+) of run (?P<run>\d+).*"),
    ("finished", None, r"Finished task (?P<task>\d+) of run (?P<run>\d+).*"),
    ("message", None, r"\[RUN (?P<run>\d+), ROUND (?P<round>\d*)\]"),
    ("received", None, r"Receiving: (?P<kind>\S+) message \(ID: (?P<message>\w+)\)"),
    ("sent", None, r"Sending: (?P<kind>\S+) message \(ID: (?P<message>\w+)\)"),
    ("unanswered", "error", r"a message was not answered: (?P<reason>.*)"),
)
"""Lines whose facts are told apart: the event, the level (None: what the line says), and how it looks."""
PATTERNS = [(event, level, re.compile(pattern)) for event, level, pattern in KNOWN]


class JsonLines(io.TextIOBase):
    """A text stream that writes each line as a JSON object to another.

    Args:
        target: where the objects go.
    """

    def __init__(self, target: TextIO) -> None:
        self.target = target
        self.lock = threading.Lock()
        self.rest = ""
        self.levels: dict[str, str] = {}
        """source → level of its last line: an indented line goes on with it"""

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def write(self, text: str) -> int:
        """Take text of this process; whole lines are written."""
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            self.line(line, OWN)
        return len(text)

    def flush(self) -> None:
        """Flush the target."""
        self.target.flush()

    def line(self, line: str, source: str) -> None:
        """Write a line of a source; one without text is left out."""
        entry = structured(line, self.levels.get(source, "info"))
        if entry["text"]:
            self.levels[source] = entry["level"]
            self.put(source, entry)

    def put(self, source: str, fields: Mapping[str, Any]) -> None:
        """Write an object: the time, where it comes from, and its fields."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        text = json.dumps({"time": now, "source": source, **fields}, ensure_ascii=False)
        with self.lock:
            self.target.write(text + "\n")
            self.target.flush()


def structured(line: str, before: str = "info") -> dict[str, Any]:
    """Return the level, the text and, where they are known, the event and the facts of a line.

    Args:
        line: as a process wrote it.
        before: the level of the line before.
    """
    plain = ESCAPES.sub("", line).rstrip()
    match = UVICORN.fullmatch(plain) or FLOWER.fullmatch(plain)
    if match is not None:
        level, text = match["level"].lower(), match["text"].strip()
    elif plain[:1].isspace():
        level, text = before, plain
    else:
        level, text = "error" if TROUBLE.match(plain) else "info", plain
    for event, own_level, pattern in PATTERNS:
        facts = pattern.fullmatch(text)
        if facts is not None:
            return {"level": own_level or level, "event": event, "text": text, **values(facts.groupdict())}
    return {"level": level, "text": text}


def values(facts: Mapping[str, str]) -> dict[str, str | int]:
    """Return the facts of a line, a round as a number; those that the line leaves open are left out."""
    return {name: int(text) if name == "round" else text for name, text in facts.items() if text}


def source_of(arguments: Sequence[str]) -> str:
    """Return a short name for a process: ``superlink``, ``supernode`` or ``executor``."""
    name = arguments[2] if arguments[1:2] == ["-m"] else Path(arguments[0]).name
    return name.rpartition(".")[2].removeprefix("flower-")


def harmless(line: str) -> str:
    """Return a line with Flower's colours, and with all else that a terminal would obey made visible.

    Flower's lines hold what others chose: the type of a message, the reason of a failure.
    """
    parts = COLOURS.split(line.rstrip("\r\n").expandtabs())
    return "".join(part if COLOURS.fullmatch(part) else one_line(part) for part in parts)


def pass_on(line: str, source: str) -> None:
    """Write a line of another process to this one's log."""
    if isinstance(sys.stderr, JsonLines):
        sys.stderr.line(line, source)
    else:
        sys.stderr.write(harmless(line) + "\n")
        sys.stderr.flush()


def speak_json() -> None:
    """Let all that this process writes to standard error, and passes on from others, be JSON from now on."""
    sys.stderr = JsonLines(sys.stderr)
