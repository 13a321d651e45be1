"""A picture of a terminal: what a command prints, as SVG.

python -m studies.terminal_picture out.svg fedasr run quickstart rounds=20 evaluate.every=4 --out runs/first

The command runs as it stands; the picture shows its lines, 80 columns wide, in the fonts of whoever looks at it.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

COLUMNS = 80


def picture(command: list[str], output: str) -> str:
    """Return the SVG of a command and its output."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.assemble(("$ ", "green"), (" ".join(command), "bold")))
    console.print(Text(output.rstrip("\n")))
    # Without web fonts, so that looking at the picture fetches nothing.
    template = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return console.export_svg(title="FedASR", code_format=template, unique_id="terminal")


def main() -> None:
    """Run the command and draw it."""
    out, *command = sys.argv[1:]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    Path(out).write_text(picture(command, done.stdout), encoding="utf-8")


if __name__ == "__main__":
    main()
