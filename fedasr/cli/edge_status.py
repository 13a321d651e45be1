"""``fedasr edge status``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedasr.cli.common import console, print_json

if TYPE_CHECKING:
    from fedasr.edge.server_folder import ServerFolder

INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the command to its group."""

    @app.command("status", epilog="Example: fedasr edge status --watch")
    def show_status(
        run: Annotated[str | None, typer.Argument(help="The run to be told in detail; default the newest.")] = None,
        data: Annotated[Path | None, typer.Option(help="On an edge device: its folder.")] = None,
        home: Annotated[Path, typer.Option("--home", help="The server's folder.")] = Path("edge"),
        watch: Annotated[bool, typer.Option("--watch", help="Go on until the run is over.")] = False,
        every: Annotated[float, typer.Option(min=0.2, help="With --watch: seconds between two looks.")] = 2.0,
        json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
        prometheus: Annotated[bool, typer.Option("--prometheus", help="Print metrics for Prometheus.")] = False,
        out: Annotated[Path | None, typer.Option(help="With --prometheus: a file, replaced whole.")] = None,
    ) -> None:
        """Say how a server's edge devices and a run of theirs are, or on an edge device what it has done.

        Exit status: 0 shown, and with --watch the run has ended well; 1 with --watch: it has failed or was stopped;
        2 wrong input, such as a run that is not known, or a SuperLink that does not answer; 130 Ctrl-C.
        """
        from fedasr.errors import InputError

        one_of({"--watch": watch, "--json": json, "--prometheus": prometheus})
        if out is not None and not prometheus:
            raise InputError("says where to write metrics; add --prometheus", where="--out")
        if data is not None:
            if run is not None or watch or prometheus:
                raise InputError(
                    "an edge device knows of no runs; RUN, --watch and --prometheus are for the server", where="--data"
                )
            box_command(data, json)
            return
        from fedasr.edge.server_folder import ServerFolder
        from fedasr.edge.watching.server_state import server_status

        server = ServerFolder(home)
        if watch:
            watch_command(server, run, every)
            return
        found = server_status(server, run)
        if json:
            print_json(found)
        elif prometheus:
            metrics_command(found, out)
        else:
            from fedasr.edge.watching.screen import screen

            console.print(screen(found))


def one_of(options: dict[str, bool]) -> None:
    """Raise where two options are given that say the opposite.

    Raises:
        InputError: naming them.
    """
    from fedasr.errors import InputError

    given = [name for name, value in options.items() if value]
    if len(given) > 1:
        raise InputError(f"give one of {' and '.join(given)}, not both", where="fedasr edge status")


def box_command(data: Path, json: bool) -> None:
    """Say what an edge device has done."""
    from fedasr.edge.box_folder import BoxFolder
    from fedasr.edge.status import box_status

    box = BoxFolder(data)
    found = box_status(box, box.manifest)
    if json:
        print_json(found)
    else:
        show_box(found)


def watch_command(server: ServerFolder, run: str | None, every: float) -> None:
    """Follow a run until it is over, or somebody has seen enough."""
    from rich.console import Console

    from fedasr.edge.watching.watch import Watch

    try:
        good = Watch(server, run, every).show(Console(stderr=True, highlight=False))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if not good:
        raise typer.Exit(1)


def metrics_command(found: dict[str, Any], out: Path | None) -> None:
    """Print metrics, or write them to a file."""
    from fedasr.edge.secrets import write_public
    from fedasr.edge.watching.metrics import exposition

    text = exposition(found)
    if out is None:
        sys.stdout.write(text)
        return
    write_public(out, text.encode())


def show_box(found: dict[str, Any]) -> None:
    """Print the state of an edge device for people."""
    last = found["last_round"]
    said = [str(spent["guarantee"]) for spent in found["privacy"]]
    lines = {
        "box": f"{found['name']} of {found['superlink']}, {'running' if found['running'] else 'not running'}",
        "server": found["server"],
        "recordings": found["recordings"],
        "rounds": found["rounds"],
        "last": "none" if last is None else f"round {last['round']} at {last['at']}, {last['utterances']} utterances",
        "sent": f"{found['bytes_sent'] / 1e6:.2f} MB",
        "privacy": "; ".join(said) if said else "nothing private was done",
    }
    for name, value in lines.items():
        console.print(f"{name:12}{value}", markup=False)
