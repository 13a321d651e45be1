"""Exposure of spoken codes: uniform ranks in a model that heard none of them, and what is not attacked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("espeakng_loader", reason='needs the espeak-ng wheel: pip install "fedasr[synth]"')

import fedasr
from fedasr.audits.secrets import audit_secrets
from fedasr.audits.secrets.audit import alignable
from fedasr.audits.secrets.ranks import by_language, by_speech, has_language, in_chunks
from fedasr.config import load
from fedasr.config.schema import SecretsConfig, SyntheticConfig
from fedasr.data.synthetic import SyntheticCorpus
from fedasr.errors import InputError
from fedasr.experiment import Experiment
from fedasr.privacy.audit.exposure import exposure, null_moments
from tests.e2e.tiny import tiny

MODEL = {"channels": [4, 4], "hidden": 8, "dropout": 0.0}
FAMILIES: dict[str, dict[str, Any]] = {
    "las": {**MODEL, "name": "las", "speller": {"hidden": 16, "heads": 2}},
    "rnnt": {**MODEL, "name": "rnnt", "transducer": {"prediction": 16, "joint": 16}},
    "ctc": {**MODEL, "name": "ctc"},
}


def untrained(family: str, **changes: Any) -> dict[str, Any]:
    """Return a run of no rounds, whose speakers say codes of two digits."""
    secrets = {"secrets": {"codes": 4, "digits": 2, "repeats": 2}}
    return tiny(rounds=0, model={**FAMILIES[family], "alphabet": "latin"}, audit=secrets, **changes)


def test_the_exposure_of_an_untrained_model_is_that_of_chance() -> None:
    model = Experiment(load(untrained("las"))).model()
    tokenizer = Experiment(load(untrained("las"))).tokenizer
    corpus = SyntheticCorpus(SyntheticConfig(speakers=200), 0, SecretsConfig(codes=200, digits=3))
    ranks = by_language(model, tokenizer, corpus, np.arange(200)).ranks
    assert exposure(ranks, 1000).mean() == pytest.approx(null_moments(1000)[0], abs=0.2)
    assert ranks.min() >= 1
    assert ranks.max() <= 1000


@pytest.mark.parametrize(("family", "expected"), [("las", True), ("rnnt", True), ("ctc", False)])
def test_which_families_have_a_language_model(family: str, expected: bool) -> None:
    experiment = Experiment(load(untrained(family)))
    assert has_language(experiment.model(), experiment.tokenizer) is expected


def test_scores_in_chunks_are_those_of_all_at_once() -> None:
    experiment = Experiment(load(untrained("rnnt")))
    model = experiment.model().eval()
    phrases = [experiment.tokenizer.encode(text) for text in ("one", "two two", "nine") for _ in range(500)]
    with torch.inference_mode():
        whole = model.internal_lm(phrases).numpy()
    assert in_chunks(model.internal_lm, phrases) == pytest.approx(whole)


@pytest.mark.slow
def test_a_run_of_no_rounds_exposes_nothing_and_ctc_has_no_language_model(tmp_path: Path) -> None:
    run = fedasr.run(untrained("ctc", model__strides=[2, 1]), out=tmp_path / "run")
    findings = audit_secrets(run.path)
    assert [finding.kind for finding in findings] == ["not attacked", *["estimate"] * 6]
    assert "has no language model of its own" in findings[0].sentence
    by_name = {(finding.attack, finding.quantity): finding for finding in findings}
    masked = by_name["noise for the code, codes said 2 times by one user", "exposure"]
    assert masked.value == masked.floors["initial model"], "the final model is the initial one"
    assert masked.n == 4
    assert (run.path / "audit_secrets.png").stat().st_size > 5000


def test_noise_with_too_few_frames_for_a_code_is_left_out_and_counted() -> None:
    for strides, short in (([4, 4], 4), ([2, 1], 0)):
        experiment = Experiment(load(untrained("ctc", model__strides=strides, data__on_bad_audio="skip")))
        corpus = experiment.corpus
        assert isinstance(corpus, SyntheticCorpus)
        result = by_speech(experiment.model(), experiment.tokenizer, experiment, corpus, np.arange(4), other=False)
        assert (result.short, len(result.codes)) == (short, 4 - short)


def test_a_run_without_secrets_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(json.dumps(tiny()))
    (tmp_path / "summary.json").write_text(json.dumps({"status": "interrupted"}))
    with pytest.raises(InputError, match="the run is interrupted"):
        audit_secrets(tmp_path)


@pytest.mark.parametrize(("strides", "expected"), [([4, 4], 0), ([2, 1], 8)])
def test_speech_without_an_alignment_taught_nothing(strides: list[int], expected: int) -> None:
    """The run looked at the estimated duration; CTC's loss of what has no alignment is zero."""
    config = load(untrained("ctc", model__strides=strides))
    experiment = Experiment(config)
    corpus = experiment.corpus
    assert isinstance(corpus, SyntheticCorpus)
    rows = corpus.planted_rows.ravel().tolist()
    fits = [alignable(experiment, experiment.model(), experiment.tokenizer, corpus, row) for row in rows]
    assert sum(fits) == expected
