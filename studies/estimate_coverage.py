"""How often the interval of an error rate without transcripts covers the truth, and how wide it is.

    python -m studies.estimate_coverage runs/self_labels/own_labels-1 --calibrated-on runs/self_labels/public-1

Decodes the devices' speech once with the model of a finished run; then panels are drawn anew 200 times. Expectations
are calibrated on the run's own test speech; on those of its utterances that are richest in half of the words, so that
devices say other words (label shift); and on the test speech of another run, whose microphones or voices may be others
(noise shift). Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.data.machine_labels import Untranscribed
from fedasr.evaluation.calibration import Calibration, fitted
from fedasr.evaluation.prediction_powered import Sums, estimated
from fedasr.evaluation.recognizer import Recognizer
from fedasr.evaluation.wer import utterance_errors
from fedasr.experiment import Experiment
from fedasr.training.self_labels import Hypotheses, hear
from studies.tables import grid

RESAMPLES = 200
RICHEST = 1 / 3
"""Of the test utterances, for label shift."""


def heard(found: Recognizer, run: Experiment, rows: Any) -> dict[str, Any]:
    """Return what a model hears in rows, and the true counts, arrays of shape ``(utterances,)``."""
    speech, size = Untranscribed.of(run.speech), 32
    order = rows[np.argsort(run.speech.durations[rows], kind="stable")]
    parts = [
        hear(found.model, speech.batch(order[at : at + size]), found.tokenizer) for at in range(0, len(rows), size)
    ]
    said = Hypotheses.joined(parts)
    texts, normalise = run.corpus.columns["text"], found.tokenizer.normalise
    words, errors = utterance_errors(
        [normalise(str(texts[row])) for row in said.rows], [normalise(text) for text in said.texts]
    )
    return {
        "rows": np.array(said.rows),
        "heard": np.array([len(text.split()) for text in said.texts]),
        "sure": said.confidence,
        "seconds": np.asarray(run.speech.durations[list(said.rows)], np.float64),
        "words": words,
        "errors": errors,
        "texts": [normalise(str(texts[row])) for row in said.rows],
    }


def calibration_of(of: dict[str, Any], rows: Any = slice(None)) -> Calibration:
    """Return the calibration that rows of test speech give."""
    return fitted(*(of[name][rows] for name in ("heard", "sure", "seconds", "words", "errors")))


def richest(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the third of the texts with the largest share of words of the first half of their vocabulary, or more."""
    words = [text.split() for text in texts]
    vocabulary = sorted({word for each in words for word in each})
    first = set(vocabulary[: len(vocabulary) // 2])
    shares = np.array([sum(word in first for word in each) / max(1, len(each)) for each in words])
    return np.flatnonzero(shares >= np.quantile(shares, 1 - RICHEST))


def resampled(of: dict[str, Any], clients: Any, calibration: Calibration, panel: int, each: int) -> list[str]:
    """Return the cells of a row.

    They are the truth, the mean estimate, coverage, the mean width, that of the panel alone, the ratio of the two, and
    what limits it: the correlation over the panels' speakers of expected with true errors, less what is due to words.
    """
    expected, expected_words = calibration.expected(of["heard"], of["sure"], of["seconds"])
    columns = np.column_stack([of["errors"], of["words"], expected, expected_words])
    truth = columns[:, 0].sum() / columns[:, 1].sum()
    names = np.unique(clients)
    covered, widths, alone, estimates, correlations = 0, [], [], [], []
    for number in range(RESAMPLES):
        rng = np.random.default_rng([7, number])
        members = rng.choice(names, panel, replace=False)
        rows = []
        for name in members:
            mine = np.flatnonzero(clients == name)
            asked = rng.choice(mine, min(each, len(mine)), replace=False)
            rows.append(columns[asked].sum(axis=0) * len(mine) / len(asked))
        others = [columns[clients == name][:, 2:].sum(axis=0) for name in names if name not in members]
        result, by_panel = (estimated(Sums.of(others), Sums.of(rows), weight) for weight in (None, 0.0))
        covered += result.low <= truth <= result.high
        widths.append(result.high - result.low)
        alone.append(by_panel.high - by_panel.low)
        estimates.append(result.wer)
        true, guessed = np.array(rows)[:, :2] @ [1, -truth], np.array(rows)[:, 2:] @ [1, -truth]
        correlations.append(np.corrcoef(true, guessed)[0, 1])
    values = (truth, float(np.mean(estimates)), float(np.mean(widths)), float(np.mean(alone)))
    shown = [f"{value:.3f}" for value in values]
    ratio, correlation = np.mean(alone) / np.mean(widths), np.nanmean(correlations)
    return [*shown[:2], f"{100 * covered / RESAMPLES:.0f} %", *shown[2:], f"{ratio:.2f}", f"{correlation:.2f}"]


def markdown(folder: Path, other: Path | None, each: int, panels: Sequence[int] = (8, 16, 32)) -> str:
    """Return the table."""
    result = Recognizer(folder)
    run = Experiment(result.config)
    partition = run.partition
    client_of = dict(zip(partition.rows.tolist(), partition.clients.tolist(), strict=True))
    of = heard(result, run, partition.rows)
    clients = np.array([client_of[row] for row in of["rows"].tolist()])
    tested = heard(result, run, run.test_rows)
    calibrations = {
        "the run's own test speech": calibration_of(tested),
        "its utterances rich in half of the words": calibration_of(tested, richest(tested["texts"])),
    }
    if other is not None:
        speech = Experiment(Recognizer(other).config)
        calibrations["other test speech"] = calibration_of(heard(result, speech, speech.test_rows))
    estimate = ("truth", "mean estimate", "covered", "width", "panel alone", "ratio", "correlation")
    head = ("calibrated on", "panel", *estimate)
    body = [
        [name, str(panel), *resampled(of, clients, calibration, panel, each)]
        for name, calibration in calibrations.items()
        for panel in panels
    ]
    return grid(head, body)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--calibrated-on", type=Path)
    parser.add_argument("--utterances", type=int, default=5)
    given = parser.parse_args()
    print(markdown(given.run, given.calibrated_on, given.utterances))
