"""A closed vocabulary on one tree gives each phrase the score that it has alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.models.decoding import transducer_tree
from fedasr.models.decoding.closed_vocabulary import likeliest
from fedasr.models.decoding.lexicon import Lexicon, lexicon_of
from fedasr.models.decoding.prefixes import score_candidates
from fedasr.models.decoding.transducer_tree import contexts
from tests.fedasr.models.families import FAMILIES, batch_of, build
from tests.tiers import examples

PHRASES = [[1, 2], [1, 2, 3], [3], [1, 1], [4, 5, 6, 1], [], [3, 3, 3, 3, 3], [1, 2], [2, 5], [6, 6], [4, 5, 6, 1, 1]]
SPEECH = [40, 12, 33, 9, 21, 28]


@pytest.mark.thorough
@pytest.mark.parametrize("phrases", [PHRASES, [[]], [[2]], [[], [5, 5]]])
@pytest.mark.parametrize("sharpness", [1.0, 4.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_those_of_one_phrase_after_the_other(
    family: str, sharpness: float, phrases: list[list[int]]
) -> None:
    model = build(family, sharpness=sharpness)
    with model.as_it_decodes():
        encoded = model.encode(batch_of(SPEECH, [[1]] * len(SPEECH), extra=5))
        together = model.phrase_scores(encoded, phrases)
        apart = [score_candidates(model.prefixes(encoded), len(encoded), [phrase]) for phrase in phrases]
    assert together.dtype == torch.float64
    torch.testing.assert_close(together, torch.cat(apart, dim=1), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_large_tree_is_searched_and_finds_the_same(family: str) -> None:
    model = build(family, sharpness=3.0)
    bonus = torch.randn(len(PHRASES), generator=torch.Generator().manual_seed(1)).double()
    with model.as_it_decodes():
        encoded = model.encode(batch_of(SPEECH, [[1]] * len(SPEECH)))
        scored = [model.likeliest_phrases(encoded, PHRASES, given) for given in (None, bonus)]
        model.most_nodes = 0
        searched = [model.likeliest_phrases(encoded, PHRASES, given) for given in (None, bonus)]
        best = model.phrase_scores(encoded, PHRASES)
    assert searched == scored == [likeliest(best), likeliest(best, bonus)]


@pytest.mark.parametrize("family", ["las", "hybrid", "rnnt-context"])
def test_little_memory_changes_no_score(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(family)
    with model.as_it_decodes():
        encoded = model.encode(batch_of(SPEECH, [[1]] * len(SPEECH)))
        together = model.phrase_scores(encoded, PHRASES)
        for module in ("fedasr.models.speller", "fedasr.models.decoding.transducer_tree"):
            monkeypatch.setattr(f"{module}.LARGEST_STEP", 1)
        torch.testing.assert_close(model.phrase_scores(encoded, PHRASES), together, rtol=1e-5, atol=1e-5)


def test_a_transducer_that_remembers_all_is_not_put_on_a_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its joint network would be asked once for each beginning, which the search mostly need not."""
    monkeypatch.setattr(transducer_tree, "part", None)
    model = build("rnnt")
    with model.as_it_decodes():
        model.likeliest_phrases(model.encode(batch_of([9], [[1]])), PHRASES)


def test_of_equals_the_first_and_of_nothing_finite_none() -> None:
    rows = torch.tensor([[-3.0, -1.0, -1.0], [-torch.inf, float("nan"), -torch.inf], [-torch.inf, -9.0, -torch.inf]])
    assert likeliest(rows) == [1, -1, 1]
    assert likeliest(rows, torch.tensor([5.0, 0.0, 1.0])) == [0, -1, 1]


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.lists(st.integers(1, 3), max_size=5), min_size=1, max_size=8))
def test_a_lexicon_spells_its_phrases(phrases: list[list[int]]) -> None:
    tree = Lexicon(phrases)
    beginnings = {tuple(phrase[:end]) for phrase in phrases for end in range(len(phrase) + 1)} | {()}
    assert len(tree) == len(beginnings)
    spelt = [[]] * len(tree)
    for node in range(1, len(tree)):
        parent = int(tree.parents[node - 1])
        assert parent < node
        spelt[node] = [*spelt[parent], int(tree.tokens[node - 1])]
    assert {tuple(text) for text in spelt} == beginnings
    for index, phrase in enumerate(phrases):
        assert spelt[int(tree.ends[index])] == phrase
        assert [spelt[node + 1] for node in tree.paths[index, : len(phrase)].tolist()] == [
            phrase[: end + 1] for end in range(len(phrase))
        ]
        assert (tree.paths[index, len(phrase) :] == len(tree) - 1).all()
    for node, text in enumerate(spelt):
        assert int(tree.depths[node]) == len(text)
        assert phrases[int(tree.spelt_by[node])][: len(text)] == text
    levels = [level.tolist() for level in tree.levels()]
    assert sorted(node for level in levels for node in level) == list(range(1, len(tree)))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_context_is_the_last_tokens(count: int) -> None:
    tree = lexicon_of(PHRASES)
    first, of_node = contexts(tree, count)
    spelt = [[0] * count + PHRASES[phrase][:depth] for phrase, depth in zip(tree.spelt_by, tree.depths, strict=True)]
    last = [tuple(text[-count:]) for text in spelt]
    assert len(first) == len(set(last))
    for node, context in enumerate(of_node.tolist()):
        assert last[int(first[context])] == last[node]
        assert int(first[context]) <= node
