"""``fedasr data``: check a manifest, describe a partition, synthesize speech."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedasr.cli.common import about, console, print_json
from fedasr.errors import InputError, nearest

if TYPE_CHECKING:
    from fedasr.data.partition import Partition

FIGURES = (".png", ".pdf", ".svg")
GRAMMARS = ("home", "everyday", "digits", "keywords")

app = typer.Typer(help="Check a manifest, describe who holds what, or synthesize speech.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


@app.command("check", epilog="Example: fedasr data check speech/manifest.csv")
def check(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG|MANIFEST",
            help="A manifest (CSV, TSV, JSON Lines or Parquet: path, speaker, text, …), or the config of a run on one.",
        ),
    ],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Keys of CONFIG.")] = None,
    alphabet: Annotated[
        str | None,
        typer.Option(help="As model.alphabet: latin, arabic or chars:…; default: CONFIG's, or letters of any script."),
    ] = None,
    json: AsJson = False,
) -> None:
    """List every problem of a manifest and its audio with its line; the status is 2 if there is any."""
    from fedasr.data.check import inspect_manifest

    manifest, settings = what_to_check(source, overrides or [], alphabet)
    report = inspect_manifest(manifest, **settings)
    problems = report.problems
    if json:
        rows = [{"line": p.line, "path": p.path, "kind": p.kind, "message": p.message} for p in problems]
        about_it = {"characters": report.characters, "left_out": report.left_out}
        print_json({"manifest": str(manifest), "ok": not problems, "problems": rows, **about_it})
    else:
        for problem in problems:
            at = f"{manifest}:{problem.line}" if problem.line else f"{manifest}"
            audio = f" ({problem.path})" if problem.path else ""
            console.print(f"{at}{audio}: {problem.kind}: {problem.message}", markup=False)
        for reason, count in report.left_out.items():
            console.print(f"{manifest}: note: a run leaves out {count} utterances: {reason}", markup=False)
        if not report.characters.isascii():
            console.print(f"{manifest}: note: characters: {report.characters.strip()}", markup=False)
        if not any(problem.kind == "manifest" for problem in problems):  # then no row could be looked at
            verdict = f"{len(problems)} problem{'s' * (len(problems) != 1)}" if problems else "no problems"
            console.print(f"{manifest}: {verdict}", markup=False)
    if problems:
        raise typer.Exit(2)


def what_to_check(source: Path, overrides: list[str], alphabet: str | None) -> tuple[Path, dict[str, Any]]:
    """Return the manifest that is meant, and the arguments of ``inspect_manifest``.

    Raises:
        InputError: the config is wrong or of no manifest, there are overrides without a config, or no such alphabet.
    """
    from fedasr.data.check import unusual
    from fedasr.data.manifest import SUFFIXES, read_table

    if source.suffix.lower() in SUFFIXES:
        if overrides:
            raise InputError("is a manifest, which has no keys to change; give a config", where=str(source))
        return source, {"unknown": unusual if alphabet is None else foreign_to(alphabet, lowercase=True)}
    from fedasr.config import load

    config = load(source, overrides)
    data, model = config.data, config.model
    if data.corpus != "manifest" or data.manifest is None:
        raise InputError(f"'data.corpus' is '{data.corpus}'; only manifests are checked", where=str(source))
    wanted = alphabet or model.alphabet
    texts = read_table(data.manifest).columns["text"] if wanted == "auto" else []
    settings = {
        "unknown": foreign_to(wanted, model.lowercase, texts),
        "lowercase": model.lowercase,
        "hop_ms": data.features.hop_ms,
        "subsampling": prod(model.strides),
        "seconds": (data.min_seconds, data.max_seconds),
        "splits": (data.train_split, data.test_split),
    }
    return Path(data.manifest), settings


def foreign_to(alphabet: str, lowercase: bool, texts: Sequence[str] = ()) -> Callable[[str], set[str]]:
    """Return what says which characters of a transcript an alphabet does not have.

    Raises:
        InputError: there is no such alphabet.
    """
    from fedasr.models.tokenizer import build_tokenizer

    return build_tokenizer(alphabet, lowercase, texts).unknown


@app.command("describe", epilog="Example: fedasr data describe quickstart data.partition.name=iid --out clients.png")
def describe(
    config: Annotated[str, typer.Argument(help="A YAML file, or a name from simulations/ without its suffix.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Keys to change.")] = None,
    label: Annotated[str, typer.Option(help="The column whose distribution is compared between clients.")] = "text",
    out: Annotated[Path | None, typer.Option(help="Draw it into FILE.png, .pdf or .svg.")] = None,
    json: AsJson = False,
) -> None:
    """Say what each client of a config holds, and how non-IID that is."""
    from fedasr.config import load
    from fedasr.data.heterogeneity import heterogeneity
    from fedasr.experiment import Experiment
    from fedasr.references import look_beside

    if out is not None and out.suffix.lower() not in FIGURES:
        raise InputError(f"expected a name that ends in {', '.join(FIGURES)}", where=f"--out {out}")
    look_beside(config)
    loaded = load(config, overrides or [])
    with about(config):
        experiment = Experiment(loaded)
        partition, columns, durations = experiment.partition, experiment.corpus.columns, experiment.speech.durations
        report = {
            "name": loaded.name,
            "partition": loaded.data.partition.name,
            "column": loaded.data.partition.column,
            "dropped_clients": partition.dropped,
            "left_out_utterances": len(experiment.rows(loaded.data.train_split)) - len(partition.rows),
            "left_out": experiment.left_out,
            **heterogeneity(partition, columns, durations, label, seed=loaded.seed),
        }
    if out is not None:
        from fedasr.results.figures.describe import figure

        with about(config):
            drawn = figure(partition, columns, durations, label, seed=loaded.seed)
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            drawn.savefig(out)
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror or error}", where=str(out)) from None
    if json:
        print_json(report)
    else:
        show(report, partition)
    if out is not None:
        console.print(f"wrote {out}", markup=False)


@app.command(
    "synthesize",
    epilog="Example: fedasr data synthesize --out speech --speakers 20 --utterances-per-speaker 10",
)
def synthesize(
    out: Annotated[Path, typer.Option(help="A new folder for audio/ and manifest.csv.", show_default=False)],
    speakers: Annotated[int, typer.Option(min=1, help="How many voices.", show_default=False)],
    utterances_per_speaker: Annotated[int, typer.Option(min=1, help="Utterances of each.", show_default=False)],
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same speech.")] = 0,
    grammar: Annotated[str, typer.Option(help="What is said: home, everyday, digits or keywords.")] = "home",
    json: AsJson = False,
) -> None:
    """Render speech with espeak-ng: audio files and a manifest."""
    from fedasr.data.synthetic import synthesize as render
    from fedasr.units import duration

    if grammar not in GRAMMARS:
        known = ", ".join(GRAMMARS)
        raise InputError(f"is '{grammar}'{nearest(grammar, GRAMMARS)}; expected one of: {known}", where="--grammar")
    written = render(out, speakers=speakers, utterances_per_speaker=utterances_per_speaker, seed=seed, grammar=grammar)
    if json:
        print_json(written)
        return
    length = duration(float(written["seconds"]))
    text = (
        f"wrote {written['manifest']}: {written['utterances']} utterances of {written['speakers']} speakers, {length}"
    )
    console.print(text, markup=False)


def show(report: dict[str, Any], partition: Partition) -> None:
    """Print the report for people."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from fedasr.units import duration, number

    by = report["column"]
    console.print(
        f"{report['name']}: partition '{report['partition']}' by '{by}': {report['clients']:,} clients,"
        f" {report['utterances']:,} utterances, {duration(3600 * report['hours'])}",
        markup=False,
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("")
    for name in ("Least", "Median", "Mean", "Most"):
        table.add_column(name, justify="right")
    spreads = {
        "Utterances a client": "utterances_per_client",
        "Seconds a client": "seconds_per_client",
        f"Different '{report['label']}' a client": "labels_per_client",
        f"Clients that have a '{report['label']}'": "clients_per_label",
    }
    for title, key in spreads.items():
        values = [number(float(report[key][name])) for name in ("min", "median", "mean", "max")]
        table.add_row(Text(title), *values)
    console.print(table)
    console.print(f"Gini of the hours: {report['hours_gini']:.3f} (0: all hold the same)")
    console.print(
        f"Jensen–Shannon divergence of '{report['label']}' between clients: {report['jensen_shannon']:.3f} bits,"
        f" {report['jensen_shannon_iid']:.3f} after shuffling ({report['pairs']:,} pairs; 0: the same, 1: disjoint)",
        markup=False,
    )
    if partition.dropped or report["left_out_utterances"]:
        console.print(
            f"left out: {partition.dropped} clients with too few utterances; {report['left_out_utterances']:,}"
            " training utterances are with no client",
            markup=False,
        )
    for reason, count in report["left_out"].items():
        console.print(f"left out: {count:,} utterances: {reason}", markup=False)
    if report["labels"] > 0.5 * report["utterances"]:
        console.print(
            f"note: most values of '{report['label']}' occur once, so clients can hardly share any;"
            " compare another column with --label",
            markup=False,
        )
