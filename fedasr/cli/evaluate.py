"""``fedasr evaluate`` and ``fedasr transcribe``: a run's model on other speech."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedasr.cli.common import console, print_json
from fedasr.errors import one_line
from fedasr.units import percent

Decoder = Annotated[
    str | None, typer.Option(help="greedy, beam, vocabulary or package.module:attribute; default: the run's own.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""

    @app.command("evaluate", epilog="Example: fedasr evaluate runs/first --manifest speech/manifest.csv --split test")
    def evaluate(
        run_dir: Annotated[Path, typer.Argument(help="A run folder.")],
        manifest: Annotated[Path, typer.Option(help="A manifest of speech with transcripts.")],
        split: Annotated[str | None, typer.Option(help="Only this split; default: all utterances.")] = None,
        decoder: Decoder = None,
        by: Annotated[str | None, typer.Option(help="A column whose values get a WER of their own.")] = None,
        json: AsJson = False,
    ) -> None:
        """Report the WER and CER of a run's model on a manifest."""
        from fedasr.evaluation.recognizer import evaluate_manifest

        results = evaluate_manifest(run_dir, manifest, split, decoder, by)
        if json:
            print_json(results)
            return
        console.print(
            f"WER {percent(results['wer'])}  CER {percent(results['cer'])}  {results['utterances']} utterances,"
            f" {results['words']} words",
            markup=False,
        )
        for value, row in results["by"].items():
            console.print(
                f"  {by} {value or '(none)'}: WER {percent(row['wer'])}, {row['utterances']} utterances", markup=False
            )

    @app.command("transcribe", epilog="Example: fedasr transcribe runs/first hello.wav")
    def transcribe(
        run_dir: Annotated[Path, typer.Argument(help="A run folder.")],
        audio: Annotated[list[Path], typer.Argument(help="Audio files.")],
        decoder: Decoder = None,
        json: AsJson = False,
    ) -> None:
        """Transcribe audio files with a run's model; a bad one is named, and the status is 2 at the end."""
        from fedasr.evaluation.recognizer import transcribe_files

        results: list[dict[str, str | None]] = []
        bad: list[dict[str, str]] = []
        for transcript in transcribe_files(run_dir, audio, decoder):
            path, problem = str(transcript.path), transcript.problem
            if problem is not None:
                console.print(one_line(f"error: {path}: {problem}"), style="red", markup=False)
                bad.append({"path": path, "problem": problem})
            elif json:
                results.append({"path": path, "text": transcript.text})
            else:
                typer.echo(f"{path}\t{transcript.text}")
        if json:
            print_json({"transcripts": results, "problems": bad})
        if bad:
            raise typer.Exit(2)
