"""The likeliest candidate, found without scoring those that cannot win."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.models.decoding import best_candidates
from fedasr.models.decoding.best_candidates import among_best
from tests.fedasr.models.families import FAMILIES, TOKENS, batch_of, build
from tests.tiers import examples

CANDIDATES = [[1, 2], [1, 2, 3], [3], [1, 1], [4, 5, 6, 1], [], [3, 3, 3, 3, 3], [1, 2], [2, 5], [6, 6]]


@pytest.mark.parametrize("sharp", [1.0, 8.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_the_largest_of_all_scores(family: str, sharp: float) -> None:
    model = build(family)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(sharp if parameter.dim() > 1 else 1.0)
    batch = batch_of([40, 12, 33, 9, 21, 28], [[1]] * 6)
    with model.as_it_decodes():
        encoded = model.encode(batch)
        scores = model.phrase_scores(encoded, CANDIDATES)
        result = model.likeliest_phrases(encoded, CANDIDATES)
    for row, index in enumerate(result):
        assert float(scores[row, index]) == pytest.approx(float(scores[row].max()), abs=1e-4)
        same = [place for place, phrase in enumerate(CANDIDATES) if phrase == CANDIDATES[index]]
        assert index == same[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_with_a_bonus_it_is_the_largest_sum(family: str) -> None:
    model = build(family)
    batch = batch_of([40, 12, 33, 9, 21, 28], [[1]] * 6)
    with model.as_it_decodes():
        encoded = model.encode(batch)
        scores = model.phrase_scores(encoded, CANDIDATES)
        for seed in range(4):
            bonus = torch.randn(len(CANDIDATES), generator=torch.Generator().manual_seed(seed)).double() * 5
            bonus[7] = bonus[0]  # the same phrase twice
            result = model.likeliest_phrases(encoded, CANDIDATES, bonus)
            sums = scores + bonus
            for row, index in enumerate(result):
                assert float(sums[row, index]) == pytest.approx(float(sums[row].max()), abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_internal_language_model_is_a_distribution(family: str) -> None:
    """Over all beginnings of one token and, where a family ends sentences, the end; it needs no speech."""
    model = build(family, sharpness=4.0)
    tokens = range(1, TOKENS)
    with model.as_it_decodes():
        result = model.internal_lm([[], *([token] for token in tokens)])
        two = model.internal_lm([[3, token] for token in tokens])
    if family == "ctc":
        assert not result.any()
        return
    if family.startswith("rnnt"):
        assert float(result[0]) == 0.0
        assert float(result[1:].exp().sum()) == pytest.approx(1, abs=1e-6)
        assert float((two - result[3]).exp().sum()) == pytest.approx(1, abs=1e-6)
        return
    # With the end counted, a phrase is rarer than its beginning: hybrid scores are a share of the speller's.
    share = 1 - getattr(model, "ctc_weight", 0.0)
    assert float((result / share).exp().sum()) < 1
    assert float((two / share).exp().sum()) < 1
    assert len(set(result.tolist())) > 1


@pytest.mark.parametrize("family", FAMILIES)
def test_little_memory_changes_nothing(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(family)
    batch = batch_of([40, 12, 33, 9, 21, 28], [[1]] * 6)
    with model.as_it_decodes():
        encoded = model.encode(batch)
        together = model.likeliest_phrases(encoded, CANDIDATES)
        for largest in (1, 20_000):
            monkeypatch.setattr(best_candidates, "LARGEST_STEP", largest)
            assert model.likeliest_phrases(encoded, CANDIDATES) == together


def test_a_frontier_is_cut_between_utterances() -> None:
    class Nothing:
        def only(self, rows: torch.Tensor) -> list[int]:
            return rows.tolist()

    for rows in ([0, 1], [0, 0, 0, 1], [0, 1, 1, 1], [2, 2, 3, 3, 3, 5]):
        places = list(range(len(rows)))
        frontier = best_candidates.Frontier(2, Nothing(), rows, places, torch.arange(len(rows)))  # type: ignore[arg-type]
        first, second = frontier.halves()
        assert first.rows + second.rows == rows
        assert first.nodes + second.nodes == places
        assert set(first.rows).isdisjoint(second.rows)
        assert first.prefixes == first.nodes == first.totals.tolist()


def test_speech_that_no_phrase_fits_has_none() -> None:
    model = build("ctc")
    long = [[1, 2] * 40]
    with model.as_it_decodes():
        assert model.likeliest_phrases(model.encode(batch_of([9, 400], [[1]] * 2)), long) == [-1, 0]


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=30), st.integers(1, 4))
def test_the_best_of_each_row(pairs: list[tuple[int, int]], count: int) -> None:
    pairs = sorted(pairs, key=lambda pair: pair[0])
    rows = torch.tensor([row for row, _ in pairs])
    scores = torch.tensor([float(score) for _, score in pairs])
    kept = among_best(scores, rows, count)
    for row in set(rows.tolist()):
        mine = rows == row
        assert int(kept[mine].sum()) == min(count, int(mine.sum()))
        if bool((mine & ~kept).any()):
            assert float(scores[mine & kept].min()) >= float(scores[mine & ~kept].max())
