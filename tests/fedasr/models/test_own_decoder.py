"""A decoder of a user's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fedasr.config.schema import EvaluateConfig, ModelConfig
from fedasr.data.speech import collate
from fedasr.errors import InputError
from fedasr.models.decoding.own import make_decoder
from fedasr.models.factory import build_model
from fedasr.models.tokenizer import build_tokenizer

TOKENIZER = build_tokenizer("chars:ab ")


class Fixed:
    """Hears the same in every utterance, of all but the last ``less``."""

    def __init__(self, tokenizer: Any, text: str = "a b", less: int = 0) -> None:
        self.tokens, self.less = tokenizer.encode(text), less

    def decode(self, model: Any, speech: Any) -> list[list[int]]:
        assert not model.training
        assert not torch.is_grad_enabled()
        return [self.tokens] * (len(speech) - self.less)


def hypotheses(**options: Any) -> list[str]:
    config = EvaluateConfig(decoder=f"{__name__}:Fixed", decoder_options=options)
    model = build_model(ModelConfig(channels=[8, 8], hidden=8, encoder="lstm"), 40, TOKENIZER.size)
    batch = collate([torch.zeros(50, 40), torch.zeros(40, 40)], [np.zeros(0, np.int64)] * 2, 1.0, (0, 1))
    return model.hypotheses(batch, TOKENIZER, make_decoder(config, TOKENIZER))


def test_it_gets_what_it_asks_for() -> None:
    assert hypotheses() == ["a b", "a b"]
    assert hypotheses(text="b") == ["b", "b"]


def test_what_does_not_fit_is_a_line() -> None:
    with pytest.raises(InputError, match="Fixed gives 1 token lists for 2 utterances"):
        hypotheses(less=1)
    with pytest.raises(InputError, match=r"unknown option 'evaluate.decoder_options.txt' \(did you mean 'text'\?\)"):
        hypotheses(txt="a")


def test_a_shipped_one_is_its_name() -> None:
    assert make_decoder(EvaluateConfig(), TOKENIZER) == "greedy"
