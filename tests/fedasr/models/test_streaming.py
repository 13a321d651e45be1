"""Streaming gives, in the end, what offline greedy decoding gives, however the frames are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.errors import InputError
from fedasr.models.decoding.streaming import StreamingRecognizer, StreamingSubsampling
from fedasr.models.subsampling import Subsampling
from fedasr.models.tokenizer import Tokenizer
from fedasr.seeds import torch_scope
from tests.fedasr.models.families import MEL, batch_of, build
from tests.tiers import examples

TOKENIZER = Tokenizer("abcdef")


@settings(max_examples=examples(40), deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=8),
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.sampled_from(["layer", "group", "none"]),
)
def test_subsampling_in_pieces_is_subsampling(pieces: list[int], strides: list[int], norm: str) -> None:
    frames = max(1, sum(pieces))
    with torch_scope(0, "test"):
        subsampling = Subsampling(5, [8] * len(strides), strides, norm)
        x = torch.randn(1, frames, 5)
    with torch.no_grad():
        whole, lengths = subsampling(x, torch.tensor([frames]))
        streaming = StreamingSubsampling(subsampling)
        parts = [streaming.feed(part) for part in x.split([*pieces[:-1], frames - sum(pieces[:-1])], dim=1)]
        parts.append(streaming.finish())
    assert int(lengths[0]) == sum(part.shape[1] for part in parts)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["ctc", "rnnt"])
@pytest.mark.parametrize("piece", [1, 3, 16, 1000])
@pytest.mark.parametrize("strides", [[2, 2], [1, 1], [3, 2]], ids=str)
def test_streaming_equals_offline_greedy(family: str, piece: int, strides: list[int]) -> None:
    said = 0
    for seed in range(3):
        model = build(family, seed=seed, sharpness=3.0, encoder="lstm", layers=2, strides=strides, dropout=0.3)
        for frames in (1, 2, 30, 41):
            batch = batch_of([frames], [[1]])
            recognizer = StreamingRecognizer(model, TOKENIZER)
            texts = [recognizer.feed(part) for part in batch.features[0].split(piece)]
            assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
            assert recognizer.finish() == recognizer.finish() == model.hypotheses(batch, TOKENIZER)[0]
            said += len(recognizer.text)
        assert model.training
    assert said > 10


def test_a_finished_utterance_takes_no_more() -> None:
    recognizer = StreamingRecognizer(build("rnnt"), TOKENIZER)
    assert isinstance(recognizer.feed(torch.zeros(0, MEL)), str)
    recognizer.finish()
    with pytest.raises(ValueError, match="finished"):
        recognizer.feed(torch.zeros(3, MEL))


@pytest.mark.parametrize("family", ["ctc", "las", "hybrid", "rnnt-conformer", "rnnt-dsconv"])
def test_models_that_need_the_whole_utterance_are_refused(family: str) -> None:
    with pytest.raises(InputError, match="this model needs the whole utterance") as caught:
        StreamingRecognizer(build(family), TOKENIZER)
    assert "\n" not in str(caught.value)
