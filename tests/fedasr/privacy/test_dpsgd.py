"""DP-SGD on a client: clipping, noise, draws, and how far one utterance can move a step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fedasr.config.schema import ClientConfig
from fedasr.data.batches import Batch
from fedasr.errors import InputError
from fedasr.models.weights import model_arrays
from fedasr.privacy import dpsgd
from fedasr.privacy.dpsgd import PrivateState, PrivateTraining, Release, Where, decaying, draw
from fedasr.privacy.gradients import compiled
from fedasr.privacy.gradients.bookkeeping import BookKeeper
from fedasr.privacy.gradients.clipping import Automatic, Clipping, Flat, PerLayer
from fedasr.training.local import Resident, normalised_loss
from tests.fedasr.privacy.gradients.references import (
    one_by_one,
    relative,
    speech_batch,
    speech_model,
    utterance,
)
from tests.tiers import examples

WHERE = Where(7, 3, 11)
RATE = 0.5
LENGTHS = (31, 40, 17, 24, 36, 29)


def rows_of(batch: Batch, rows: Sequence[int]) -> Batch:
    """Return some utterances of a batch, with its padding."""
    index = torch.tensor(rows, dtype=torch.int64)
    return Batch(
        batch.features[index],
        batch.feature_lengths[index],
        batch.targets[index],
        batch.target_lengths[index],
        0.4 * len(rows),
        tuple(rows),
    )


def begun(settings: PrivateTraining, stack: str = "lstm", config: ClientConfig | None = None) -> PrivateState:
    resident = Resident(speech_model(stack))
    config = config or ClientConfig(optimizer="sgd", clip_norm=None)
    arrays = model_arrays(resident.model)
    return dpsgd.init(BookKeeper(resident.model), resident, arrays, config, RATE, settings, WHERE)


def training(clipping: Clipping, z: float = 0.0, steps: int = 1, **other: object) -> PrivateTraining:
    given: dict[str, object] = {"sampling_probability": 0.5, "utterances": 8, **other}
    return PrivateTraining(clipping, (z,) * steps, **given)  # type: ignore[arg-type]


def moved(state: PrivateState, batches: Sequence[Batch]) -> torch.Tensor:
    """Return what one step subtracted, over the learning rate: the noisy clipped sum over the denominator."""
    before = state.resident.parameters.double().clone()
    dpsgd.step(state, batches)
    return (before - state.resident.parameters.double()) / RATE


def gradients(state: PrivateState, batch: Batch) -> torch.Tensor:
    model = state.resident.model
    return one_by_one(model, lambda row: normalised_loss(model, utterance(batch, row))[0], len(batch))


RULES = {
    "flat": Flat(0.5),
    "automatic": Automatic(0.5, stability=0.05),
    "uniform": "uniform",
    "dimension": "dimension",
}


def rule_of(name: str) -> Clipping:
    rule = RULES[name]
    if isinstance(rule, str):
        return PerLayer.of(BookKeeper(speech_model("lstm")).layout, 0.5, rule)
    return rule


@pytest.mark.parametrize("name", RULES)
def test_a_step_is_the_clipped_sum_over_the_expected_batch(name: str) -> None:
    rule = rule_of(name)
    state, batch = begun(training(rule)), speech_batch(LENGTHS)
    rows = gradients(state, batch)
    parts = state.keeper.layout.slices
    squares = torch.stack([rows[:, part].square().sum(1) for part in parts], dim=1)
    factors = rule.factors(squares)
    assert (factors < 0.9).any()
    if factors.dim() == 1:
        wanted = factors @ rows
    else:
        wanted = torch.cat([factors[:, i] @ rows[:, part] for i, part in enumerate(parts)])
    assert relative(moved(state, [batch]), wanted / (0.5 * 8)) < 1e-4  # parameters are float32: what moved is rounded


def test_the_denominator_does_not_depend_on_the_draw() -> None:
    """One utterance, and the same utterance in a client that stores twice as many: half the step."""
    batch = rows_of(speech_batch(LENGTHS), [1])
    one = moved(begun(training(Flat(1e6))), [batch])
    other = moved(begun(training(Flat(1e6), utterances=16)), [batch])
    assert relative(other, one / 2) < 1e-4


@pytest.mark.thorough
@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_physical_batches_change_nothing(name: str, size: int) -> None:
    batch = speech_batch(LENGTHS)
    whole = begun(training(rule_of(name)))
    parts = begun(training(rule_of(name), physical_batch=size))
    apart = begun(training(rule_of(name)))
    dpsgd.step(whole, [batch])
    dpsgd.step(parts, [batch])
    dpsgd.step(apart, [rows_of(batch, [4, 0]), rows_of(batch, []), rows_of(batch, [5, 3, 2, 1])])
    for state in (parts, apart):
        assert relative(state.resident.gradient, whole.resident.gradient) < 1e-5
        assert state.utterances == whole.utterances == 6
        assert state.loss == pytest.approx(whole.loss, rel=1e-5)
        assert state.seconds == pytest.approx(whole.seconds if state is parts else 2.4)


def test_nobody_drawn_is_a_step_of_noise() -> None:
    state = begun(training(Flat(2.0), z=1.5, steps=2))
    empty = rows_of(speech_batch(LENGTHS), [])
    first, second = moved(state, []), moved(state, [empty])
    for number, result in enumerate((first, second)):
        noise = torch.from_numpy(dpsgd.noise(len(result), WHERE, number))
        assert relative(result, noise * 1.5 * 2.0 / 4) < 1e-4
    assert state.steps == 2
    assert dpsgd.final(state)[2] == (Release(1.5, 0.5, 2, 1.0),)


def test_noise_is_normal_and_of_the_size_that_the_ledger_hears() -> None:
    """A step with noise less the same step without is N(0, (zC / qN)²), scalar by scalar."""
    rule, z = Flat(0.5), 1.3
    batch = speech_batch(LENGTHS)
    noisy, silent = begun(training(rule, z)), begun(training(rule))
    dpsgd.step(noisy, [batch])
    dpsgd.step(silent, [batch])
    noise = (noisy.resident.gradient - silent.resident.gradient).double() / (z * rule.bound / 4)
    assert len(noise) > 2000
    assert stats.kstest(noise.numpy(), "norm").pvalue > 0.01
    assert float(noise.std()) == pytest.approx(1.0, abs=4 / math.sqrt(2 * len(noise)))
    assert abs(float(noise.mean())) < 4 / math.sqrt(len(noise))


def test_noise_is_a_function_of_seed_round_client_and_step() -> None:
    first = dpsgd.noise(1000, WHERE, 0)
    assert first.tobytes() == dpsgd.noise(1000, WHERE, 0).tobytes()
    others = [
        dpsgd.noise(1000, where, step)
        for where, step in [
            (WHERE, 1),
            (WHERE._replace(source=8), 0),
            (WHERE._replace(round=4), 0),
            (WHERE._replace(client=12), 0),
        ]
    ]
    off_diagonal = np.corrcoef([first, *others]) - np.eye(5)
    assert np.abs(off_diagonal).max() < 0.15


def test_compiled_noise_is_the_same_bits() -> None:
    kernels = compiled.kernels()
    if kernels is None:
        pytest.skip("no C++ compiler")
    assert dpsgd.noise(100_001, WHERE, 0, kernels).tobytes() == dpsgd.noise(100_001, WHERE, 0).tobytes()


def test_draws_are_poisson() -> None:
    """Every utterance alike, none with any other, and a batch of any size: binomial."""
    settings_, steps = training(Flat(1.0), utterances=40, sampling_probability=0.15), 2000
    drawn = np.zeros((steps, 40))
    for step in range(steps):
        (positions,) = draw(settings_, WHERE, step)
        drawn[step, positions] = 1
    rates = drawn.mean(0)
    assert np.abs(rates - 0.15).max() < 4.5 * math.sqrt(0.15 * 0.85 / steps)
    sizes = drawn.sum(1)
    assert sizes.var() == pytest.approx(40 * 0.15 * 0.85, rel=0.15)  # a fixed batch would have none
    observed = np.bincount(sizes.astype(int), minlength=41)
    expected = steps * stats.binom.pmf(np.arange(41), 40, 0.15)
    few = expected < 8
    assert stats.chisquare([*observed[~few], observed[few].sum()], [*expected[~few], expected[few].sum()]).pvalue > 0.01
    assert np.abs(np.corrcoef(drawn.T) - np.eye(40)).max() < 0.12
    again = draw(settings_, WHERE, 5)[0]
    assert again.tolist() == np.flatnonzero(drawn[5]).tolist()


def test_everybody_is_drawn_with_probability_one() -> None:
    everybody = training(Flat(1.0), sampling_probability=1.0)
    assert draw(everybody, WHERE, 0)[0].tolist() == list(range(8))


@settings(max_examples=examples(50), deadline=None)
@given(stored=st.integers(2, 30), groups=st.integers(1, 6), q=st.floats(0.05, 1.0), step=st.integers(0, 5))
def test_micro_batches_split_the_drawn(stored: int, groups: int, q: float, step: int) -> None:
    one = training(Flat(1.0), utterances=stored, sampling_probability=q)
    split = training(Flat(1.0), utterances=stored, sampling_probability=q, micro_batches=groups)
    parts = draw(split, WHERE, step)
    assert len(parts) == groups
    assert sorted(np.concatenate(parts).tolist()) == draw(one, WHERE, step)[0].tolist()
    # Where an utterance falls does not depend on who else is drawn: it is where it falls when everybody is.
    everybody = training(Flat(1.0), utterances=stored, sampling_probability=1.0, micro_batches=groups)
    for part, whole in zip(parts, draw(everybody, WHERE, step), strict=True):
        assert set(part.tolist()) <= set(whole.tolist())


CLIPPED = st.sampled_from([Flat(0.3), Flat(50.0), Automatic(0.3), "uniform", "dimension"])


@pytest.fixture(scope="module")
def keeper() -> BookKeeper:
    return BookKeeper(speech_model("lstm"))


def total(keeper: BookKeeper, rule: Clipping, batches: Sequence[Batch], micro: bool) -> torch.Tensor:
    """Return the clipped sum before noise and denominator."""
    result = PrivateTraining(rule, (0.0,), 1.0, 1, micro_batches=1 if micro else None)
    resident = Resident(keeper.model)  # type: ignore[arg-type]
    config = ClientConfig(optimizer="sgd", clip_norm=None)
    arrays = model_arrays(keeper.model)
    state = dpsgd.init(keeper, resident, arrays, config, 1.0, result, WHERE)
    out = torch.zeros_like(resident.gradient)
    for batch in batches:
        if len(batch):
            (dpsgd.add_clipped_mean if micro else dpsgd.add_clipped_samples)(state, batch, out)
    return out.double()


@settings(max_examples=examples(25), deadline=None)
@given(
    rows=st.sets(st.integers(0, 5), min_size=1),
    extra=st.integers(0, 2),
    loud=st.sampled_from([1.0, 30.0]),
    rule=CLIPPED,
)
def test_one_utterance_more_moves_the_sum_by_at_most_the_bound(
    keeper: BookKeeper, rows: set[int], extra: int, loud: float, rule: Clipping | str
) -> None:
    """However loud it is, and whatever the others are."""
    rule = PerLayer.of(keeper.layout, 0.3, rule) if isinstance(rule, str) else rule
    others = rows_of(speech_batch(LENGTHS), sorted(rows))
    newcomer = rows_of(speech_batch(LENGTHS, seed=9), [extra])
    newcomer.features *= loud
    without = total(keeper, rule, [others], micro=False)
    with_it = total(keeper, rule, [others, newcomer], micro=False)
    assert 0 < float((with_it - without).norm()) <= rule.bound * (1 + 1e-4) + 1e-5


@settings(max_examples=examples(25), deadline=None)
@given(
    rows=st.sets(st.integers(0, 5), min_size=1, max_size=4),
    extra=st.integers(0, 2),
    replaced=st.booleans(),
    rule=CLIPPED,
)
def test_one_utterance_moves_a_clipped_mean_by_at_most_two_bounds(
    keeper: BookKeeper, rows: set[int], extra: int, replaced: bool, rule: Clipping | str
) -> None:
    rule = PerLayer.of(keeper.layout, 0.3, rule) if isinstance(rule, str) else rule
    here = sorted(rows)
    before = rows_of(speech_batch(LENGTHS), here)
    newcomer = rows_of(speech_batch(LENGTHS, seed=9), [extra])
    kept = rows_of(speech_batch(LENGTHS), here[1:] if replaced else here)
    pieces = [
        torch.cat([getattr(kept, name), getattr(newcomer, name)])
        for name in ("features", "feature_lengths", "targets", "target_lengths")
    ]
    after = Batch(*pieces, 1.0, tuple(range(len(pieces[1]))))
    difference = total(keeper, rule, [after], micro=True) - total(keeper, rule, [before], micro=True)
    assert float(difference.norm()) <= 2 * rule.bound * (1 + 1e-4) + 1e-5


def test_a_clipped_mean_can_be_turned_round() -> None:
    """Why the factor is 2: of eight gradients of +1 the mean is +1; one more of −1,000 makes it −C."""
    mean, turned = 8 / 8, (8 - 1000) / 9
    clip = Flat(1.0)
    factors = clip.factors(torch.tensor([[mean**2], [turned**2]]))
    assert float(factors[0]) * mean - float(factors[1]) * turned == pytest.approx(2.0)


def test_a_step_of_micro_batches() -> None:
    """Clipped means over the number of micro-batches, the empty one counted; the noise is z·C, the factor 2."""
    rule = Flat(0.2)
    batch = speech_batch(LENGTHS)
    groups = [rows_of(batch, [0, 1, 4]), rows_of(batch, []), rows_of(batch, [2, 3, 5])]
    state = begun(training(rule, micro_batches=3))
    rows = gradients(state, batch)
    wanted = torch.zeros(rows.shape[1])
    for members in ([0, 1, 4], [2, 3, 5]):
        mean = rows[members].mean(0)
        wanted += mean * min(1.0, 0.2 / float(mean.norm()))
    again = begun(training(rule, micro_batches=3, physical_batch=2))
    plain = begun(training(rule, micro_batches=3))
    assert relative(moved(plain, groups), wanted / 3) < 1e-4
    assert relative(moved(again, groups), wanted / 3) < 1e-4
    noisy = begun(training(rule, z=2.0, micro_batches=3))
    noise = torch.from_numpy(dpsgd.noise(rows.shape[1], WHERE, 0))
    assert relative(moved(noisy, groups) - wanted / 3, noise * 2.0 * 0.2 / 3) < 1e-4
    assert dpsgd.final(noisy)[2] == (Release(2.0, 0.5, 1, 2.0),)


def test_layers_of_micro_batches_have_thresholds_of_their_own() -> None:
    layout = BookKeeper(speech_model("lstm")).layout
    rule = PerLayer(tuple(0.01 * (number + 1) for number in range(len(layout.slices))))
    state, batch = begun(training(rule, micro_batches=1)), speech_batch(LENGTHS)
    mean = gradients(state, batch).mean(0)
    wanted = torch.cat(
        [
            mean[part] * min(1.0, c / float(mean[part].norm()))
            for c, part in zip(rule.thresholds, layout.slices, strict=True)
        ]
    )
    assert relative(moved(state, [batch]), wanted) < 1e-4


def test_decaying_noise() -> None:
    assert decaying(2.0, 0.5, 5, 2) == [2.0, 2.0, 1.0, 1.0, 0.5]
    assert decaying(2.0, 0.5, 2, 2, done=3) == [1.0, 0.5]
    state = begun(PrivateTraining(Flat(1.0), tuple(decaying(2.0, 0.5, 3, 2)), 0.25, 8))
    for _ in range(3):
        dpsgd.step(state, [])
    assert dpsgd.final(state)[2] == (Release(2.0, 0.25, 2, 1.0), Release(1.0, 0.25, 1, 1.0))
    with pytest.raises(InputError, match="step 4 of a round with 3 noise multipliers"):
        dpsgd.step(state, [])


def test_what_follows_the_noise_is_that_of_plain_training() -> None:
    """FedProx and the optimiser see the noisy mean where they would see the gradient."""
    config = ClientConfig(optimizer="adamw", clip_norm=None, proximal=0.3, weight_decay=0.1)
    state, batch = begun(training(Flat(0.5), z=0.7, steps=2), config=config), speech_batch(LENGTHS)
    plain = begun(training(Flat(0.5), z=0.7, steps=2), config=ClientConfig(optimizer="sgd", clip_norm=None))
    weight = torch.nn.Parameter(state.resident.parameters.clone())
    anchor = weight.detach().clone()
    optimizer = torch.optim.AdamW([weight], RATE, weight_decay=0.1)
    for _ in range(2):
        plain.resident.parameters.copy_(weight.detach())
        dpsgd.step(plain, [batch])
        weight.grad = plain.resident.gradient + 0.3 * (weight.detach() - anchor)
        optimizer.step()
        dpsgd.step(state, [batch])
    torch.testing.assert_close(state.resident.parameters, weight.detach(), rtol=1e-4, atol=1e-5)


def test_the_same_step_twice_is_the_same_bits() -> None:
    result = []
    for _ in range(2):
        state = begun(training(Flat(0.5), z=1.0, steps=2), "blstm")
        for _ in range(2):
            dpsgd.step(state, [speech_batch(LENGTHS)])
        result.append(state.resident.parameters.clone())
    assert torch.equal(*result)


def test_noise_without_end_hides_what_was_said() -> None:
    """It learns without noise, and does not where the noise drowns it: the knob is connected."""

    def loss_after(z: float) -> float:
        state = begun(training(Flat(1.0), z=z, steps=12, utterances=12))
        batch = speech_batch(LENGTHS)
        for _ in range(12):
            dpsgd.step(state, [batch])
        return float(normalised_loss(state.resident.model, batch).detach().mean())

    start = float(normalised_loss(speech_model("lstm"), speech_batch(LENGTHS)).detach().mean())
    assert loss_after(0.0) < 0.8 * start
    assert loss_after(50.0) > start


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampling_probability": 0.0}, "sampling_probability"),
        ({"sampling_probability": 1.1}, "sampling_probability"),
        ({"utterances": 0}, "utterances"),
        ({"micro_batches": 0}, "micro_batches"),
        ({"physical_batch": 0}, "physical_batch"),
        ({"z": -1.0}, "noise_multiplier"),
        ({"z": float("nan")}, "noise_multiplier"),
    ],
)
def test_refusals(change: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        training(Flat(1.0), **change)  # type: ignore[arg-type]
