"""What models of every family hear, how sure they are, and that they can learn it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedasr.models.confidence import of_transcripts
from fedasr.models.tokenizer import Tokenizer
from fedasr.training.local import normalised_loss
from fedasr.training.self_labels import Hypotheses, hear
from tests.fedasr.models.families import FAMILIES, TOKENS, batch_of, build

CHARACTERS = Tokenizer("abcdef"[: TOKENS - 1])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_hears_without_reading_targets(family: str) -> None:
    model = build(family, sharpness=3.0).train()
    batch = batch_of([60, 40, 52], [[1, 2], [3], [4, 4]])
    said = hear(model, batch, CHARACTERS)
    assert model.training
    with model.as_it_decodes():
        encoded = model.encode(batch)
        tokens = model.greedy(encoded)
        sure = of_transcripts(model, encoded, tokens)
    assert said.rows == batch.indices
    assert [CHARACTERS.encode(text) for text in said.texts] == tokens
    np.testing.assert_allclose(said.confidence, sure)
    assert ((said.confidence > 0) & (said.confidence <= 1)).all()
    bare = batch_of([60, 40, 52], [[], [], []])
    assert hear(model, bare, CHARACTERS).texts == said.texts
    if family in ("ctc", "hybrid", "hybrid-conformer"):
        assert 0 <= said.blanks <= said.frames > 0
    else:
        assert said.frames == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_an_empty_label_can_be_learnt_where_no_guard_stops_it(family: str) -> None:
    model = build(family)
    losses = normalised_loss(model, batch_of([60, 40], [[], [1, 2]]))
    losses.mean().backward()
    assert torch.isfinite(losses).all()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


def test_nothing_is_heard_in_no_speech() -> None:
    nothing = Hypotheses.joined([])
    assert nothing.rows == nothing.texts == ()
    assert len(nothing.confidence) == len(nothing.fits) == 0
