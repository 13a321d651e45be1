"""Disparate impact: what several finished runs do to groups of the same test speech, against one of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedasr.errors import InputError
from fedasr.evaluation.fairness.impact import Heard, impact
from fedasr.evaluation.recognizer import Recognizer
from fedasr.experiment import Experiment
from fedasr.files import as_text, check_suffix, refused, write_bytes
from fedasr.results.fairness import (
    SHOWN,
    Recognised,
    assess_fairness,
    check_numbers,
    column_of,
    recognise,
    usual,
    values_of,
)
from fedasr.results.load import Run, as_run
from fedasr.results.tables.groups import Group, Runs, group_runs, unique
from fedasr.results.tables.impact import impact_table
from fedasr.results.tables.voice_measures import rank_correlations

SUFFIXES = (".json", ".csv", ".png", ".pdf", ".svg")


def assess_impact(
    runs: Runs,
    by: Sequence[str] = (),
    baseline: Run | str | Path | None = None,
    seed: int | None = None,
    out: Sequence[str | Path] = (),
    counterfactual: Sequence[str] = (),
    utterances: int | None = None,
    intrinsic: bool = False,
    shown: float = SHOWN,
) -> dict[str, Any]:
    """Compare what runs do to groups of the same test speech, each config against a baseline.

    Args:
        runs: finished runs, tested on the same speech; those that differ only in their seed are pooled.
        by: attributes as in ``assess_fairness``; none: those that it would take of the baseline.
        baseline: the run, or one of the runs of the config, that the others are compared with; None: the first.
        seed: of the resamples; None: the baseline's.
        out: files to write: ``.json``, ``.csv`` (the table), ``.png``, ``.pdf`` or ``.svg`` (the figure).
        counterfactual: as in ``assess_fairness``, which does it run by run first.
        utterances: as in ``assess_fairness``.
        intrinsic: as in ``assess_fairness``.
        shown: as in ``assess_fairness``.

    Returns:
        ``attributes``, what ``impact`` says of each; ``rank_correlations``, where measures of attributes were taken.

    Raises:
        InputError: a run, an attribute or a file's suffix is wrong, or the test speech differs.
    """
    check_numbers(shown, seed, utterances, counterfactual)
    targets = [check_suffix(target, SUFFIXES) for target in out]
    given = unique(runs)
    first = given[0] if baseline is None else as_run(baseline)
    groups = group_runs([first, *given])
    label = next(group.label for group in groups if holds(group, first))
    if len(groups) < 2:
        raise InputError(
            "all of these runs have the same config but for the seed; expected another one to compare with",
            where=str(first.path),
        )
    of_base = Recognizer(first.path)
    experiment = Experiment(of_base.config)
    chosen = list(dict.fromkeys(by)) or usual(first, experiment, shared=2)
    for attribute in chosen:
        column_of(experiment.corpus, attribute)
    draws = of_base.config.seed if seed is None else seed
    speech = recognise(first, of_base, experiment)
    heard = [Heard(group.label, [said(run, first, speech).tested.errors for run in group.runs]) for group in groups]
    place = [group.label for group in groups].index(label)
    attributes = []
    for attribute in chosen:
        values = values_of(speech.corpus, speech.rows, attribute)
        one = impact(attribute, speech.tested.speakers, speech.tested.words, values, heard, place, draws)
        for config, group in zip(one["configs"], groups, strict=True):
            config |= {"runs": [str(run.path) for run in group.runs], "seed_numbers": group.seeds}
        attributes.append(one)
    result: dict[str, Any] = {"baseline": label, "attributes": attributes, "rank_correlations": []}
    if intrinsic or counterfactual:
        result["rank_correlations"] = measure(groups, chosen, draws, shown, counterfactual, utterances, intrinsic)
    for target in targets:
        write(target, result)
    return result


def holds(group: Group, run: Run) -> bool:
    """Say whether a run is in a group, or is a further run of a seed that is."""
    return run.path.resolve() in {one.path.resolve() for one in (*group.runs, *group.repeats)}


def said(run: Run, first: Run, speech: Recognised) -> Recognised:
    """Return what a run's model makes of the baseline's test speech.

    Raises:
        InputError: it was tested on other speech.
    """
    if run.path.resolve() == first.path.resolve():
        return speech
    recognizer = Recognizer(run.path)
    result = recognise(run, recognizer, Experiment(recognizer.config))
    if result.said != speech.said:
        raise InputError(
            f"was tested on other speech than {first.path}, so that they cannot be compared speaker by speaker;"
            " expected runs with the same section 'data', 'evaluate.limit' and, for synthetic speech, seed"
            " ('data.synthetic.seed')",
            where=str(run.path),
        )
    return result


def measure(
    groups: Sequence[Group],
    by: Sequence[str],
    seed: int,
    shown: float,
    counterfactual: Sequence[str],
    utterances: int | None,
    intrinsic: bool,
) -> list[dict[str, Any]]:
    """Take the measures of each run into its ``fairness.json``, and return how they rank the runs."""
    runs = [run for group in groups for run in group.runs]
    for run in runs:
        assess_fairness(run, by, None, seed, shown, counterfactual, utterances, intrinsic)
    result: list[dict[str, Any]] = []
    for attribute in dict.fromkeys((*by, *counterfactual)):
        rows = rank_correlations(runs, attribute).to_dict("records")
        result += [{"attribute": attribute, **{str(name): value for name, value in row.items()}} for row in rows]
    return result


def write(path: Path, result: dict[str, Any]) -> None:
    """Write a comparison in the format that the suffix says."""
    suffix = path.suffix.lower()
    if suffix == ".json":
        content = as_text(result).encode()
    elif suffix == ".csv":
        content = impact_table(result).to_csv(index=False).encode()
    else:
        from fedasr.results.figures.impact import draw

        image = io.BytesIO()
        draw(result).savefig(image, format=suffix[1:], dpi=300)
        content = image.getvalue()
    with refused(path):
        write_bytes(path, content)
