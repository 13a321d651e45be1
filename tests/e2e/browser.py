"""A page in a real browser that has no network: what it fetched, what it complained about, and what it drew."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

# The page forbids scripts, so a page around it measures it.
MEASURE = """<!doctype html><html><body style="margin:0"><iframe id="page" src="PAGE" style="border:0;width:WIDTHpx;
height:4000px"></iframe><pre id="found"></pre><script>
addEventListener("load", () => {
  const page = document.getElementById("page").contentDocument, root = page.documentElement;
  const box = (element) => { const b = element.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; };
  const found = {
    scheme: getComputedStyle(page.body).backgroundColor,
    wide: root.scrollWidth - root.clientWidth,
    height: root.scrollHeight,
    headings: [...page.querySelectorAll("h2")].map((h) => h.textContent),
    figures: [...page.querySelectorAll("figure svg")].map((svg) => ({
      title: svg.getAttribute("aria-label"), box: box(svg),
      texts: [...svg.querySelectorAll("text")].map((text) => [text.textContent.trim(), box(text)]),
    })),
    cut: [...page.querySelectorAll(".scroll")].filter((t) => t.scrollWidth > t.clientWidth + 1)
      .map((t) => t.querySelector("th").textContent),
  };
  document.getElementById("found").textContent = JSON.stringify(found);
});
</script></body></html>"""


@dataclass(frozen=True)
class Look:
    """What a browser made of a page: measurements in pixels, console messages, addresses it asked for."""

    found: dict[str, Any]
    console: list[str]
    requests: list[str]


def look(page: Path, folder: Path, *, width: int = 1200, dark: bool = False) -> Look:
    """Open a page in a window of ``width`` pixels, and measure it."""
    folder.mkdir()
    around = folder / "around.html"
    around.write_text(MEASURE.replace("PAGE", page.resolve().as_uri()).replace("WIDTH", str(width)), encoding="utf-8")
    done = chromium(
        folder, around, "--allow-file-access-from-files", "--virtual-time-budget=10000", "--dump-dom",
        f"--window-size={width},4000", *(["--blink-settings=preferredColorScheme=0"] if dark else []),
    )  # fmt: skip
    shown = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert shown is not None, done.stderr
    assert shown.group(1), done.stderr
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return Look(json.loads(unescape(shown.group(1))), console, requests(folder / "net.json"))


def screenshot(page: Path, folder: Path, width: int = 1200, height: int = 2600) -> Path:
    """Return a picture of a page."""
    folder.mkdir()
    picture = folder / "page.png"
    chromium(folder, page, f"--window-size={width},{height}", f"--screenshot={picture}")
    return picture


def chromium(folder: Path, page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the browser without a window, a network or a memory of earlier runs."""
    assert CHROMIUM is not None
    options = (
        *options, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
        "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr",
        f"--user-data-dir={folder / 'profile'}", f"--log-net-log={folder / 'net.json'}",
    )  # fmt: skip
    command = [CHROMIUM, *options, page.resolve().as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def requests(log: Path) -> list[str]:
    """Return the addresses that pages asked for, by the browser's log; what the browser itself asks is left out."""
    content = log.read_text(encoding="utf-8", errors="replace")
    return sorted(set(re.findall(r'"initiator":"file:[^\n]*?"url":"((?:https?|wss?|ftp):[^"]*)"', content)))
