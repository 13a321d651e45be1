"""``fedasr fairness``: whom a run's model serves worse, and how sure that is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fedasr.cli.common import console, print_json
from fedasr.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command("fairness", epilog="Example: fedasr fairness runs/home --by gender --by accent --against runs/private")
    def fairness(
        run_dirs: Annotated[
            list[Path], typer.Argument(metavar="RUN_DIR...", help="Finished runs.", show_default=False)
        ],
        by: Annotated[
            list[str] | None,
            typer.Option(
                help="A column of the test speech, or 'age:16,60' for ranges of numbers; may be repeated. Default:"
                " those of evaluate.by, else of gender, accent, age, device and lang those that there are.",
                show_default=False,
            ),
        ] = None,
        against: Annotated[
            Path | None,
            typer.Option(help="Another run that was tested on the same speech.", show_default=False),
        ] = None,
        baseline: Annotated[
            Path | None,
            typer.Option(
                help="Of several runs: the one that the others are compared with, group by group; default: the first.",
                show_default=False,
            ),
        ] = None,
        out: Annotated[
            list[Path] | None,
            typer.Option(
                help="Of several runs: write FILE.json, .csv (the table), .png, .pdf or .svg (the figure); may be"
                " repeated.",
                show_default=False,
            ),
        ] = None,
        counterfactual: Annotated[
            list[str] | None,
            typer.Option(
                help="The same test speech with another gender, voice, accent, device or rate (synthetic speech), or"
                " pitch, formant or age (any speech); may be repeated. Without '--by' nothing else is compared.",
                show_default=False,
            ),
        ] = None,
        utterances: Annotated[
            int | None, typer.Option(help="That are spoken again, at most; default: all.", show_default=False)
        ] = None,
        intrinsic: Annotated[
            bool,
            typer.Option(
                "--intrinsic", help="Also how sensitive the model is to what tells the group, which needs no errors."
            ),
        ] = False,
        points: Annotated[
            float | None,
            typer.Option(
                help="Gap in percentage points: how many speakers would it take to show it? Default: 5.",
                show_default=False,
            ),
        ] = None,
        seed: Annotated[
            int | None, typer.Option(help="Of the resamples; default: the run's.", show_default=False)
        ] = None,
        json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    ) -> None:
        """Compare groups of speakers: WER, gap and ratio with intervals over speakers, adjusted ratios, and power.

        What was found is written to the run's fairness.json and report. With several runs: what each of them does to
        each group, against a baseline.
        """
        shown = 0.05 if points is None else points / 100
        if len(run_dirs) > 1 or baseline is not None:
            if against is not None:
                raise InputError("'--against' goes with one run; with several say '--baseline'")
            if points is not None and not (counterfactual or intrinsic):
                raise InputError(
                    "'--points' goes with one run, or with '--counterfactual' or '--intrinsic', for which each run is"
                    " compared by itself"
                )
            from fedasr.results.impact import assess_impact

            several = assess_impact(
                run_dirs, by or (), baseline, seed, out or (), counterfactual or (), utterances, intrinsic, shown
            )
            show_impact(several, json)
            for written in out or ():
                console.print(f"wrote {written}", markup=False)
            return
        if out:
            raise InputError("'--out' goes with several runs; one run's comparison is in its fairness.json and report")
        from fedasr.results.fairness import assess_fairness

        (run_dir,) = run_dirs
        result = assess_fairness(run_dir, by or (), against, seed, shown, counterfactual or (), utterances, intrinsic)
        if json:
            print_json({"groups": result[0]["groups"], "gap": result[0]["gap"], "attributes": result})
            return
        from fedasr.cli.results import print_rows
        from fedasr.results.pages.fairness import group_cells, sentences

        for one in result:
            print_rows(*group_cells(one))
            for sentence in sentences(one):
                console.print(sentence, markup=False)
            for warning in one["warnings"]:
                console.print(f"note: {warning}", markup=False)


def show_impact(result: dict[str, Any], json: bool) -> None:
    """Print what several runs do to groups."""
    if json:
        print_json(result)
        return
    from fedasr.cli.results import print_rows
    from fedasr.results.pages.impact import HEAD, impact_rows, impact_sentences, rank_rows

    for one in result["attributes"]:
        console.print(f"By {one['attribute']}:", markup=False)
        print_rows(HEAD, impact_rows(one))
        for sentence in impact_sentences(one):
            console.print(sentence, markup=False)
        for warning in one["warnings"]:
            console.print(f"note: {warning}", markup=False)
    if result["rank_correlations"]:
        console.print("Do intrinsic measures rank these models as extrinsic ones do?", markup=False)
        print_rows(*rank_rows(result))
