"""Which group an utterance is in: values of a column, or ranges of its numbers."""

from __future__ import annotations

import numpy as np
import pytest

from fedasr.config.schema import SyntheticConfig
from fedasr.data.subset import Subset
from fedasr.data.synthetic import SyntheticCorpus
from fedasr.errors import InputError
from fedasr.results.fairness import as_numbers, column_of, comparable, covariates_of, values_of


@pytest.fixture(scope="module")
def corpus() -> SyntheticCorpus:
    return SyntheticCorpus(SyntheticConfig(speakers=20, test_speakers=4, utterances_per_speaker=4.0), 0)


def test_numbers_are_cut_into_ranges(corpus: SyntheticCorpus) -> None:
    rows = np.arange(len(corpus))
    activity = corpus.columns["activity"]
    result = values_of(corpus, rows, "activity:5,2")
    assert set(result) == {"below 2", "2 to below 5", "5 and above"}
    assert (result[activity < 2] == "below 2").all()
    assert (result[activity >= 5] == "5 and above").all()


def test_the_values_of_a_column_are_groups_as_they_are(corpus: SyntheticCorpus) -> None:
    rows = np.flatnonzero(corpus.columns["gender"] == "f")[:3]
    assert values_of(corpus, rows, "gender").tolist() == ["f"] * 3


def test_what_is_no_number_has_no_value() -> None:
    result = as_numbers(np.array(["7", "", None, "old", 12.5], object))
    assert np.isnan(result).tolist() == [False, True, True, True, False]


@pytest.mark.parametrize("attribute", ["gender:", "gender:a", "gendre", "gendre:3"])
def test_wrong_attributes_name_what_there_is(corpus: SyntheticCorpus, attribute: str) -> None:
    with pytest.raises(InputError, match="--by"):
        column_of(corpus, attribute)


def test_covariates_of_a_part_of_a_corpus_are_those_of_its_rows(corpus: SyntheticCorpus) -> None:
    part = Subset(corpus, np.arange(10, 30))
    result = covariates_of(part, np.array([3, 5]), np.array([2, 4]))
    assert result["length (log words)"] == pytest.approx(np.log([2, 4]))
    assert result["signal-to-noise ratio (dB)"] == pytest.approx(corpus.snr_db(np.array([13, 15])))
    assert result["activity (log utterances)"] == pytest.approx(np.log(corpus.columns["activity"][[13, 15]]))


def test_without_being_asked_for_only_what_has_groups_of_speakers_is_compared(corpus: SyntheticCorpus) -> None:
    rows = np.arange(len(corpus))
    test = np.flatnonzero(corpus.columns["split"] == "test")
    assert comparable(corpus, rows, "gender")
    assert comparable(corpus, rows, "gender", shared=2)
    assert not comparable(corpus, rows, "gender", shared=3)  # of several runs as many groups have two speakers
    assert not comparable(corpus, test, "split")  # one group
    assert not comparable(corpus, rows, "speaker")  # each group a speaker
    assert not comparable(corpus, rows, "duration_s")
