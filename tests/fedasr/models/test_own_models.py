"""Models and encoders of a user's own, by reference."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fedasr.config.schema import ModelConfig
from fedasr.errors import InputError
from fedasr.models.base import SpeechModel
from fedasr.models.ctc import CTCModel
from fedasr.models.factory import build_model
from fedasr.seeds import torch_scope

from .families import MEL, batch_of

HERE = __name__
TOKENS = 5


class Tiny(nn.Module):
    """Every second frame, one linear layer."""

    def __init__(self, mel_bins: int, vocabulary_size: int, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.head = nn.Linear(mel_bins, vocabulary_size)

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return (self.scale * self.head(features[:, ::2])).log_softmax(2), (lengths + 1) // 2


class Normalised(Tiny):
    def __init__(self, mel_bins: int, vocabulary_size: int) -> None:
        super().__init__(mel_bins, vocabulary_size)
        self.norm = nn.BatchNorm1d(mel_bins)


class Tracking(Tiny):
    def __init__(self, mel_bins: int, vocabulary_size: int) -> None:
        super().__init__(mel_bins, vocabulary_size)
        self.norm = nn.InstanceNorm1d(mel_bins, affine=True, track_running_stats=True)


class Wide(nn.Module):
    """An encoder of twice the width."""

    def __init__(self, inputs: int, times: int = 2) -> None:
        super().__init__()
        self.width = times * inputs
        self.layer = nn.Linear(inputs, self.width)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


class Whole(CTCModel):
    pass


class Meeting(Wide):
    """An encoder whose frames meet those of others in the batch, without parameters of it that one could see."""

    def __init__(self, inputs: int) -> None:
        super().__init__(inputs)
        self.norm = nn.BatchNorm1d(self.width, affine=False)


def counting(mel_bins: int, vocabulary_size: int, config: ModelConfig) -> SpeechModel:
    """Return a model of a shipped family with BatchNorm in it."""
    result = build_model(ModelConfig(channels=[6], strides=[2], hidden=4), mel_bins, vocabulary_size)
    result.add_module("norm", nn.BatchNorm1d(6))
    return result


def test_a_plain_module_is_a_ctc_model() -> None:
    with torch_scope(0, "model"):
        model = build_model(ModelConfig(name=f"{HERE}:Tiny", options={"scale": 2.0}), MEL, TOKENS)
    assert isinstance(model, SpeechModel)
    batch = batch_of([7, 4], [[1, 2], [3]])
    log_probabilities, lengths = model.module(batch.features, batch.feature_lengths)  # type: ignore[union-attr, operator]
    assert model.output_frames(torch.tensor([7, 4, 7, 1])).tolist() == [4, 2, 4, 1]
    expected = nn.functional.ctc_loss(
        log_probabilities.transpose(0, 1), batch.targets, lengths, batch.target_lengths, reduction="none"
    )
    torch.testing.assert_close(model.utterance_loss(batch), expected)
    assert len(model.greedy(model.encode(batch))) == 2
    assert model.sequence_log_probability(batch, [[1, 2], [3]]).shape == (2, 2)


def test_an_encoder_of_ones_own_in_a_shipped_family() -> None:
    config = ModelConfig(encoder=f"{HERE}:Wide", encoder_options={"times": 3}, channels=[6], strides=[2])
    model = build_model(config, MEL, TOKENS)
    assert isinstance(model, CTCModel)
    assert model.head.in_features == 18
    assert torch.isfinite(model.utterance_loss(batch_of([9], [[1]]))).all()


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (ModelConfig(name=f"{HERE}:Normalised"), "BatchNorm1d; its statistics can be neither averaged nor protected"),
        (ModelConfig(name=f"{HERE}:Tracking"), "InstanceNorm1d; its statistics can be neither averaged nor protected"),
        (ModelConfig(name=f"{HERE}:counting"), "'norm' is BatchNorm1d; its statistics can be"),
        (ModelConfig(encoder=f"{HERE}:Meeting"), "'norm' is BatchNorm1d; its statistics can be"),
        (ModelConfig(name=f"{HERE}:TOKENS"), "cannot be called"),
        (ModelConfig(name=f"{HERE}:batch_of", options={"lengths": [3], "labels": [[1]]}), "makes a "),
        (ModelConfig(encoder=f"{HERE}:Tiny", encoder_options={"mel_bins": 1, "vocabulary_size": 1}), "no encoder"),
    ],
)
def test_what_is_no_model_is_refused(config: ModelConfig, line: str) -> None:
    with pytest.raises(InputError) as caught:
        build_model(config, MEL, TOKENS)
    assert line in str(caught.value)
