"""The models: shapes, padding, losses and sizes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fedasr.config.schema import ConformerConfig, ModelConfig
from fedasr.errors import InputError
from fedasr.models.convolutions import DepthwiseConv1d, FrameConv1d
from fedasr.models.ctc import CTCModel
from fedasr.models.encoders.conformer import rotate, rotation
from fedasr.models.encoders.recurrent import BidirectionalLSTM, reversal
from fedasr.models.factory import build_model
from fedasr.models.norms import FrameGroupNorm
from fedasr.models.tokenizer import Tokenizer, build_tokenizer
from fedasr.seeds import torch_scope
from tests.fedasr.models.families import LABELS, LENGTHS, MEL, TOKENS, alone, batch_of, learns_by_heart


def config(kind: str, **changes: object) -> ModelConfig:
    settings: dict[str, object] = {"channels": [10, 12], "strides": [2, 2], "hidden": 16, "layers": 2, "kernel": 5}
    settings |= {"name": "ctc-conformer"} if kind == "conformer" else {"encoder": kind}
    settings |= {"conformer": ConformerConfig(heads=2, feedforward=2, kernel=5)}
    return ModelConfig(**(settings | changes))  # type: ignore[arg-type]


def build(settings: ModelConfig, mel: int = MEL, tokens: int = TOKENS, seed: int = 0) -> CTCModel:
    with torch_scope(seed, "model"):
        model = build_model(settings, mel, tokens)
    assert isinstance(model, CTCModel)
    return model


KINDS = ["lstm", "blstm", "dsconv", "conformer"]


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", ["layer", "group", "none"])
@pytest.mark.parametrize("padding", [0.0, 1e3, math.nan])
def test_a_padded_batch_gives_what_each_utterance_gives_alone(kind: str, norm: str, padding: float) -> None:
    model = build(config(kind, norm=norm, layers=5 if kind == "dsconv" else 2))
    batch = batch_of(LENGTHS, LABELS, padding, extra=6)
    together, lengths = model.log_probabilities(batch)
    losses = model.utterance_loss(batch)
    losses.sum().backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    for row, single in enumerate(alone(batch)):
        expected, length = model.log_probabilities(single)
        frames = int(length[0])
        assert int(lengths[row]) == frames == expected.shape[1]
        torch.testing.assert_close(together[row, :frames], expected[0], rtol=0, atol=1e-5)
        loss = model.utterance_loss(single)
        torch.testing.assert_close(loss[0], losses[row], rtol=1e-5, atol=1e-5)
        loss.sum().backward()
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strides", [[1, 1], [2, 1], [2, 2], [3, 2]])
def test_output_frames_are_exact(kind: str, strides: list[int]) -> None:
    model = build(config(kind, strides=strides))
    total = math.prod(strides)
    for frames in (1, 2, 3, 7, 8, 9, 30):
        posteriors, lengths = model.log_probabilities(batch_of([frames], [[1]]))
        assert posteriors.shape == (1, int(lengths[0]), TOKENS)
        assert model.output_frames(torch.tensor([frames])).tolist() == lengths.tolist() == [math.ceil(frames / total)]
    torch.testing.assert_close(posteriors.exp().sum(2), torch.ones(1, int(lengths[0])))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", ["layer", "group"])
def test_gradients_reach_every_parameter_and_nothing_is_batch_norm(kind: str, norm: str) -> None:
    model = build(config(kind, norm=norm, dropout=0.1))
    model.utterance_loss(batch_of(LENGTHS, LABELS)).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert float(parameter.grad.abs().max()) > 0, name
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    assert list(model.buffers()) == []


def test_the_workload_of_the_design_has_146112_parameters() -> None:
    model = build(ModelConfig(encoder="lstm", channels=[64, 96], strides=[2, 2], norm="none"), mel=40, tokens=32)
    sizes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert sum(math.prod(shape) for shape in sizes.values()) == 146_112
    assert list(sizes.values()) == [
        (64, 40, 3), (64,), (96, 64, 3), (96,), (512, 96), (512, 128), (512,), (512,), (32, 128), (32,),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        # head 16·7 + 7; subsampling 12·10·3 + 10 + 10·12·3 + 12; norms of 2·10 + 2·12
        ("lstm", 119 + 742 + 44 + 4 * 16 * (12 + 16 + 2) + 4 * 16 * (16 + 16 + 2) + 2 * 32),
        ("blstm", 231 + 742 + 44 + 2 * 4 * 16 * (12 + 16 + 2) + 2 * 4 * 16 * (32 + 16 + 2) + 2 * 64),
        ("dsconv", 119 + 742 + 44 + 12 * 16 + 16 + 2 * (16 * 5 + 16 + 16 * 16 + 16 + 32)),
    ],
)
def test_parameter_counts(kind: str, count: int) -> None:
    assert sum(parameter.numel() for parameter in build(config(kind)).parameters()) == count


@pytest.mark.parametrize("kind", KINDS)
def test_construction_is_a_function_of_the_seed(kind: str) -> None:
    first, again, other = (build(config(kind), seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_frame_convolution_is_conv1d() -> None:
    x = torch.randn(3, 11, 4, generator=torch.Generator().manual_seed(0))
    for stride in (1, 2, 3):
        layer = FrameConv1d(4, 6, stride)
        expected = nn.Conv1d.forward(layer, x.transpose(1, 2)).transpose(1, 2)
        torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)


def test_depthwise_convolution_is_conv1d() -> None:
    x = torch.randn(3, 11, 4, generator=torch.Generator().manual_seed(0))
    for kernel, dilation in ((1, 1), (3, 1), (5, 4)):
        layer = DepthwiseConv1d(4, kernel, dilation)
        expected = nn.Conv1d.forward(layer, x.transpose(1, 2)).transpose(1, 2)
        torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="odd"):
        DepthwiseConv1d(4, 2)


@pytest.mark.parametrize(("kernel", "dilation", "frames"), [(1, 1, 7), (3, 1, 7), (5, 4, 7), (5, 4, 3)])
def test_the_gradient_of_a_depthwise_convolution_is_that_of_finite_differences(
    kernel: int, dilation: int, frames: int
) -> None:
    draw = torch.Generator().manual_seed(0)
    layer = DepthwiseConv1d(2, kernel, dilation).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, generator=draw)
    x = torch.randn(2, frames, 2, dtype=torch.float64, generator=draw).requires_grad_()
    names = [name for name, _ in layer.named_parameters()]

    def result(x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    assert torch.autograd.gradcheck(result, (x, *layer.parameters()))
    layer.requires_grad_(False)
    assert torch.autograd.gradcheck(layer, (x,))
    layer.bias.requires_grad_(True)
    layer(x.detach()).sum().backward()
    assert layer.weight.grad is None
    assert torch.equal(layer.bias.grad, torch.full((2,), 2.0 * frames, dtype=torch.float64))


def test_bidirectional_lstm_is_that_of_torch_over_packed_sequences() -> None:
    ours, theirs = BidirectionalLSTM(5, 4), nn.LSTM(5, 4, bidirectional=True, batch_first=True)
    with torch.no_grad():
        for name, parameter in ours.ahead.named_parameters():
            getattr(theirs, name).copy_(parameter)
        for name, parameter in ours.back.named_parameters():
            getattr(theirs, f"{name}_reverse").copy_(parameter)
    x, lengths = torch.randn(3, 8, 5, generator=torch.Generator().manual_seed(0)), torch.tensor([5, 8, 2])
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)
    result = ours(x, reversal(lengths, 8))
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(result[row, :length], expected[row, :length], rtol=1e-5, atol=1e-5)


def test_reversal_turns_speech_and_leaves_padding() -> None:
    assert reversal(torch.tensor([3, 5, 0]), 5).squeeze(2).tolist() == [
        [2, 1, 0, 3, 4],
        [4, 3, 2, 1, 0],
        [0, 1, 2, 3, 4],
    ]


def test_group_norm_is_over_the_channels_of_one_frame() -> None:
    norm = FrameGroupNorm(8)
    x = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
    groups = x.view(2, 3, norm.num_groups, -1)
    mean, variance = groups.mean(3, keepdim=True), groups.var(3, keepdim=True, unbiased=False)
    torch.testing.assert_close(norm(x), ((groups - mean) / (variance + norm.eps).sqrt()).view_as(x))
    assert [FrameGroupNorm(channels).num_groups for channels in (3, 8, 96, 10)] == [1, 2, 4, 1]


def test_rotary_scores_depend_on_distance_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(5, generator=generator), torch.randn(5, generator=generator)
    cosine, sine = rotation(9, 5, query)
    queries = rotate(query.expand(1, 1, 9, 5), cosine, sine)[0, 0]
    keys = rotate(key.expand(1, 1, 9, 5), cosine, sine)[0, 0]
    scores = queries @ keys.T
    torch.testing.assert_close(scores[2, 0], scores[8, 6])
    torch.testing.assert_close(scores[0, 0], query @ key)
    assert abs(float(scores[2, 0] - scores[0, 2])) > 1e-3


def brute_force(log_probabilities: np.ndarray, label: list[int]) -> float:
    """Sum over every alignment."""
    total = 0.0
    for path in itertools.product(range(log_probabilities.shape[1]), repeat=len(log_probabilities)):
        if [token for token, _ in itertools.groupby(path) if token] == label:
            total += math.exp(sum(float(row[token]) for row, token in zip(log_probabilities, path, strict=True)))
    return math.log(total)


def test_loss_is_the_sum_over_all_alignments_in_nats() -> None:
    model = build(config("lstm", strides=[2, 1]), tokens=4)
    batch = batch_of([10, 7], [[1, 1, 3], [2]])
    posteriors, lengths = model.log_probabilities(batch)
    losses = model.utterance_loss(batch).detach()
    for row, label in enumerate([[1, 1, 3], [2]]):
        rows = posteriors[row, : int(lengths[row])].detach().double().numpy()
        assert float(losses[row]) == pytest.approx(-brute_force(rows, label), rel=1e-5)


def test_loss_is_per_utterance_and_that_of_torch() -> None:
    model = build(config("blstm"))
    batch = batch_of(LENGTHS, LABELS)
    posteriors, lengths = model.log_probabilities(batch)
    losses = model.utterance_loss(batch)
    assert losses.shape == (5,)
    for row, label in enumerate(LABELS):
        expected = F.ctc_loss(
            posteriors[row, : int(lengths[row])], torch.tensor(label), lengths[row], torch.tensor(len(label)),
            reduction="sum",
        )  # fmt: skip
        torch.testing.assert_close(losses[row], expected, rtol=1e-5, atol=1e-5)


def test_a_label_longer_than_its_frames_costs_nothing_and_spoils_nothing() -> None:
    model = build(config("dsconv"))
    losses = model.utterance_loss(batch_of([4, 40], [[1, 2, 3], [1]]))
    losses.sum().backward()
    assert float(losses[0].detach()) == 0
    assert 0 < float(losses[1].detach()) < math.inf
    assert all(bool(torch.isfinite(parameter.grad).all()) for parameter in model.parameters())


def test_an_empty_label_costs_the_blanks() -> None:
    model = build(config("lstm"))
    batch = batch_of([12, 12], [[], [1]])
    posteriors, _ = model.log_probabilities(batch)
    torch.testing.assert_close(model.utterance_loss(batch)[0], -posteriors[0, :, 0].sum())


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_five_utterances_can_be_learnt_by_heart(kind: str) -> None:
    learns_by_heart(build(config(kind, hidden=24, layers=1 if "lstm" in kind else 2)), steps=150, to=0.05)


def test_hypotheses_need_no_evaluation_mode_and_leave_the_mode() -> None:
    model = build(config("blstm", dropout=0.9))
    batch, tokenizer = batch_of(LENGTHS, LABELS), Tokenizer("abcdef")
    model.train()
    first, second = (model.hypotheses(batch, tokenizer, "beam", beam=4) for _ in range(2))
    assert first == second
    assert model.training
    model.eval()
    assert model.hypotheses(batch, tokenizer, "beam", beam=4) == first
    assert not model.training


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"decoder": "gredy"}, "did you mean 'greedy'"),
        ({"decoder": "vocabulary"}, "has no phrases"),
        ({"decoder": "vocabulary", "vocabulary": ["a", "xy"]}, "vocabulary of the decoder: characters outside"),
    ],
)
def test_decoders_refuse_what_they_cannot_do(arguments: dict[str, object], says: str) -> None:
    model = build(config("lstm"))
    with pytest.raises(InputError, match=says):
        model.hypotheses(batch_of([9], [[1]]), Tokenizer("abcdef"), **arguments)  # type: ignore[arg-type]


def test_unknown_parts_are_refused() -> None:
    with pytest.raises(InputError, match=r"'model.name' is 'ctcc' \(did you mean 'ctc'\?\)"):
        build_model(ModelConfig(name="ctcc"), MEL, TOKENS)
    with pytest.raises(InputError, match=r"'model.encoder' is 'bilstm'"):
        build_model(ModelConfig(encoder="bilstm"), MEL, TOKENS)
    with pytest.raises(InputError, match=r"'model.norm' is 'batch'"):
        build_model(ModelConfig(norm="batch"), MEL, TOKENS)
    with pytest.raises(ValueError, match="heads is 3; it must divide hidden"):
        build_model(config("conformer", conformer=ConformerConfig(heads=3)), MEL, TOKENS)


def test_the_head_has_a_row_a_token() -> None:
    tokenizer = build_tokenizer("latin")
    assert build(config("lstm"), tokens=tokenizer.size).head.weight.shape == (29, 16)
