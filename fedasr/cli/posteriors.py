"""``fedasr posteriors``: what a teacher says of speech, written once and read by many students."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedasr.cli.common import console, print_json

app = typer.Typer(help="What a teacher says of speech without transcripts.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


@app.command(
    "write", epilog="Example: fedasr posteriors write runs/teacher --manifest speech.csv --out posteriors --workers 2"
)
def write_command(
    teacher: Annotated[Path, typer.Argument(help="The folder of the teacher's finished run.")],
    out: Annotated[Path, typer.Option(help="The folder of the posteriors; one that is half written is gone on with.")],
    config: Annotated[
        str | None, typer.Option(help="Label what a run of this config would have labelled, with its settings.")
    ] = None,
    manifest: Annotated[Path | None, typer.Option(help="Label the speech of a manifest.")] = None,
    split: Annotated[str | None, typer.Option(help="`--manifest`: only this split; default: all.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="`--config`: KEY=VALUE, as after 'fedasr run'; may be repeated.")
    ] = None,
    targets: Annotated[str, typer.Option(help="`--manifest`: frames, lattice, sequence or labels.")] = "frames",
    top_k: Annotated[int, typer.Option(min=1, help="`--manifest`: tokens kept of a frame.")] = 20,
    beam: Annotated[int, typer.Option(min=1, help="`--manifest`, sequence: width of the beam.")] = 8,
    n_best: Annotated[int, typer.Option(min=1, help="`--manifest`, sequence: transcripts kept.")] = 4,
    counterfactual: Annotated[
        str,
        typer.Option(help="`--manifest`: the mean with another pitch, formant, or synthetic voice."),
    ] = "none",
    workers: Annotated[int, typer.Option(min=1, help="Processes; each writes a part.")] = 1,
    part: Annotated[
        str | None, typer.Option(help="On several machines: this one's part, as NUMBER/OF, counted from 1.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Write what a teacher says of speech; killed, the same command goes on, with the same bytes."""
    from fedasr.teaching.command import Request, write_all

    request = Request(
        teacher, out, config, tuple(set_ or ()), manifest, split, targets, top_k, beam, n_best, counterfactual
    )
    result = write_all(request, workers, part, lambda text: console.print(text, markup=False))
    if json:
        print_json(result)


@app.command("info", epilog="Example: fedasr posteriors info runs/student/posteriors")
def info_command(
    folder: Annotated[Path, typer.Argument(help="The folder of the posteriors.")],
    json: AsJson = False,
) -> None:
    """Say what a store of posteriors holds: utterances, bytes a frame, the mass of the tokens that are kept."""
    from fedasr.data.posteriors import PosteriorStore
    from fedasr.teaching.report import described, facts

    store = PosteriorStore(folder)
    if json:
        print_json(facts(store))
    else:
        console.print(described(store), markup=False)
