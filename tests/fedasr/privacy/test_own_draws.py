"""One utterance less moves nobody else: what is drawn in a private step belongs to an utterance alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn

from fedasr.config.schema import ClientConfig
from fedasr.data.batches import Batch
from fedasr.errors import InputError
from fedasr.models.dropout import attention, dropout, per_utterance
from fedasr.models.weights import model_arrays
from fedasr.privacy import dpsgd
from fedasr.privacy.gradients.bookkeeping import BookKeeper
from fedasr.privacy.gradients.clipping import Flat
from fedasr.privacy.randomness import Randomness
from fedasr.training.local import Resident
from tests.fedasr.models.families import FAMILIES, batch_of, build

LENGTHS = [37, 20, 50, 24, 31]
LABELS = [[1, 2, 2], [6], [3, 1, 4, 1, 5], [2, 3], [4, 1]]
BOUND = 0.05
SOURCE = Randomness.public(5)


def some(batch: Batch, rows: Sequence[int]) -> Batch:
    """Return utterances of a batch, padded to their own longest, numbered from 0."""
    index = torch.tensor(rows)
    lengths, tokens = batch.feature_lengths[index], batch.target_lengths[index]
    features, targets = batch.features[index, : int(lengths.max())], batch.targets[index, : int(tokens.max())]
    return Batch(features, lengths, targets, tokens, 1.0, tuple(range(len(rows))))


def clipped_sum(resident: Resident, keeper: BookKeeper, batch: Batch, micro: bool) -> torch.Tensor:
    training = dpsgd.PrivateTraining(Flat(BOUND), (0.0,), 1.0, 5)
    config = ClientConfig(optimizer="sgd", clip_norm=None)
    where = dpsgd.Where(SOURCE, 1, 2)
    state = dpsgd.init(keeper, resident, model_arrays(resident.model), config, 0.0, training, where)
    total = torch.zeros_like(resident.gradient)
    (dpsgd.add_clipped_mean if micro else dpsgd.add_clipped_samples)(state, batch, total)
    return total.double()


@pytest.mark.parametrize("family", [*FAMILIES, "ctc-conformer", "ctc-dsconv", "ctc-lstm"])
def test_one_utterance_less_moves_the_sum_by_at_most_the_bound(family: str) -> None:
    """With dropout, wherever it stood and however long it was; the others' padding, place and number change."""
    name, _, encoder = family.partition("-")
    changes = {"encoder": encoder} if family not in FAMILIES else {}
    model = build(name if changes else family, dropout=0.1, **changes)
    resident = Resident(model)
    keeper, batch = BookKeeper(model), batch_of(LENGTHS, LABELS)
    whole = clipped_sum(resident, keeper, batch, micro=False)
    for left_out in (0, 2, 4):
        rest = [row for row in range(5) if row != left_out]
        moved = float((whole - clipped_sum(resident, keeper, some(batch, rest), micro=False)).norm())
        assert 0.5 * BOUND < moved <= BOUND * (1 + 1e-5), left_out


def test_a_micro_batch_of_one_is_what_the_utterance_gives_anywhere() -> None:
    model = build("las", dropout=0.3)
    resident, keeper, batch = Resident(model), BookKeeper(model), batch_of(LENGTHS, LABELS)
    alone = [clipped_sum(resident, keeper, some(batch, [row]), micro=True) for row in range(5)]
    together = clipped_sum(resident, keeper, batch, micro=False)
    assert float((sum(alone) - together).norm()) < 1e-4 * BOUND  # type: ignore[arg-type, union-attr]


def test_masks_differ_between_steps_utterances_and_layers_and_keep_the_mean() -> None:
    def fill(out: memoryview, row: int, number: int) -> None:
        SOURCE.fill(out, "test", row, number)

    ones = torch.ones(3, 200, 50)
    with per_utterance(fill):
        first, second = dropout(ones, 0.25, True), dropout(ones, 0.25, True)
    assert sorted(set(first.flatten().tolist())) == [0.0, pytest.approx(4 / 3)]
    assert float((first == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    for one, other in [(first, second), (first[0], first[1])]:
        assert float(((one == 0) == (other == 0)).float().mean()) == pytest.approx(0.75**2 + 0.25**2, abs=0.02)
    with per_utterance(fill):
        shorter = dropout(ones[:2, :150], 0.25, True)
    assert torch.equal(shorter, first[:2, :150])


def test_attention_with_masks_of_its_own_is_attention() -> None:
    """A probability too small to drop anything gives what torch's gives, on speech; without the block it is torch's."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 7, 6, generator=generator)
    attend = (torch.arange(7) < torch.tensor([[7], [4]]))[:, None, None, :]
    wanted = attention(query, key, value, attend, 0.0, True)
    with per_utterance(lambda out, row, number: SOURCE.fill(out, "test", row, number)):
        result = attention(query, key, value, attend, 1e-7, True)
    torch.testing.assert_close(result[0], wanted[0])
    torch.testing.assert_close(result[1, :, :4], wanted[1, :, :4])


class Noisy(nn.Module):
    """A layer that draws from the generator of everybody."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(x, 0.5)


@pytest.mark.parametrize("micro", [False, True])
def test_a_model_that_draws_for_the_whole_batch_is_refused(micro: bool) -> None:
    model = build("ctc")
    model.encoder.norms[0] = Noisy()  # type: ignore[union-attr, operator, index]
    resident = Resident(model)
    with pytest.raises(InputError, match="one utterance moves the others"):
        clipped_sum(resident, BookKeeper(model), batch_of(LENGTHS, LABELS), micro)


@pytest.mark.parametrize("micro_batches", [None, 3])
def test_an_utterance_less_at_the_end_changes_no_draw_of_the_others(micro_batches: int | None) -> None:
    drawn = []
    for stored in (20, 19):
        training = dpsgd.PrivateTraining(Flat(1.0), (1.0,), 0.5, stored, micro_batches=micro_batches)
        parts = dpsgd.draw(training, dpsgd.Where(SOURCE, 1, 2), 4)
        drawn.append([part[part < 19].tolist() for part in parts])
    assert drawn[0] == drawn[1]
    assert len(np.concatenate(drawn[0])) > 0
