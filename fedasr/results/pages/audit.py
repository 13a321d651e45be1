"""The section of a report on what audits of the run found."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from fedasr.results.pages.html import Html, element, table

FIGURES = "audit_*.png"
"""What audits draw into the run folder; the report shows it under the rest of its name."""


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


def verdict(finding: Mapping[Any, Any]) -> Html:
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
