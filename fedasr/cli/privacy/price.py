"""What privacy costs in error rate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedasr.cli.common import console, print_json
from fedasr.cli.privacy.options import AsJson, app


@app.command(
    "tradeoff",
    epilog="Example: fedasr privacy tradeoff runs/private_home/* --out tradeoff.png",
)
def tradeoff(
    run_dirs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN_DIR...", help="Run folders, private or not, of any seeds.", show_default=False),
    ],
    metric: Annotated[str, typer.Option(help="A column of rounds.parquet: wer, cer, loss.")] = "wer",
    out: Annotated[
        Path | None, typer.Option(help="Write FILE.png, .pdf or .svg (the figure), .html (a page) or .csv.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Show what privacy costs: the error rate against ε, by mechanism, with mean and 95 % interval over seeds."""
    from fedasr.cli.results import print_rows
    from fedasr.files import check_suffix
    from fedasr.results.pages.comparison import SUFFIXES
    from fedasr.results.pages.tradeoff import text_rows, write_tradeoff
    from fedasr.results.tables.tradeoff import tradeoff as collect

    if out is not None:
        check_suffix(out, SUFFIXES)
    table = collect(run_dirs, metric)
    if out is not None:
        write_tradeoff(table, out, metric)
    if json:
        print_json({"metric": metric, "points": table.to_dict("records")})
    else:
        print_rows(*text_rows(table, metric))
    if out is not None:
        console.print(f"wrote {out}", markup=False)
