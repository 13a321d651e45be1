"""What may come next under a prefix: exact against brute force, sums to one, chains to the transcript's probability."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.models.base import Encoded
from fedasr.models.decoding.ctc_prefixes import CTCPrefixes, recurrence
from fedasr.models.decoding.prefixes import (
    END,
    Prefixes,
    Trie,
    beam_search,
    greedy_search,
    next_token,
    score_candidates,
)
from fedasr.models.hybrid import HybridModel
from fedasr.models.tokenizer import Tokenizer
from tests.fedasr.models.families import FAMILIES, LABELS, LENGTHS, TOKENS, batch_of, build
from tests.tiers import examples

Label = tuple[int, ...]
small = st.tuples(st.integers(0, 10_000), st.integers(1, 5), st.integers(2, 4))


def lattice(seed: int, frames: int, tokens: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(frames, tokens, generator=generator, dtype=torch.float64)).log_softmax(1)


def every_label(rows: torch.Tensor) -> dict[Label, float]:
    """Return the probability of each label that some CTC alignment spells."""
    result: dict[Label, float] = defaultdict(float)
    for path in itertools.product(range(rows.shape[1]), repeat=len(rows)):
        label = tuple(token for token, _ in itertools.groupby(path) if token)
        result[label] += math.exp(sum(float(row[token]) for row, token in zip(rows, path, strict=True)))
    return result


def test_the_recurrence_by_hand() -> None:
    inputs, decay = torch.tensor([[1.0, 0.0, 2.0]]).double(), torch.tensor([[0.5, 0.5, 0.25]]).double()
    # 0, 0.5·(0 + 1), 0.5·(0.5 + 0), 0.25·(0.25 + 2)
    torch.testing.assert_close(recurrence(inputs.log(), decay.log()).exp()[0].tolist(), [0.0, 0.5, 0.25, 0.5625])


@settings(max_examples=examples(30), deadline=None)
@given(small, st.lists(st.integers(1, 3), max_size=3))
def test_ctc_posteriors_are_the_sum_over_all_alignments(shape: tuple[int, int, int], prefix: list[int]) -> None:
    prefix = [1 + (token - 1) % (shape[2] - 1) for token in prefix]
    rows = lattice(*shape)
    labels = every_label(rows)
    begins = {label: p for label, p in labels.items() if label[: len(prefix)] == tuple(prefix)}
    whole = sum(begins.values())
    prefixes = CTCPrefixes(rows[None], torch.tensor([len(rows)]))
    result = next_token(prefixes, [prefix])[0].exp()
    if not whole:
        assert result.tolist() == [1.0] + [0.0] * (shape[2] - 1)
        return
    wanted = torch.zeros(shape[2], dtype=torch.float64)
    for label, probability in begins.items():
        wanted[label[len(prefix)] if len(label) > len(prefix) else END] += probability / whole
    torch.testing.assert_close(result, wanted, rtol=1e-9, atol=1e-12)


def test_ctc_mass_is_the_probability_of_the_prefix() -> None:
    rows = lattice(5, 5, 3)
    labels = every_label(rows)
    prefixes = CTCPrefixes(rows[None], torch.tensor([5]))
    assert float(prefixes.log_mass().logsumexp(1)) == pytest.approx(0.0, abs=1e-12)
    for token in (1, 1, 2):
        mass = prefixes.log_mass()[0, token]
        prefixes = prefixes.extended(torch.tensor([0]), torch.tensor([token]))
        assert float(prefixes.log_mass().logsumexp(1)) == pytest.approx(float(mass), abs=1e-12)
    begun = sum(p for label, p in labels.items() if label[:3] == (1, 1, 2))
    assert float(mass.exp()) == pytest.approx(begun, rel=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_posteriors_sum_to_one_and_chain_to_the_sequence(family: str) -> None:
    model = build(family, sharpness=2.0)
    batch = batch_of(LENGTHS[:4], LABELS[:4], padding=math.nan)
    candidates = [[1, 2], [1, 2, 2], [3], [], [1, 2, 4, 1]]
    whole = model.sequence_log_probability(batch, candidates)
    assert whole.shape == (4, 5)
    assert whole.dtype == torch.float64
    for column, candidate in enumerate(candidates):
        chained = torch.zeros(4, dtype=torch.float64)
        for place in range(len(candidate) + 1):
            posteriors = model.next_token_log_posteriors(batch, [candidate[:place]] * 4)
            assert posteriors.shape == (4, TOKENS)
            torch.testing.assert_close(posteriors.exp().sum(1), torch.ones(4).double(), rtol=0, atol=1e-9)
            chained += posteriors[:, candidate[place] if place < len(candidate) else END]
        # The third utterance has three frames: no room for four tokens under CTC.
        torch.testing.assert_close(whole[:, column], chained, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["las", "rnnt", "ctc"])
def test_the_sequence_probability_is_the_loss(family: str) -> None:
    model = build(family).eval()
    batch = batch_of(LENGTHS[:4], LABELS[:4])
    result = model.sequence_log_probability(batch, LABELS[:4]).diagonal()
    torch.testing.assert_close(-result.float(), model.utterance_loss(batch).detach(), rtol=1e-5, atol=1e-5)


def test_the_hybrid_mixes_both_readers_and_normalises() -> None:
    model, batch = build("hybrid", sharpness=2.0), batch_of([40, 30], [[1], [2]])
    assert isinstance(model, HybridModel)
    weights = {}
    for weight in (0.0, 0.4, 1.0):
        model.ctc_weight = weight
        weights[weight] = model.next_token_log_posteriors(batch, [[1, 2], [3]])
    mixed = (0.4 * weights[1.0] + 0.6 * weights[0.0]).log_softmax(1)
    torch.testing.assert_close(weights[0.4], mixed)
    torch.testing.assert_close(weights[1.0].exp().sum(1), torch.ones(2).double())


@pytest.mark.parametrize("family", FAMILIES)
def test_prefixes_of_several_lengths_and_speech_encoded_once(family: str) -> None:
    model, batch = build(family, sharpness=2.0), batch_of(LENGTHS[:4], LABELS[:4])
    prefixes = [[1, 2], [], [3], [4, 4, 1]]
    together = model.next_token_log_posteriors(batch, prefixes)
    with model.as_it_decodes():
        encoded = model.encode(batch)
    assert isinstance(encoded, Encoded)
    torch.testing.assert_close(model.next_token_log_posteriors(encoded, prefixes), together)
    for row, prefix in enumerate(prefixes):
        single = model.next_token_log_posteriors(encoded.utterance(row), [prefix])
        torch.testing.assert_close(single[0], together[row], rtol=1e-5, atol=1e-5)


@pytest.mark.thorough
@pytest.mark.parametrize("family", FAMILIES)
def test_a_beam_is_never_worse_than_greedy_and_a_wide_one_finds_the_best(family: str) -> None:
    vocabulary = [list(label) for n in range(4) for label in itertools.product((1, 2), repeat=n)]
    for seed in range(3):
        model = build(family, seed=seed, tokens=3, sharpness=3.0)
        with model.as_it_decodes():
            encoded = model.encode(batch_of([12, 7, 10], [[1]] * 3))
            greedy, beam = model.greedy(encoded), model.beam(encoded, 2)
            wide = model.beam(encoded, 64)
        for row in range(3):
            one = encoded.utterance(row)
            candidates = [greedy[row], beam[row], wide[row], *vocabulary]
            with model.as_it_decodes():
                scores = model.phrase_scores(one, candidates)[0].double()
            assert float(scores[1:3].min()) >= float(scores[0]) - 1e-5
            compared = scores / torch.tensor([len(candidate) + 1 for candidate in candidates])
            compared[scores < scores[0]] = -math.inf
            assert float(compared[1]) >= float(compared[0]) - 1e-5
            assert float(compared[2]) >= float(compared.max()) - 1e-5


class Table(Prefixes):
    """Prefixes of one utterance whose next tokens are written down, ``{prefix: {token: probability}}``."""

    def __init__(self, table: dict[Label, dict[int, float]], texts: list[Label], tokens: int = 4) -> None:
        self.table, self.texts, self.tokens = table, texts, tokens

    def log_posteriors(self) -> torch.Tensor:
        rows = [[self.table[text].get(token, 0.0) for token in range(self.tokens)] for text in self.texts]
        return torch.tensor(rows, dtype=torch.float64).log()

    def extended(self, rows: torch.Tensor, tokens: torch.Tensor) -> Table:
        pairs = zip(rows.tolist(), tokens.tolist(), strict=True)
        return Table(self.table, [(*self.texts[row], token) for row, token in pairs], self.tokens)

    def only(self, rows: torch.Tensor) -> Table:
        return Table(self.table, [self.texts[row] for row in rows.tolist()], self.tokens)

    def whole(self) -> torch.Tensor:
        return torch.tensor([math.log(self.probability(text)) for text in self.texts], dtype=torch.float64)

    def probability(self, text: Label) -> float:
        steps = [self.table[text[:place]].get(token, 0.0) for place, token in enumerate((*text, END))]
        return math.prod(steps)


LONG = (1,) * 9
A_SENTENCE = {LONG[:n]: {1: 0.9, END: 0.1} for n in range(1, 9)} | {LONG: {END: 1.0}}
UNLIKELY = {(1, 3): {END: 1.0}, (1, 1): {END: 1.0}}


@pytest.mark.parametrize(
    ("table", "best"),
    [
        # Short: 0.45. Long, which greedy decoding finds: 0.55 · 0.9⁸ = 0.24, yet 0.87 a token against 0.67.
        (A_SENTENCE | {(): {1: 0.55, 2: 0.45}, (2,): {END: 1.0}}, [*LONG]),
        # Long: 0.3, and 0.89 a token; but less likely than what greedy decoding finds, 0.7.
        (
            {LONG[:n]: {1: 1.0} for n in range(1, 9)} | {(): {2: 0.7, 1: 0.3}, LONG: {END: 1.0}, (2,): {END: 1.0}},
            [2],
        ),
        # Greedy decoding ends at [1], 0.3; [2] has 0.4.
        ({(): {1: 0.6, 2: 0.4}, (1,): {END: 0.5, 3: 0.4, 1: 0.1}, (2,): {END: 1.0}} | UNLIKELY, [2]),
    ],
    ids=["a likelier short one", "a longer one less likely", "a better one as long"],
)
def test_what_a_beam_compares(table: dict[Label, dict[int, float]], best: list[int]) -> None:
    start = Table(table, [()])
    greedy = greedy_search(start, [12])[0]
    assert beam_search(start, 12, 8, (greedy, math.log(start.probability(tuple(greedy))))) == best


def test_a_trie_shares_beginnings() -> None:
    trie = Trie([[1, 2], [1, 3], [], [1, 2, 2], [1, 2]])
    assert [tokens.tolist() for _, tokens in trie.levels] == [[1], [2, 3], [2]]
    assert [parents.tolist() for parents, _ in trie.levels] == [[0], [0, 0], [0]]
    assert trie.ends == [(2, 0), (2, 1), (0, 0), (3, 0), (2, 0)]
    assert Trie([[]]).levels == []


@pytest.mark.thorough
@settings(max_examples=examples(25), deadline=None)
@given(st.integers(0, 10_000), st.lists(st.lists(st.integers(1, 3), max_size=4), min_size=1, max_size=6))
def test_candidates_in_a_trie_have_their_own_probability(seed: int, candidates: list[list[int]]) -> None:
    rows = torch.stack([lattice(seed, 6, 4), lattice(seed + 1, 6, 4)])
    lengths = torch.tensor([6, 4])
    result = score_candidates(CTCPrefixes(rows, lengths), 2, candidates)
    for row, length in enumerate([6, 4]):
        labels = every_label(rows[row, :length])
        for column, candidate in enumerate(candidates):
            probability = labels.get(tuple(candidate), 0.0)
            assert float(result[row, column].exp()) == pytest.approx(probability, rel=1e-9, abs=1e-15)


@settings(max_examples=examples(25), deadline=None)
@given(st.integers(0, 10_000))
def test_a_wide_beam_over_ctc_prefixes_is_exact(seed: int) -> None:
    rows = lattice(seed, 5, 3)
    labels = every_label(rows)
    start = CTCPrefixes(rows[None], torch.tensor([5]))
    a_token = {label: math.log(probability) / (len(label) + 1) for label, probability in labels.items()}
    assert a_token[tuple(beam_search(start, 8, 500, ([], -math.inf)))] == pytest.approx(max(a_token.values()), rel=1e-9)
    likeliest = max(labels, key=lambda label: labels[label])
    assert beam_search(start, 8, 500, (list(likeliest), math.log(labels[likeliest]) + 1e-9)) == list(likeliest)
    first = greedy_search(start, [8])[0]
    assert labels[tuple(first)] <= max(labels.values()) * (1 + 1e-9)
    assert len(greedy_search(start, [1])[0]) <= 1


def test_wrong_prefixes_and_candidates_are_refused() -> None:
    model, batch = build("las"), batch_of([20, 20], [[1], [2]])
    with pytest.raises(ValueError, match="1 prefixes for 2 utterances"):
        model.next_token_log_posteriors(batch, [[1]])
    with pytest.raises(ValueError, match="holds token 0, the blank"):
        model.next_token_log_posteriors(batch, [[1], [2, 0]])
    for candidates in ([], [[1], [0]]):
        with pytest.raises(ValueError, match="at least one candidate"):
            model.sequence_log_probability(batch, candidates)


def test_a_sentence_may_be_empty_or_long() -> None:
    model = build("las", sharpness=3.0)
    texts = model.hypotheses(batch_of([1, 30], [[1], [1]]), Tokenizer("abcdef"))
    assert len(texts) == 2
    assert all(len(text) <= 8 + 2 * 30 for text in texts)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_transcript_an_utterance_has_the_probability_that_it_has_alone(family: str) -> None:
    model = build(family, sharpness=2.0)
    transcripts = [[1, 2, 2], [], [3], [1, 2, 3, 4, 5], [6, 6], [2]]
    batch = batch_of([40, 12, 9, 33, 21, 28], [[1]] * 6)
    with model.as_it_decodes():
        encoded = model.encode(batch)
    together = model.transcript_log_probability(encoded, transcripts)
    assert together.dtype == torch.float64
    for row, transcript in enumerate(transcripts):
        alone = model.sequence_log_probability(encoded.utterance(row), [transcript])[0, 0]
        torch.testing.assert_close(together[row], alone, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="2 transcripts for 6 utterances"):
        model.transcript_log_probability(encoded, [[1], [2]])
    with pytest.raises(ValueError, match="the blank"):
        model.transcript_log_probability(encoded, [[1], [0], [], [], [], []])
