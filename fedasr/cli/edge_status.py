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
        run: Annotated[str | None, typer.Argument(help="The run to show in detail; default: the newest.")] = None,
        data: Annotated[Path | None, typer.Option(help="On an edge device: its folder.")] = None,
        home: Annotated[Path, typer.Option("--home", help="The server's folder.")] = Path("edge"),
        watch: Annotated[bool, typer.Option("--watch", help="Refresh until the run is over.")] = False,
        every: Annotated[float, typer.Option(min=0.2, help="With --watch: seconds between refreshes.")] = 2.0,
        json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
        prometheus: Annotated[bool, typer.Option("--prometheus", help="Print metrics for Prometheus.")] = False,
        out: Annotated[
            Path | None, typer.Option(help="With --prometheus: write to this file, replaced atomically.")
        ] = None,
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
            device_command(data, json)
            return
        from fedasr.edge.server_folder import ServerFolder
        from fedasr.edge.watching.server_state import server_status

        server = ServerFolder(home)
        if watch:
            watch_command(server, run, every)
            return
        status = server_status(server, run)
        if json:
            print_json(status)
        elif prometheus:
            metrics_command(status, out)
        else:
            from fedasr.edge.watching.screen import screen

            console.print(screen(status))


def one_of(options: dict[str, bool]) -> None:
    """Raise where two options are given that say the opposite.

    Raises:
        InputError: naming them.
    """
    from fedasr.errors import InputError

    given = [name for name, value in options.items() if value]
    if len(given) > 1:
        raise InputError(f"give one of {' and '.join(given)}, not both", where="fedasr edge status")


def device_command(data: Path, json: bool) -> None:
    """Say what an edge device has done."""
    from fedasr.edge.device_folder import DeviceFolder
    from fedasr.edge.status import device_status

    device = DeviceFolder(data)
    status = device_status(device, device.manifest)
    if json:
        print_json(status)
    else:
        show_device(status)


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


def metrics_command(status: dict[str, Any], out: Path | None) -> None:
    """Print metrics, or write them to a file."""
    from fedasr.edge.secrets import write_public
    from fedasr.edge.watching.metrics import exposition

    text = exposition(status)
    if out is None:
        sys.stdout.write(text)
        return
    write_public(out, text.encode())


def show_device(status: dict[str, Any]) -> None:
    """Print the state of an edge device for people."""
    last = status["last_round"]
    guarantees = [str(spent["guarantee"]) for spent in status["privacy"]]
    lines = {
        "box": f"{status['name']} of {status['superlink']}, {'running' if status['running'] else 'not running'}",
        "server": status["server"],
        "recordings": status["recordings"],
        "rounds": status["rounds"],
        "last": "none" if last is None else f"round {last['round']} at {last['at']}, {last['utterances']} utterances",
        "sent": f"{status['bytes_sent'] / 1e6:.2f} MB",
        "privacy": "; ".join(guarantees) if guarantees else "nothing private was done",
    }
    for name, value in lines.items():
        console.print(f"{name:12}{value}", markup=False)
