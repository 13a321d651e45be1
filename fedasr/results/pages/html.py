"""HTML that is escaped by construction, in one page that needs nothing else: no script, no network, no second file."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from fedasr.errors import InputError
from fedasr.files import FULL, READABLE, write_bytes
from fedasr.results.figures import colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Html(str):
    """Text that is markup already. Every other text is escaped when it enters an element."""

    __slots__ = ()


def element(tag: str, *children: object, **attributes: object) -> Html:
    """Return ``<tag attributes>children</tag>``; an attribute ``class_`` is ``class``, and ``a_b`` is ``a-b``."""
    named = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(str(value))}"' for name, value in attributes.items()
    )
    return Html(f"<{tag}{named}>{join(children)}</{tag}>")


def join(children: Sequence[object]) -> Html:
    """Return the children one after the other, escaped unless they are markup."""
    return Html("".join(child if isinstance(child, Html) else escape(str(child)) for child in children))


def table(head: Sequence[object], rows: Sequence[Sequence[object]], text_columns: int = 1) -> Html:
    """Return a table; all but the first ``text_columns`` columns are numbers, set flush right."""

    def cells(tag: str, row: Sequence[object]) -> Html:
        return join([element(tag, cell, class_="text" if i < text_columns else "number") for i, cell in enumerate(row)])

    body = join([element("tr", cells("td", row)) for row in rows])
    return element(
        "div",
        element("table", element("thead", element("tr", cells("th", head))), element("tbody", body)),
        class_="scroll" if len(head) > NARROW else "scroll narrow",
        tabindex="0",
    )


def figure(fig: Figure, title: str, *notes: object) -> Html:
    """Return a figure as inline SVG whose colours follow the page's light or dark scheme."""
    caption = element("figcaption", *notes) if notes else ""
    return element("figure", svg(fig, title), caption)


def svg(fig: Figure, title: str) -> Html:
    """Return the figure as an ``<svg>`` element in theme colours; equal figures give equal bytes."""
    import matplotlib as mpl

    target = io.StringIO()
    # Without a salt the ids are random; with one per figure they do not clash on the page.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        fig.savefig(
            target, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    text = target.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text))
    names = {name for pair in used for name in pair if name}
    text = re.sub(r' id="([^"]+)"', lambda hit: hit.group(0) if hit.group(1) in names else "", text)
    text = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", text)
    for colour, variable in THEME.items():
        text = re.sub(re.escape(colour), f"var(--{variable})", text, flags=re.IGNORECASE)
    text = re.sub(r' (?:height|width)="[^"]*pt"', "", text, count=2)  # as wide as the page lets it, by its viewBox
    widest = float(fig.get_figwidth()) * PIXELS_PER_INCH
    opening = f'<svg role="img" aria-label="{escape(title)}" style="max-width: {widest:.0f}px" '
    return Html(text.replace("<svg ", opening, 1).strip())


NARROW = 4
PIXELS_PER_INCH = 120
THEME = {
    colours.INK: "ink",
    colours.MUTED: "muted",
    colours.GRID: "grid",
    **{colour: f"series-{index}" for index, colour in enumerate(colours.SERIES)},
}

# The dark series are the light ones, lightened until they stand out from the dark page; the hues stay apart.
CSS = """
:root { color-scheme: light dark; --page: #fbfbfc; --card: #ffffff; --ink: #1f2329; --muted: #5c6570; --grid: #dfe3e8;
  --good: #0b6e4f; --warn: #a4480a; --series-0: #0072b2; --series-1: #d55e00; --series-2: #009e73;
  --series-3: #b8578f; --series-4: #b97d00; --series-5: #2f8fc7; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14171b; --card: #1c2026; --ink: #e8eaed; --muted: #a3abb5; --grid: #363c45; --good: #4fd1a1;
    --warn: #f5a25d; --series-0: #5eb1ee; --series-1: #f58b4c; --series-2: #3ac79a; --series-3: #e79ac6;
    --series-4: #f0b83c; --series-5: #9ad6f7; }
}
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem 1.25rem 4rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
main { max-width: 68rem; margin: 0 auto; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .35rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; }
p { margin: .5rem 0; max-width: 46rem; }
.muted, figcaption { color: var(--muted); }
.badge { font-size: .8rem; font-weight: 600; padding: .15rem .6rem; border-radius: 1rem; border: 1px solid;
  vertical-align: .3rem; margin-left: .6rem; white-space: nowrap; color: var(--good); }
.badge.warn, .warn { color: var(--warn); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); gap: .75rem; margin: 1.25rem 0 0; }
.tiles div, figure, .card { background: var(--card); border: 1px solid var(--grid); border-radius: .5rem; }
.tiles div { padding: .65rem .85rem; }
.tiles dt { font-size: .82rem; color: var(--muted); }
.tiles dd { margin: 0; font-size: 1.3rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.tiles small { display: block; font-size: .8rem; font-weight: 400; color: var(--muted); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: .75rem;
  margin-top: .75rem; }
figure { margin: 0; padding: .85rem; }
figure svg, figure img { display: block; width: 100%; height: auto; margin: 0 auto; }
figcaption { font-size: .88rem; margin-top: .5rem; }
.scroll { overflow-x: auto; border: 1px solid var(--grid); border-radius: .5rem; background: var(--card); }
.figures .scroll { align-self: start; }
.narrow { max-width: 44rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { padding: .4rem .75rem; text-align: left; white-space: nowrap; }
td.text { overflow-wrap: anywhere; white-space: normal; min-width: 9rem; }
th { color: var(--muted); font-weight: 600; white-space: normal; vertical-align: bottom;
  border-bottom: 1px solid var(--grid); }
tr + tr td { border-top: 1px solid var(--grid); }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.transcript { overflow-wrap: anywhere; }
del { color: var(--warn); text-decoration: line-through; }
ins { color: var(--good); text-decoration: underline; }
code, pre { font: .88rem/1.45 ui-monospace, "Cascadia Mono", "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
pre { margin: 0; padding: .85rem; overflow-x: auto; white-space: pre-wrap; }
details summary { cursor: pointer; padding: .6rem .85rem; font-weight: 600; }
details pre { border-top: 1px solid var(--grid); }
@media (max-width: 30rem) { body { padding: 1.25rem .6rem 3rem; } figure { padding: .5rem .4rem; }
  .tiles { grid-template-columns: 1fr 1fr; } }
@media print { body { padding: 0; } figure, .tiles div, .scroll { break-inside: avoid; } }
"""


def page(title: str, *children: object) -> str:
    """Return a whole page. Its policy forbids the browser to fetch anything, whatever a name in the run contains."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{CSS}</style>"
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body><main>{join(children)}</main></body></html>\n'


def write(path: Path, content: str | bytes) -> Path:
    """Put a file in its place at once: a reader sees the old one or the new one, never half of it.

    Raises:
        InputError: the folder cannot be made or written to.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, data, mode=READABLE, shared=True)
    except OSError as error:
        if error.errno in FULL:
            raise
        raise InputError(f"cannot be written: {error.strerror or error}", where=str(path)) from None
    return path
