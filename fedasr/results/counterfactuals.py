"""The same test speech in other voices: what an attribute of a voice alone does to a run's model."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr import seeds
from fedasr.data.corpus import Corpus
from fedasr.data.counterfactual import SHIFTS, VOICES, levels_of, without_subsets
from fedasr.data.speech import Speech
from fedasr.data.synthetic import SyntheticCorpus
from fedasr.errors import InputError, nearest
from fedasr.evaluation.evaluator import evaluate
from fedasr.evaluation.fairness.comparison import Outcomes, compare_groups
from fedasr.evaluation.fairness.divergence import jensen_shannon, kullback_leibler, posteriors_along
from fedasr.evaluation.intervals import speaker_interval
from fedasr.evaluation.recognizer import Recognizer
from fedasr.evaluation.wer import utterance_errors
from fedasr.experiment import Experiment
from fedasr.typing import Floats

NAME = "same speech, other "


def check_attribute(attribute: str, experiment: Experiment) -> tuple[Corpus, npt.NDArray[np.integer]]:
    """Return the corpus of a run, a synthetic one itself, and the rows of the test speech in it.

    Raises:
        InputError: there is no such attribute, or it needs synthetic speech, or waveforms, and the run has none.
    """
    if attribute not in VOICES:
        raise InputError(
            f"--counterfactual '{attribute}'{nearest(attribute, VOICES)}; expected one of: {', '.join(VOICES)}"
        )
    if attribute in SHIFTS:
        if hasattr(experiment.corpus, "features"):
            raise InputError(
                f"--counterfactual '{attribute}' changes waveforms, and corpus '{experiment.config.data.corpus}' has"
                " features of its own instead"
            )
        return experiment.corpus, experiment.test_rows
    corpus, rows = without_subsets(experiment.corpus, experiment.test_rows)
    if not isinstance(corpus, SyntheticCorpus):
        raise InputError(
            f"--counterfactual '{attribute}' speaks the test speech again in other voices, which needs synthetic"
            f" speech ({' and '.join(SHIFTS)} do not); 'data.corpus' is '{experiment.config.data.corpus}'"
        )
    return corpus, rows


def compare_voices(
    attribute: str, recognizer: Recognizer, experiment: Experiment, seed: int, shown: float, utterances: int | None
) -> dict[str, Any]:
    """Return how the model does on the same test speech with each level of an attribute, as ``fairness.json`` holds it.

    Extrinsic: the WER with each level; the gap between levels is paired, since all speakers are in all of them.
    Intrinsic: the divergence of the posteriors of the next token between levels, along the true transcript.

    Args:
        attribute: one of ``VOICES``.
        recognizer: of the run.
        experiment: of the run.
        seed: of the resamples.
        shown: as in ``compare_groups``.
        utterances: of the test speech at most, drawn with the run's seed; None: all.

    Raises:
        InputError: there is no such attribute, it has one level, or the speech cannot be given it.
    """
    corpus, rows = check_attribute(attribute, experiment)
    if utterances is not None and utterances < len(rows):
        drawn = seeds.generator(experiment.config.seed, "counterfactual/rows")
        rows = np.sort(drawn.choice(rows, utterances, replace=False))
    settings = recognizer.settings(None)
    vocabulary = recognizer.vocabulary(settings)
    names = np.array([str(name) for name in corpus.columns["speaker"][rows]], object)
    parts: list[tuple[npt.NDArray[Any], ...]] = []
    posteriors: list[dict[int, npt.NDArray[np.float32]]] = []
    levels = levels_of(corpus, attribute)
    for level, changed in levels.items():
        speech = Speech(changed, recognizer.tokenizer, recognizer.config.data)
        heard = evaluate(recognizer.model, speech, recognizer.tokenizer, rows, settings, vocabulary)
        words, errors = utterance_errors(heard.references, heard.hypotheses)
        of = np.isin(rows, heard.rows)
        parts.append((names[of], np.full(int(of.sum()), level, object), words, errors))
        posteriors.append(posteriors_along(recognizer.model, speech, rows, settings.batch_size))
    speakers, labels, words, errors = (np.concatenate(column) for column in zip(*parts, strict=True))
    covariates: dict[str, Floats] = {"length (log words)": np.log(np.maximum(words, 1))}
    result = compare_groups(f"{NAME}{attribute}", Outcomes(speakers, words, errors, covariates), labels, seed, shown)
    return {**result, "counterfactual": attribute, **divergences(names, rows, posteriors, seed)}


def divergences(
    speakers: npt.NDArray[Any],
    rows: npt.NDArray[np.integer],
    posteriors: list[dict[int, npt.NDArray[np.float32]]],
    seed: int,
) -> dict[str, dict[str, float]]:
    """Return the mean divergences between levels in nats per token, with their 95 % intervals over speakers.

    ``divergence`` is that of Jensen and Shannon, ``kl`` that of Kullback and Leibler between two levels.
    """
    kept = [place for place, row in enumerate(rows.tolist()) if all(row in level for level in posteriors)]
    result = {}
    for name, measure in (("divergence", jensen_shannon), ("kl", kullback_leibler)):
        each = [measure([level[int(rows[place])] for level in posteriors]) for place in kept]
        tokens = np.array([len(one) for one in each], np.float64)
        nats = np.array([one.sum() for one in each], np.float64)
        interval = speaker_interval(speakers[kept], tokens, nats, seed, name)
        value = float(nats.sum() / tokens.sum()) if len(each) else float("nan")
        result[name] = {"value": value, "low": interval.low, "high": interval.high}
    return result
