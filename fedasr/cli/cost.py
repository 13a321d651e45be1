"""``fedasr cost``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fedasr.cli.common import about, console, print_json
from fedasr.errors import InputError
from fedasr.units import data_size, duration, number


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command("cost", epilog="Example: fedasr cost quickstart compression.up=int8 --devices 100000 --price-per-gb 2")
    def cost(
        config: Annotated[str, typer.Argument(help="A YAML file, or a name from simulations/ without its suffix.")],
        overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Keys to change.")] = None,
        devices: Annotated[int | None, typer.Option(help="How many the fleet has; default: the config's.")] = None,
        utterances: Annotated[
            int | None, typer.Option(help="That each device stores; default: what the config's clients do.")
        ] = None,
        audio_seconds: Annotated[float | None, typer.Option(help="The same in seconds of audio.")] = None,
        update_norm: Annotated[
            float, typer.Option(help="L2 norm of an update: some codecs send more of a longer one.")
        ] = 1.0,
        server_mbps: Annotated[float, typer.Option(help="The server's link each way, and that of a worker.")] = 1000.0,
        price_per_gb: Annotated[float, typer.Option(help="What devices pay, up and down.")] = 0.0,
        server_price_per_gb: Annotated[float, typer.Option(help="Of what the server sends.")] = 0.0,
        server_price_per_hour: Annotated[float, typer.Option(help="Of the server, in simulated time.")] = 0.0,
        json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    ) -> None:
        """Say what a run would send, how long it would take and what that costs, before it runs."""
        from fedasr.config import load
        from fedasr.references import look_beside

        counts = {"--devices": devices, "--utterances": utterances}
        for option, count in counts.items():
            if count is not None and count < 1:
                raise InputError(f"is {count}; expected a whole number of at least 1", where=option)
        positive = {"--audio-seconds": audio_seconds, "--update-norm": update_norm, "--server-mbps": server_mbps}
        prices = {
            "--price-per-gb": price_per_gb,
            "--server-price-per-gb": server_price_per_gb,
            "--server-price-per-hour": server_price_per_hour,
        }
        for option, value in positive.items():
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"is {value}; expected a number above 0", where=option)
        for option, price in prices.items():
            if not 0 <= price < float("inf"):
                raise InputError(f"is {price}; expected a number of at least 0", where=option)
        look_beside(config)
        checked = load(config, overrides or [])
        from fedasr.runtime.cost import Means
        from fedasr.runtime.cost import cost as cost_of

        means = Means(
            devices,
            utterances,
            audio_seconds,
            update_norm,
            server_mbps,
            price_per_gb,
            server_price_per_gb,
            server_price_per_hour,
        )
        with about(config):
            result = cost_of(checked, means)
        if json:
            print_json(result)
        else:
            say(result)


def say(plan: dict[str, Any]) -> None:
    """Print a cost for people."""
    from rich.table import Table

    sent, seconds, turns, server = plan["bytes"], plan["seconds"], plan["turns"], plan["server"]
    about_bytes = "about " if sent["estimated"] else ""
    lines = {
        "fleet": f"{plan['clients']:,} devices, {plan['clients_per_round']:,} a round, {plan['rounds']:,} rounds",
        "model": f"{plan['parameters']:,} parameters; compression {plan['compression']} up,"
        f" {plan['compression_down']} down,"
        f" secure aggregation {plan['secure_aggregation']}",
        "a client, a round": f"{about_bytes}{data_size(sent['client_up'])} up, {data_size(sent['client_down'])} down",
        "a device, the run": f"{number(turns['device'])} turns, {data_size(sent['device_over_run'])}",
        "all": f"{about_bytes}{data_size(sent['up'])} up, {data_size(sent['down'])} down",
        "time": f"{duration(seconds['round'])} a round, {duration(seconds['run'])} in all",
    }
    money = plan["money"]
    if money["total"]:
        parts = ", ".join(f"{name.replace('_', ' ')} {number(value)}" for name, value in money.items() if value)
        lines["money"] = parts
    for name, text in lines.items():
        console.print(f"{name + ':':20}{text}", markup=False)
    full = server["fills_up_at"]
    where = "at no cohort that the bits can hold" if full is None else f"at {full:,} clients a round"
    console.print(f"{'link of one server:':20}{server['mbps']:g} Mbit/s, full {where}", markup=False)
    table = Table("clients a round", "one server", "workers", "levels")
    for row in server["cohorts"]:
        workers = "not possible" if row["workers"] is None else f"{row['workers']:,}"
        levels = "" if row["levels"] is None else str(row["levels"])
        table.add_row(f"{row['clients_per_round']:,}", duration(row["seconds_one_server"]), workers, levels)
    console.print(table)
