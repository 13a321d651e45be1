"""Membership: areas and rates by hand, what a ledger allows, and scores that find what they are to find."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from fedasr.errors import InputError
from fedasr.privacy.accountants import calibrate
from fedasr.privacy.audit.ceiling import Ceiling
from fedasr.privacy.audit.curves import curve_of
from fedasr.privacy.audit.membership import freedom, lira, ratios, rmia, shape_of, stable_logit
from fedasr.privacy.audit.roc import certified_false_rate, chance, curve, rates
from fedasr.privacy.events import Gaussian, PoissonGaussian

DELTA = 1e-5


def test_the_area_of_a_hand_case_counts_ties_half() -> None:
    scores, member = np.array([3.0, 1.0, 1.0, 0.0]), np.array([True, True, False, False])
    result = rates(scores, member, np.arange(4))
    assert result.auc.value == 3.5 / 4
    assert result.true == {0.01: result.true[0.01], 0.001: result.true[0.001]}
    assert result.true[0.01].value == 0.5
    false, true = curve(scores, member)
    assert false.tolist() == [0, 0, 0.5, 1]
    assert true.tolist() == [0, 0.5, 1, 1]


def test_true_positives_are_told_at_no_more_false_ones_than_asked() -> None:
    member = np.arange(300) < 100
    scores = np.where(member, 0.0, -np.arange(300.0))
    scores[100:102] = 5.0  # two of 200 non-members above all members: 1 %, and not 0.1 %
    result = rates(scores, member, np.arange(300) % 30)
    assert result.true[0.01].value == 1.0
    assert result.true[0.001].value == 0.0


def test_area_agrees_with_mann_and_whitney() -> None:
    rng = np.random.default_rng(0)
    member = rng.random(400) < 0.5
    scores = np.round(rng.standard_normal(400) + member, 1)
    statistic = stats.mannwhitneyu(scores[member], scores[~member]).statistic
    result = rates(scores, member, np.arange(400) % 40)
    assert result.auc.value == pytest.approx(statistic / (member.sum() * (~member).sum()))
    assert result.auc.low < result.auc.value < result.auc.high


def test_intervals_over_speakers_are_wider_than_over_utterances() -> None:
    rng = np.random.default_rng(0)
    speakers = np.repeat(np.arange(20), 20)
    member = np.tile([True, False], 200)
    scores = np.repeat(rng.standard_normal(20), 20) * member + 0.3 * rng.standard_normal(400)
    by_speaker = rates(scores, member, speakers).auc
    by_utterance = rates(scores, member, np.arange(400)).auc
    assert by_speaker.high - by_speaker.low > 1.5 * (by_utterance.high - by_utterance.low)


def test_one_speaker_has_no_interval() -> None:
    result = rates(np.array([1.0, 0.0]), np.array([True, False]), np.zeros(2))
    assert math.isnan(result.auc.low)


def test_how_often_chance_gives_an_area() -> None:
    member = np.tile([True, False], 6)
    groups = np.repeat(np.arange(6), 2)
    assert chance(member * 1.0, member, groups) == pytest.approx(1 / 64, abs=0.01)
    assert chance(-1.0 * member, member, groups) == 1.0
    assert chance(groups * 1.0, member, groups) == 1.0, "between groups there is nothing to be found"
    assert chance(member * 1.0, member, np.zeros(12)) < 0.004


def test_how_few_false_positives_so_many_non_members_certify() -> None:
    assert certified_false_rate(2995) <= 0.001 < certified_false_rate(2994)
    assert certified_false_rate(83) == pytest.approx(0.0354, abs=1e-4)


@pytest.mark.parametrize(("scores", "member"), [([1.0, 2.0], [True, True]), ([math.nan, 1.0], [True, False])])
def test_scores_of_one_kind_and_no_numbers_are_refused(scores: list[float], member: list[bool]) -> None:
    with pytest.raises(InputError):
        rates(np.array(scores), np.array(member), np.arange(2))


@pytest.mark.parametrize(
    ("epsilon", "true", "area"), [(1, 0.020, 0.575), (2, 0.034, 0.639), (4, 0.081, 0.743), (8, 0.25, 0.881)]
)
def test_what_a_gaussian_ledger_allows(epsilon: float, true: float, area: float) -> None:
    noise = calibrate(lambda z: [Gaussian(unit="user", noise_multiplier=z)], epsilon, DELTA)
    ceiling = Ceiling(curve_of([Gaussian(unit="user", noise_multiplier=noise)]))
    assert ceiling.true_rate(0.01) == pytest.approx(true, rel=0.03)
    assert ceiling.area() == pytest.approx(area, abs=0.001)
    assert ceiling.area() >= stats.norm.cdf(1 / noise / math.sqrt(2))


def test_a_unit_that_is_changed_is_one_removal_and_one_addition() -> None:
    ceiling = Ceiling(curve_of([Gaussian(unit="user", noise_multiplier=2.0)]), steps=2)
    false = np.array([0.01, 0.1, 0.5])
    assert ceiling.true_rates(false) == pytest.approx(stats.norm.sf(stats.norm.isf(false) - 1.0), abs=0.002)
    assert (ceiling.true_rates(false) >= stats.norm.sf(stats.norm.isf(false) - 1.0)).all()


def test_the_ceiling_of_sampled_noise_is_never_below_chance_nor_above_one() -> None:
    event = PoissonGaussian(unit="user", noise_multiplier=1.0, sampling_probability=0.1, steps=30)
    true = Ceiling(curve_of([event])).true_rates(np.linspace(0, 1, 11))
    assert (true >= np.linspace(0, 1, 11)).all()
    assert (true <= 1).all()
    assert (np.diff(true) >= 0).all()


def test_phi_is_the_logit_of_the_probability() -> None:
    probability = np.array([0.01, 0.5, 0.99])
    assert stable_logit(-np.log(probability)) == pytest.approx(np.log(probability / (1 - probability)))
    assert np.isfinite(stable_logit(np.array([0.0, 800.0]))).all()


def test_lira_of_a_hand_case() -> None:
    inside = np.array([[True], [True], [True], [False], [False], [False]])
    shadows = np.array([[4.0], [5.0], [6.0], [0.0], [1.0], [2.0]])
    scores = lira(np.array([5.0]), shadows, inside)
    assert scores == pytest.approx(stats.norm.logpdf(5, 5, 1) - stats.norm.logpdf(5, 1, 1))
    assert freedom(inside) == 2


def test_who_is_in_all_shadow_models_or_in_none_has_no_score() -> None:
    inside = np.array([[True, False, True], [True, False, False]])
    scores = lira(np.zeros(3), np.zeros((2, 3)), inside)
    assert np.isnan(scores).tolist() == [True, True, False]
    assert np.isnan(ratios(np.ones(3), np.ones((2, 3)), inside)).tolist() == [True, False, False]


def test_enough_shadow_models_have_deviations_of_their_own() -> None:
    rng = np.random.default_rng(0)
    inside = rng.random((400, 2)) < 0.5
    shadows = rng.standard_normal((400, 2)) * [0.1, 10] + inside
    own = lira(np.ones(2), shadows, inside, enough=64)
    common = lira(np.ones(2), shadows, inside, enough=10_000)
    assert own[0] > 10 > abs(own[1])
    assert abs(common[0]) < 1


def test_scores_beat_the_loss_where_utterances_differ_in_difficulty() -> None:
    rng = np.random.default_rng(0)
    difficulty = rng.uniform(0.3, 1.5, 400)
    inside = rng.random((33, 400)) < 0.5
    loss = np.maximum(difficulty - 0.2 * inside + 0.05 * rng.standard_normal((33, 400)), 0.01)
    member, people = inside[0], np.arange(400)
    plain = rates(-loss[0], member, people).auc.value
    phi = stable_logit(loss)
    likelihood = rates(lira(phi[0], phi[1:], inside[1:]), member, people).auc.value
    ratio = ratios(loss[0], loss[1:], inside[1:])
    relative = rates(rmia(ratio, ratio), member, people).auc.value
    assert plain < 0.65
    assert likelihood > 0.95
    assert relative > plain + 0.05


def test_rmia_of_a_hand_case() -> None:
    ratio = ratios(np.array([0.0]), np.array([[math.log(2)], [0.0]]), np.array([[False], [True]]))
    assert ratio == pytest.approx(-math.log((1.3 * 0.5 + 0.7) / 2))
    assert rmia(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0])).tolist() == [0, 0.5, 1]


def test_shapes_of_distributions_are_seen() -> None:
    rng = np.random.default_rng(0)
    inside = rng.random((100, 50)) < 0.5
    skewness, kurtosis = shape_of(rng.standard_normal((100, 50)), inside)
    assert abs(skewness) < 0.15
    assert abs(kurtosis) < 0.3
    assert shape_of(rng.exponential(size=(100, 50)), inside)[0] > 1
