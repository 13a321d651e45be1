import math

import pytest

from fedasr.errors import InputError
from fedasr.results.tables.differences import differences
from fedasr.results.tables.statistics import t_quantile
from tests.fedasr.results.run_folders import make_run


def runs(folder, uniform, activity):
    """Return a run for each final WER, by seed."""
    return [
        make_run(folder / f"{name}-{seed}", seed=seed, selection=name, rounds=1, wer=[wer])
        for name, values in (("uniform", uniform), ("activity", activity))
        for seed, wer in values.items()
    ]


def test_what_seeds_share_cancels_out(tmp_path):
    table = differences(runs(tmp_path, {0: 0.2, 1: 0.4, 2: 0.6}, {0: 0.19, 1: 0.38, 2: 0.57}))
    (row,) = table.to_dict("records")
    assert (row["label"], row["to"]) == ("selection.name=activity", "selection.name=uniform")
    assert row["mean"] == pytest.approx(-0.02)
    assert row["high"] == pytest.approx(-0.02 + t_quantile(2) * 0.01 / math.sqrt(3))
    assert row["n"] == 3


def test_only_seeds_that_both_have_are_paired(tmp_path):
    (row,) = differences(runs(tmp_path, {0: 0.2, 1: 0.4}, {1: 0.3, 2: 0.9})).to_dict("records")
    assert (row["n"], row["mean"]) == (1, pytest.approx(-0.1))
    assert math.isnan(row["low"])


def test_no_common_seed_and_no_other_group(tmp_path):
    result = runs(tmp_path, {0: 0.2}, {1: 0.3})
    (row,) = differences(result).to_dict("records")
    assert row["n"] == 0
    assert math.isnan(row["mean"])
    assert differences(result[:1]).empty
    with pytest.raises(InputError, match="did you mean 'wer'"):
        differences(result, "weer")
