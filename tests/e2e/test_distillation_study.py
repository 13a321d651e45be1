"""The study of what a teacher gives: its comparison on a tiny case, and miniatures of its runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedasr.config import load
from fedasr.data.sources import open_corpus
from studies import distillation
from studies.distillation import ARMS, BESIDE, DIGITS, SENTENCES


@pytest.mark.quick
def test_how_much_lower_is_a_share_of_the_other_rate() -> None:
    assert distillation.lower(np.array([0.3]), np.array([0.4])) == "+25 %"
    # The mean of 25 and 50 %; t(0.975, 1 degree of freedom) × 17.7 / √2 = 158.8.
    assert distillation.lower(np.array([0.3, 0.2]), np.array([0.4, 0.4])) == "+38 % [-121, +196]"


@pytest.mark.quick
def test_every_arm_but_the_baseline_is_beside_another() -> None:
    assert set(BESIDE) == set(ARMS) - {"transcripts alone"}
    assert set(BESIDE.values()) <= set(ARMS)


def test_a_miniature(tmp_path: Path) -> None:
    arms = ["transcripts alone", "with the teacher", "segregated"]
    distillation.run_all(tmp_path, DIGITS, [1], arms, miniature=True)
    table = distillation.markdown(tmp_path, [1], arms)
    first = [line.split("|")[1].strip() for line in table.splitlines()]
    assert first == ["WER", "---", "the teacher", *arms]
    assert "nan" not in table


def test_a_miniature_of_sentences(tmp_path: Path, speech: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (speech / "speechocean762").is_dir():
        pytest.skip("no speechocean762")
    monkeypatch.setenv("FEDASR_DATA", str(speech))
    arms = ["transcripts alone", "with the teacher", "with the public model as teacher"]
    distillation.run_all(tmp_path, SENTENCES, [1], arms, miniature=True)
    quiet, noisy = (distillation.rates(tmp_path, [1], arms[0], "cer", noise) for noise in (False, True))
    assert np.isfinite([quiet, noisy]).all()
    assert "nan" not in distillation.markdown(tmp_path, [1], arms, "cer")


@pytest.mark.quick
def test_noise_has_the_ratio_that_was_asked_for(speech: Path) -> None:
    keys = {"data.corpus": "manifest", "data.manifest": str(speech / "an4_tiny" / "manifest.csv")}
    clean = open_corpus(load("quickstart", keys).data, 0)
    options = {"data.corpus_options": {"min_snr_db": 5.0, "max_snr_db": 5.0}}
    noisy = open_corpus(load("quickstart", {**keys, **SENTENCES.noisy, **options}).data, 0)
    before, after = clean.waveform(0).astype(np.float64), noisy.waveform(0).astype(np.float64)
    assert np.abs(after).max() < 1, "scaled: the ratio below would not hold"
    ratio = 10 * np.log10(np.square(before).mean() / np.square(after - before).mean())
    assert ratio == pytest.approx(5.0, abs=0.01)
    assert (noisy.waveform(0) == noisy.waveform(0)).all()
    assert noisy.content_key(0) != clean.content_key(0)
