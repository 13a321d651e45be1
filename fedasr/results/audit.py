"""What the audits of a run found, read back from ``audit.json``, and its section of the report."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pandas as pd

from fedasr.errors import InputError
from fedasr.results.html import Html, element, table

AUDIT_JSON = "audit.json"
FIGURES = "audit_*.png"
"""What audits draw into the run folder; the report shows it under the rest of its name."""
COLUMNS = (
    "command",
    "attack",
    "kind",
    "quantity",
    "quantity_unit",
    "value",
    "low",
    "high",
    "claim",
    "claim_epsilon",
    "delta",
    "contradiction",
    "unit",
    "adjacency",
    "sampling",
    "clients",
    "randomness",
    "observer",
    "access",
    "knowledge",
    "n",
    "inside",
    "outside",
    "method",
    "confidence",
    "assumes",
    "floors",
    "of_ledger",
    "sentence",
)
NUMBERS = (
    "value", "low", "high", "claim", "claim_epsilon", "delta", "clients", "n", "inside", "outside", "confidence"
)  # fmt: skip
NEEDED = ("attack", "kind", "sentence")


def read_findings(folder: Path) -> list[dict[str, Any]]:
    """Return the findings in a run folder's ``audit.json``, none where there is no file.

    Raises:
        InputError: it is no list of findings.
    """
    path = folder / AUDIT_JSON
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except json.JSONDecodeError as error:
        raise InputError(
            f"is not valid JSON: {error.msg}; remove it and audit again", where=f"{path}:{error.lineno}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read as UTF-8 JSON: {error}", where=str(path)) from None
    right = isinstance(found, list) and all(
        isinstance(one, dict) and all(isinstance(one.get(name), str) for name in NEEDED) for one in found
    )
    if not right:
        raise InputError(
            f"holds no list of findings, each with {', '.join(NEEDED)}; remove it and audit again", where=str(path)
        )
    return list(found)


def table_of(findings: list[dict[str, Any]]) -> pd.DataFrame:
    """Return findings as a table, a row each, with all columns."""
    columns = {name: [finding.get(name) for finding in findings] for name in COLUMNS}
    frame = pd.DataFrame(columns, columns=list(COLUMNS), dtype=object)
    for name in NUMBERS:
        frame[name] = pd.to_numeric(frame[name], errors="coerce").astype("float64")
    return frame


def audit_section(folder: Path, findings: pd.DataFrame) -> Html:
    """Return the section of the report on what audits found; nothing where there was none."""
    figures = sorted(folder.glob(FIGURES))
    if not len(findings) and not figures:
        return Html()
    rows = [(verdict(row), row["sentence"]) for row in findings.to_dict("records")]
    return element(
        "section",
        element("h2", "Audit"),
        element(
            "p",
            "What attacks on this run show. A bound is what an attacker proves; an estimate may be too high or too low."
            " No contradiction proves nothing, and what was not attacked is not therefore safe.",
        ),
        table(("", "Finding"), rows, text_columns=2) if rows else "",
        element("div", *map(picture, figures), class_="figures") if figures else "",
    )


def verdict(finding: dict[str, Any]) -> Html:
    """Return in a word or two what a finding is."""
    if finding["contradiction"] is True:
        return element("span", "contradiction", class_="warn")
    return element("span", finding["kind"])


def picture(path: Path) -> Html:
    """Return a figure that an audit drew, within the page."""
    title = path.stem.removeprefix("audit_").replace("_", " ")
    content = base64.b64encode(path.read_bytes()).decode("ascii")
    image = element("img", alt=title, src=f"data:image/png;base64,{content}").removesuffix("</img>")
    return element("figure", Html(image), element("figcaption", title))
