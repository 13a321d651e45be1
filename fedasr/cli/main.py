"""The ``fedasr`` command: one group a file, and one place where errors become exit statuses."""

from __future__ import annotations

import sys
from errno import ENAMETOOLONG
from functools import cache
from typing import Annotated, Any

import click
import typer

from fedasr import __version__
from fedasr.cli import audit, cost, data, edge, evaluate, fairness, posteriors, privacy, release, results, run, sweep
from fedasr.cli.common import console
from fedasr.errors import InputError, RunFailed, one_line
from fedasr.files import system_refusal

app = typer.Typer(
    name="fedasr",
    help="Federated learning simulation for speech recognition.",
    no_args_is_help=True,
    suggest_commands=False,  # click suggests them itself
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(asked: bool) -> None:
    """Print the version and exit."""
    if asked:
        sys.stdout.write(f"fedasr {__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Federated learning simulation for speech recognition."""


run.register(app)
sweep.register(app)
cost.register(app)
evaluate.register(app)
results.register(app)
fairness.register(app)
release.register(app)
app.add_typer(data.app, name="data")
app.add_typer(privacy.app, name="privacy")
app.add_typer(posteriors.app, name="posteriors")
app.add_typer(edge.app, name="edge")
app.add_typer(audit.app, name="audit")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 2 wrong input, 130 interrupted, 1 anything else."""
    sys.exit(status(arguments))


@cache
def command_line() -> click.Command:
    """Return the command; to read all signatures takes longer than what many commands do."""
    return typer.main.get_command(app)


def status(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    try:
        code: Any = command_line()(args=arguments, prog_name="fedasr", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except InputError as error:
        console.print(f"error: {error}", style="red", markup=False)
        return 2
    except RunFailed as error:
        console.print(f"failed: {error}", style="red", markup=False)
        return 1
    except click.exceptions.Abort as error:
        if isinstance(error.__cause__, EOFError):  # click takes a file that ends early for Ctrl-D
            raise error.__cause__ from None
        return 130
    except click.exceptions.NoArgsIsHelpError:
        return 2  # the help has been printed
    except click.ClickException as error:
        command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "fedasr"
        text = " ".join(error.format_message().split()) + as_key(error)
        console.print(f"error: {command}: {text} (see '{command} --help')", style="red", markup=False)
        return 2
    except (OSError, MemoryError) as error:
        message = system_refusal(error)
        if message is None:
            raise
        too_long = isinstance(error, OSError) and error.errno == ENAMETOOLONG
        console.print(f"{'error' if too_long else 'failed'}: {one_line(message)}", style="red", markup=False)
        return 2 if too_long else 1
    except KeyboardInterrupt:
        console.print("interrupted", style="yellow")
        return 130


def as_key(error: click.ClickException) -> str:
    """Return what to type for an unknown option that is a key of the config: ``rounds=…`` for ``--rounds``."""
    if not isinstance(error, click.NoSuchOption):
        return ""
    from fedasr.config.schema import walk

    name = error.option_name.lstrip("-").replace("-", "_")
    known = [key for key, _ in walk() if key in (name, name.replace("__", ".")) or key.endswith(f".{name}")]
    return f" Keys of the config are given without dashes: {known[0]}=VALUE" if known else ""


if __name__ == "__main__":
    main()
