"""What every family promises: a loss per utterance, deaf to padding, that private training can follow."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import nn

from fedasr.config.loading import load
from fedasr.config.schema import ModelConfig, SpellerConfig
from fedasr.errors import InputError
from fedasr.models.encoders.pyramid import Pyramid, pairs
from fedasr.models.factory import build_model
from fedasr.models.hybrid import HybridModel
from fedasr.models.las import LASModel
from fedasr.models.speller import POSITIONS, positions
from fedasr.models.tokenizer import Tokenizer
from fedasr.privacy.gradients import compiled
from fedasr.privacy.gradients.bookkeeping import BookKeeper
from fedasr.testing import check_model
from fedasr.training.local import normalised_loss
from tests.fedasr.models.families import (
    FAMILIES,
    LABELS,
    LENGTHS,
    MEL,
    NEW,
    PADDINGS,
    TOKENS,
    alone,
    batch_of,
    build,
    learns_by_heart,
)

needs_compiler = pytest.mark.skipif(compiled.find_compiler() is None, reason="no C++ compiler")


@pytest.mark.thorough
@pytest.mark.parametrize("family", FAMILIES)
def test_laws(family: str) -> None:
    check_model(lambda mel_bins, tokens: build(family, tokens=tokens), mel_bins=MEL, paddings=PADDINGS)


@pytest.mark.thorough
@pytest.mark.parametrize("family", NEW)
@pytest.mark.parametrize("padding", PADDINGS)
def test_a_padded_batch_gives_what_each_utterance_gives_alone(family: str, padding: float) -> None:
    model = build(family)
    batch = batch_of(LENGTHS, LABELS, padding, extra=6)
    batch.targets = nn.functional.pad(batch.targets, (0, 2), value=TOKENS - 1)
    losses = model.utterance_loss(batch)
    losses.sum().backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    texts = model.hypotheses(batch, Tokenizer("abcdef"))
    model.zero_grad()
    for row, single in enumerate(alone(batch)):
        loss = model.utterance_loss(single)
        torch.testing.assert_close(loss[0], losses[row], rtol=1e-5, atol=1e-5)
        loss.sum().backward()
        assert model.hypotheses(single, Tokenizer("abcdef")) == [texts[row]]
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", NEW)
@pytest.mark.parametrize("how", ["torch", pytest.param("compiled", marks=needs_compiler)])
def test_private_training_sees_each_utterances_own_gradient(family: str, how: str) -> None:
    """Equal to each utterance alone and unpadded, with autograd, to 1e-5."""
    model = build(family).train()
    batch = batch_of(LENGTHS[:4], LABELS[:4])
    parameters = list(model.parameters())
    wanted = torch.stack(
        [
            torch.cat([g.flatten() for g in torch.autograd.grad(normalised_loss(model, single)[0], parameters)])
            for single in alone(batch)
        ]
    )
    result = BookKeeper(model, how).gradients(partial(normalised_loss, model, batch))
    assert float(((result.samples() - wanted).norm(dim=1) / wanted.norm(dim=1)).max()) < 1e-5
    torch.testing.assert_close(result.norms(), wanted.norm(dim=1), rtol=1e-5, atol=0)
    out = torch.zeros(wanted.shape[1])
    factors = torch.linspace(0.1, 1.0, len(batch))
    result.add_weighted_sum(factors, out)
    assert float((out - factors @ wanted).norm() / (factors @ wanted).norm()) < 1e-5


@pytest.mark.parametrize("family", NEW)
def test_gradients_reach_every_parameter_and_nothing_is_batch_norm(family: str) -> None:
    model = build(family, dropout=0.1)
    model.utterance_loss(batch_of(LENGTHS, LABELS)).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert float(parameter.grad.abs().max()) > 0, name
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    assert list(model.buffers()) == []


@pytest.mark.slow
@pytest.mark.parametrize("family", ["las", "hybrid", "rnnt"])
def test_five_utterances_can_be_learnt_by_heart(family: str) -> None:
    speller = SpellerConfig(hidden=24, heads=2, label_smoothing=0.0)
    learns_by_heart(build(family, hidden=24, speller=speller), steps=80, to=0.1)


@pytest.mark.thorough
@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_seed_gives_the_same_model_losses_and_texts(family: str) -> None:
    tokenizer, batch = Tokenizer("abcdef"), batch_of(LENGTHS, LABELS)
    first, second = build(family, seed=3, dropout=0.5), build(family, seed=3, dropout=0.5)
    assert torch.equal(first.eval().utterance_loss(batch), second.eval().utterance_loss(batch))
    for decoder in ("greedy", "beam", "vocabulary"):
        texts = [
            m.train().hypotheses(batch, tokenizer, decoder, beam=3, vocabulary=["ab", "cd", "efa"])
            for m in (first, second, first)
        ]
        assert texts[0] == texts[1] == texts[2]
        assert first.training


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"decoder": "gredy"}, "did you mean 'greedy'"),
        ({"decoder": "vocabulary"}, "has no phrases"),
        ({"decoder": "vocabulary", "vocabulary": ["a", "xy"]}, "vocabulary of the decoder: characters outside"),
    ],
    ids=["misspelt", "no phrases", "unknown characters"],
)
def test_decoders_refuse_what_they_cannot_do(family: str, arguments: dict[str, object], says: str) -> None:
    model = build(family)
    with pytest.raises(InputError, match=says):
        model.hypotheses(batch_of([9], [[1]]), Tokenizer("abcdef"), **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["model.name=lass"], "'model.name' is 'lass' (did you mean 'las'?)"),
        (["model.name=las", "model.encoder=dsconv"], "'model.encoder' is set but 'model.name' is 'las'"),
        (["model.name=las", "model.speller.heads=5"], "'model.speller.heads' is 5; it must divide"),
        (["model.name=rnnt", "model.encoder=conformer", "model.hidden=30"], "'model.conformer.heads' is 4; it must"),
        (["model.ctc_weight=1.5"], "'model.ctc_weight' is 1.5"),
        (["model.transducer.joints=3"], "did you mean 'joint'?)"),
    ],
    ids=["family", "listener", "heads", "conformer heads", "weight", "unknown key"],
)
def test_impossible_configs_get_one_line(overrides: list[str], says: str) -> None:
    with pytest.raises(InputError) as caught:
        load("quickstart", overrides)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_pyramid_reads_pairs_and_halves_the_rate() -> None:
    x = torch.arange(10.0).view(1, 5, 2)
    assert pairs(x).tolist() == [[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 0]]]
    pyramid = Pyramid(6, 4, 3, "layer", 0.0)
    states, lengths = pyramid(torch.randn(3, 21, 6), torch.tensor([21, 16, 1]))
    assert states.shape == (3, 3, 8)
    assert lengths.tolist() == [3, 2, 1]


def test_the_families_have_the_parameters_that_they_should() -> None:
    """Counted by hand for the speller: embedding, LSTM, query, key, value, mix, output."""
    model = build("las")
    assert isinstance(model, LASModel)
    speller = sum(parameter.numel() for parameter in model.speller.parameters())
    recurrent = 4 * 12 * (12 + 12 + 2)
    attention = (12 + POSITIONS) * 12 + 12 + (32 + POSITIONS) * 12 + 12 + 32 * 12 + 12
    assert speller == TOKENS * 12 + recurrent + attention + (24 * 12 + 12) + (12 * TOKENS + TOKENS)


def test_positions_go_on_where_they_stopped() -> None:
    like = torch.zeros(1)
    whole = positions(0, 9, like)
    torch.testing.assert_close(torch.cat([positions(0, 4, like), positions(4, 5, like)]), whole)
    assert whole.shape == (9, POSITIONS)
    assert float((whole[1:] - whole[:-1]).norm(dim=1).min()) > 0.5


def test_label_smoothing_is_for_training_alone() -> None:
    model, batch = build("las"), batch_of(LENGTHS, LABELS)
    plain = model.eval().utterance_loss(batch)
    smooth = model.train().utterance_loss(batch)
    assert float((plain - smooth).detach().abs().min()) > 1e-4
    assert isinstance(model, LASModel)
    model.label_smoothing = 0.0
    torch.testing.assert_close(model.utterance_loss(batch), plain)


def test_the_hybrid_loss_is_the_weighted_sum_of_its_two() -> None:
    model, batch = build("hybrid").eval(), batch_of(LENGTHS[:4], LABELS[:4])
    assert isinstance(model, HybridModel)
    losses = {}
    for weight in (0.0, 0.3, 1.0):
        model.ctc_weight = weight
        losses[weight] = model.utterance_loss(batch)
    torch.testing.assert_close(losses[0.3], 0.3 * losses[1.0] + 0.7 * losses[0.0])


def test_speech_too_short_for_ctc_is_still_spelt() -> None:
    model, batch = build("hybrid"), batch_of([4, 40], [[1, 2, 3], [1]])
    losses = model.utterance_loss(batch)
    losses.sum().backward()
    assert 0 < float(losses[0].detach()) < math.inf
    assert all(bool(torch.isfinite(parameter.grad).all()) for parameter in model.parameters())


def test_frames_to_align_with() -> None:
    """CTC needs a frame of the encoder for each token, attention and transducer do not."""
    frames = torch.tensor([1, 30, 33])
    assert build("hybrid").output_frames(frames).tolist() == [1, 8, 9]
    assert build("las").output_frames(frames).tolist() == build("rnnt").output_frames(frames).tolist() == [1, 30, 33]


def test_heads_must_divide() -> None:
    with pytest.raises(ValueError, match="heads is 5; it must divide hidden"):
        build_model(ModelConfig(name="las", speller=SpellerConfig(hidden=12, heads=5)), MEL, TOKENS)
