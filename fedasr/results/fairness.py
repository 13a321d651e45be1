"""``fairness.json`` of a run folder: how the groups of its test speech compare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.data.corpus import Corpus
from fedasr.data.subset import Subset
from fedasr.data.synthetic import SyntheticCorpus
from fedasr.errors import InputError, nearest
from fedasr.evaluation.evaluator import evaluate
from fedasr.evaluation.fairness.comparison import MOST_GROUPS, Outcomes, compare_groups
from fedasr.evaluation.recognizer import Recognizer
from fedasr.evaluation.wer import utterance_errors
from fedasr.experiment import Experiment
from fedasr.files import refused, write_json
from fedasr.models.weights import model_arrays, sha256
from fedasr.results.counterfactuals import check_attribute, compare_voices
from fedasr.results.intrinsic import doubts, sensitivity_to
from fedasr.results.load import Run, as_run
from fedasr.results.pages.report import write_report
from fedasr.results.tables.fairness import FAIRNESS_JSON, read_fairness
from fedasr.typing import Floats

ATTRIBUTES = ("gender", "accent", "age", "device", "lang")
"""Columns that are compared where neither the command nor ``evaluate.by`` names any."""
SHOWN = 0.05


@dataclass(frozen=True)
class Recognised:
    """What a run's final model made of the run's test speech."""

    corpus: Corpus
    rows: npt.NDArray[np.integer]
    """of the corpus"""
    tested: Outcomes
    model_sha256: str

    @property
    def said(self) -> list[tuple[str, str]]:
        """Who said what, an utterance a row."""
        columns = self.corpus.columns
        return [(str(columns["speaker"][row]), str(columns["text"][row])) for row in self.rows]


def assess_fairness(
    run: Run | str | Path,
    by: Sequence[str] = (),
    against: Run | str | Path | None = None,
    seed: int | None = None,
    shown: float = SHOWN,
    counterfactual: Sequence[str] = (),
    utterances: int | None = None,
    intrinsic: bool = False,
) -> list[dict[str, Any]]:
    """Compare the groups of a run's test speech, and write ``fairness.json`` and the report anew.

    Args:
        run: a finished run, or its folder.
        by: attributes: columns of the corpus, ``age:16,60`` for ranges of numbers; none: those of ``evaluate.by``, else
            those of gender, accent, age, device and lang that there are.
        against: another run that was tested on the same speech.
        seed: of the resamples; None: the run's.
        shown: the gap, a fraction, for which the speakers are counted that would show it.
        counterfactual: attributes of the voices in which the test speech is spoken again: ``gender``, ``voice``,
            ``accent``, ``device``, ``rate`` of synthetic speech, ``pitch``, ``formant``, ``age`` of any. With these
            alone, nothing else is compared.
        utterances: that are spoken again at most, drawn with the run's seed; None: all.
        intrinsic: also how sensitive the model is to what tells the group, which needs no errors.

    Returns:
        What ``fairness.json`` holds of these attributes, see ``docs/tables.md``.

    Raises:
        InputError: an attribute, a run or a number is wrong; nothing was written.
    """
    loaded = as_run(run)
    check_numbers(shown, seed, utterances, counterfactual)
    before = read_fairness(loaded.path)
    recognizer = Recognizer(loaded.path)
    experiment = Experiment(recognizer.config)
    voices = list(dict.fromkeys(counterfactual))
    for attribute in voices:
        check_attribute(attribute, experiment)
    draws = recognizer.config.seed if seed is None else seed
    result = []
    if by or against is not None or intrinsic or not voices:
        result += by_attributes(
            loaded, recognizer, experiment, by, None if against is None else as_run(against), draws, shown, intrinsic
        )
    result += [compare_voices(name, recognizer, experiment, draws, shown, utterances) for name in voices]
    used = {"decoder": recognizer.settings(None).decoder, "model_sha256": sha256(model_arrays(recognizer.model))}
    result = [{**one, **used} for one in result]
    compared = {one["attribute"] for one in result}
    path = loaded.path / FAIRNESS_JSON
    with refused(path):
        write_json(path, [*(one for one in before if one["attribute"] not in compared), *result])
    loaded.__dict__.pop("fairness", None)  # a Run reads each file once
    write_report(loaded)
    return result


def check_numbers(shown: float, seed: int | None, utterances: int | None, counterfactual: Sequence[str]) -> None:
    """Raise where a number of a comparison is out of range, or is of nothing that is compared.

    Raises:
        InputError: it says which, and what was expected.
    """
    if not 0 < shown < 1:
        raise InputError(f"the gap to be shown is {100 * shown:g} points; expected more than 0 and less than 100")
    if seed is not None and seed < 0:
        raise InputError(f"the seed is {seed}; expected a whole number of at least 0")
    if utterances is not None and utterances < 1:
        raise InputError(f"'--utterances' is {utterances}; expected a whole number of at least 1")
    if utterances is not None and not counterfactual:
        raise InputError(
            f"'--utterances' is {utterances}, but nothing is spoken again: it bounds the speech of '--counterfactual';"
            " add one, or leave it out"
        )


def by_attributes(
    run: Run,
    recognizer: Recognizer,
    experiment: Experiment,
    by: Sequence[str],
    against: Run | None,
    seed: int,
    shown: float,
    intrinsic: bool,
) -> list[dict[str, Any]]:
    """Return the comparisons of groups of the test speech, one an attribute; arguments as in ``assess_fairness``."""
    chosen = list(dict.fromkeys(by)) or usual(run, experiment)
    for attribute in chosen:
        column_of(experiment.corpus, attribute)
    speech = recognise(run, recognizer, experiment)
    other = None if against is None else same_speech(speech, against)
    result = []
    for attribute in chosen:
        values = values_of(speech.corpus, speech.rows, attribute)
        errors = None if other is None else other.tested.errors
        one = compare_groups(attribute, speech.tested, values, seed, shown, errors)
        if other is not None and against is not None:
            one["against"] |= {"run": str(against.path), "model_sha256": other.model_sha256}
        if intrinsic:
            training = values_of(speech.corpus, experiment.rows(recognizer.config.data.train_split), attribute)
            found = sensitivity_to(values, training, speech.rows, recognizer, experiment, seed)
            one |= {"sensitivity": found, "warnings": [*one["warnings"], *doubts(found)]}
        result.append(one)
    return result


def usual(run: Run, experiment: Experiment, shared: int = 1) -> list[str]:
    """Return the attributes of ``evaluate.by``, else the usual ones, by which the test speech can be compared.

    Args:
        run: whose test speech it is.
        experiment: of the run.
        shared: how many groups must have two speakers.

    Raises:
        InputError: there are none.
    """
    corpus, rows = experiment.corpus, experiment.test_rows
    named = experiment.config.evaluate.by or [name for name in ATTRIBUTES if name in corpus.columns]
    result = [name for name in named if name in corpus.columns and comparable(corpus, rows, name, shared)]
    if not result:
        known = ", ".join(corpus.columns)
        raise InputError(
            f"the test speech has no two groups of several speakers by {', '.join(named or ATTRIBUTES)}; name a column"
            f" with '--by', one of: {known}",
            where=str(run.path),
        )
    return result


def comparable(corpus: Corpus, rows: npt.NDArray[np.integer], attribute: str, shared: int = 1) -> bool:
    """Say whether utterances are of two groups, ``shared`` of them of two speakers, and of not too many groups."""
    groups = values_of(corpus, rows, attribute).astype(str)
    speakers = np.asarray(corpus.columns["speaker"])[rows].astype(str)
    pairs = {pair for pair in zip(groups.tolist(), speakers.tolist(), strict=True) if pair[0]}
    counts = Counter(group for group, _ in pairs)
    return 2 <= len(counts) <= MOST_GROUPS and sum(count > 1 for count in counts.values()) >= shared


def column_of(corpus: Corpus, attribute: str) -> tuple[str, list[float]]:
    """Return the column of an attribute, and where its numbers are cut, ascending; empty: its values are groups.

    Raises:
        InputError: there is no such column, or a cut is no number.
    """
    if attribute in corpus.columns:
        return attribute, []
    column, _, cuts = attribute.rpartition(":")
    name = column or attribute
    if name not in corpus.columns:
        known = ", ".join(corpus.columns)
        raise InputError(f"--by '{attribute}'{nearest(name, corpus.columns)}; the test speech has: {known}")
    try:
        return name, sorted({float(cut) for cut in cuts.split(",")})
    except ValueError:
        raise InputError(
            f"--by '{attribute}' cuts column '{name}' at '{cuts}'; expected numbers, such as '{name}:16,60'"
        ) from None


def values_of(corpus: Corpus, rows: npt.NDArray[np.integer], attribute: str) -> npt.NDArray[Any]:
    """Return the group of each utterance, empty where it has none, shape ``(utterances,)``."""
    column, cuts = column_of(corpus, attribute)
    values = corpus.columns[column][rows]
    if not cuts:
        texts = ["" if value != value else str(value).strip() for value in values.tolist()]
        return np.array(texts, dtype=object)
    numbers = as_numbers(values)
    if not np.isfinite(numbers).any():
        raise InputError(f"--by '{attribute}': column '{column}' of the test speech holds no numbers to cut")
    ends = [f"{cut:g}" for cut in cuts]
    names = [f"below {ends[0]}", *(f"{low} to below {high}" for low, high in pairwise(ends))]
    labels = np.array([*names, f"{ends[-1]} and above"], object)[np.searchsorted(cuts, numbers, side="right")]
    labels[~np.isfinite(numbers)] = ""
    return labels


def as_numbers(values: npt.NDArray[Any]) -> Floats:
    """Return values as numbers, NaN where they are none."""
    result = np.full(len(values), np.nan)
    for place, value in enumerate(values.tolist()):
        try:
            result[place] = float(value)
        except (TypeError, ValueError):
            continue
    return result


def recognise(run: Run, recognizer: Recognizer, experiment: Experiment) -> Recognised:
    """Return what the final model makes of the test speech: from the kept transcripts where all were kept, else anew.

    Raises:
        InputError: the speech cannot be read.
    """
    settings = recognizer.settings(None)
    rows: npt.NDArray[np.integer] = experiment.test_rows
    kept = kept_transcripts(run, rows)
    if kept is None:
        evaluation = evaluate(
            recognizer.model, experiment.speech, recognizer.tokenizer, rows, settings, recognizer.vocabulary(settings)
        )
        rows, references, hypotheses = evaluation.rows, evaluation.references, evaluation.hypotheses
    else:
        references, hypotheses = kept
    if not len(rows):
        raise InputError("the audio of none of the test utterances can be used", where=str(run.path))
    words, errors = utterance_errors(references, hypotheses)
    speakers = np.array([str(name) for name in experiment.corpus.columns["speaker"][rows]], object)
    covariates = covariates_of(experiment.corpus, rows, words)
    digest = sha256(model_arrays(recognizer.model))
    return Recognised(experiment.corpus, rows, Outcomes(speakers, words, errors, covariates), digest)


def kept_transcripts(run: Run, rows: npt.NDArray[np.integer]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return references and hypotheses of the final model in the order of ``rows``; None where not all were kept."""
    table = run.transcripts
    last = table[table["round"] == run.summary.get("rounds")]
    by_row = last.drop_duplicates("utterance").set_index("utterance")
    if set(by_row.index.tolist()) != set(rows.tolist()):
        return None
    ordered = by_row.loc[rows.tolist()].fillna("")
    return tuple(map(str, ordered["reference"])), tuple(map(str, ordered["hypothesis"]))


def covariates_of(corpus: Corpus, rows: npt.NDArray[np.integer], words: npt.NDArray[np.int64]) -> dict[str, Floats]:
    """Return what an error rate may depend on beside the group: length, noise where it is known, and activity.

    Activity is the corpus's own column where there is one, else how many utterances of the speaker the corpus holds.
    """
    result = {"length (log words)": np.log(np.maximum(words, 1))}
    noise = noise_of(corpus, rows)
    if noise is not None:
        result["signal-to-noise ratio (dB)"] = noise
    if "activity" in corpus.columns:
        activity = as_numbers(corpus.columns["activity"][rows])
    else:
        _, place, counts = np.unique(
            np.asarray(corpus.columns["speaker"]).astype(str), return_inverse=True, return_counts=True
        )
        activity = counts[place[rows]].astype(np.float64)
    result["activity (log utterances)"] = np.log(np.maximum(activity, 1e-3))
    return result


def noise_of(corpus: Corpus, rows: npt.NDArray[np.integer]) -> Floats | None:
    """Return the signal-to-noise ratio of utterances in decibels, from a column ``snr_db`` or a synthetic device."""
    if "snr_db" in corpus.columns:
        return as_numbers(corpus.columns["snr_db"][rows])
    while isinstance(corpus, Subset):
        rows = corpus.rows[rows]
        corpus = corpus.corpus
    return corpus.snr_db(rows) if isinstance(corpus, SyntheticCorpus) else None


def same_speech(speech: Recognised, other: Run) -> Recognised:
    """Return what another run's model made of the same speech.

    Raises:
        InputError: it was tested on other speech.
    """
    recognizer = Recognizer(other.path)
    result = recognise(other, recognizer, Experiment(recognizer.config))
    if result.said != speech.said:
        raise InputError(
            "was tested on other speech, so that the two cannot be compared speaker by speaker; expected a run with the"
            " same section 'data', 'evaluate.limit' and, for synthetic speech, seed ('data.synthetic.seed')",
            where=str(other.path),
        )
    return result
