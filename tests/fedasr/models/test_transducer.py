"""The transducer against brute force: every alignment of tiny lattices, summed."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from fedasr.data.batches import Batch
from fedasr.models.decoding.transducer import MOST_TOKENS_A_FRAME, GreedySearch, TransducerPrefixes
from fedasr.models.prediction import ContextPrediction, Hidden
from fedasr.models.rnnt import TransducerModel
from fedasr.seeds import torch_scope
from tests.fedasr.models.families import TOKENS, batch_of, build


def alignments(frames: int, tokens: int) -> list[list[tuple[int, int, bool]]]:
    """Return every path through the lattice: steps (frame, tokens said, whether it is a blank)."""
    paths = []
    for places in itertools.combinations_with_replacement(range(frames), tokens):
        path, said = [], 0
        for frame in range(frames):
            for _ in range(places.count(frame)):
                path.append((frame, said, False))
                said += 1
            path.append((frame, said, True))
        paths.append(path)
    return paths


def brute_force(logits: torch.Tensor, label: list[int]) -> torch.Tensor:
    """Return a label's log-probability, summed over all alignments; ``logits (frames, tokens + 1, vocabulary)``."""
    local = logits.log_softmax(2)
    totals = [
        torch.stack([local[t, u, 0 if blank else label[u]] for t, u, blank in path]).sum()
        for path in alignments(logits.shape[0], len(label))
    ]
    return torch.stack(totals).logsumexp(0)


def transducer(seed: int = 0, sharpness: float = 2.0, **changes: object) -> TransducerModel:
    model = build("rnnt", seed=seed, sharpness=sharpness, **changes)
    assert isinstance(model, TransducerModel)
    return model


def test_alignments_are_as_many_as_they_should() -> None:
    for frames, tokens in ((1, 2), (3, 2), (4, 3)):
        assert len(alignments(frames, tokens)) == math.comb(frames + tokens - 1, tokens)


SHAPES = [(4, [1]), (4, [1, 2]), (12, [3, 3]), (16, [2, 1, 2]), (13, []), (7, [1, 4, 1, 4])]


@pytest.mark.parametrize(("frames", "label"), SHAPES, ids=[f"{f} frames {len(y)} tokens" for f, y in SHAPES])
def test_loss_and_gradients_are_those_of_the_sum_over_all_alignments(frames: int, label: list[int]) -> None:
    model = transducer()
    batch = batch_of([frames], [label])
    parameters = list(model.parameters())
    loss = model.utterance_loss(batch)
    logits, lengths = model.lattice(batch)
    assert logits.shape == (1, math.ceil(frames / 4), len(label) + 1, TOKENS)
    wanted = -brute_force(logits[0].double(), label)
    assert int(lengths[0]) == math.ceil(frames / 4)
    torch.testing.assert_close(loss[0].double(), wanted, rtol=1e-5, atol=1e-6)
    result = torch.autograd.grad(loss[0], parameters, allow_unused=True)
    for gradient, exact in zip(result, torch.autograd.grad(wanted, parameters, allow_unused=True), strict=True):
        torch.testing.assert_close(gradient, exact, rtol=1e-4, atol=1e-5)


def test_gradients_of_a_padded_batch_with_weights_are_those_of_each_lattice() -> None:
    """Per utterance, whatever the others are: each loss is multiplied by its own factor."""
    labels = [[1, 2], [3], [2, 2, 5], []]
    model, batch = transducer(), batch_of([13, 6, 9, 4], labels)
    logits = model.lattice(batch)[0].detach().requires_grad_()
    model.lattice = lambda _: (logits, model.encode(batch).lengths)  # type: ignore[method-assign]
    factors = torch.tensor([0.5, -2.0, 0.0, 3.0])
    (result,) = torch.autograd.grad((model.utterance_loss(batch) * factors).sum(), logits)
    lengths = model.encode(batch).lengths.tolist()
    wanted = sum(
        -factor * brute_force(logits[row, :length, : len(label) + 1].double(), label)
        for row, (factor, length, label) in enumerate(zip(factors, lengths, labels, strict=True))
    )
    assert isinstance(wanted, torch.Tensor)
    (exact,) = torch.autograd.grad(wanted, logits)
    torch.testing.assert_close(result, exact, rtol=1e-4, atol=1e-6)


def test_prefix_posteriors_are_the_sum_over_all_ways_to_say_the_prefix() -> None:
    model = transducer(tokens=4)
    with model.as_it_decodes():
        encoded = model.encode(batch_of([13], [[1]]))
        for prefix in ([], [1], [2, 2], [3, 1, 3]):
            posteriors = model.next_token_log_posteriors(encoded, [prefix])[0].exp()
            at = TransducerPrefixes(model, encoded.frames, encoded.lengths)
            for token in prefix:
                at = at.extended(torch.tensor([0]), torch.tensor([token]))
            mass = at.log_mass().exp()[0]
            predicted, _ = model.predict(torch.tensor([[0, *prefix]]), None)
            logits = model.join(encoded.frames.unsqueeze(2), predicted.unsqueeze(1))[0].double()
            local = logits.log_softmax(2)
            assert float(mass[0].log()) == pytest.approx(float(brute_force(logits, prefix)), rel=1e-6)
            for token in (1, 2, 3):
                said = [*prefix, token]
                # A way to say it: a path up to its last token, whatever comes then.
                ways = [
                    path[: path.index(next(s for s in reversed(path) if not s[2])) + 1]
                    for path in alignments(len(local), len(said))
                ]
                total = sum(
                    float(torch.stack([local[t, u, 0 if blank else said[u]] for t, u, blank in way]).sum().exp())
                    for way in ways
                )
                assert float(mass[token]) == pytest.approx(total, rel=1e-6)
            torch.testing.assert_close(posteriors, mass / mass.sum())


def test_mass_is_kept_from_prefix_to_prefix() -> None:
    model = transducer()
    with model.as_it_decodes():
        encoded = model.encode(batch_of([40, 21], [[1], [1]]))
        at = TransducerPrefixes(model, encoded.frames, encoded.lengths)
        for token in (1, 5, 5, 2):
            mass = at.log_mass()[:, token]
            at = at.extended(torch.arange(2), torch.full((2,), token))
            torch.testing.assert_close(at.log_mass().logsumexp(1), mass, rtol=1e-6, atol=1e-6)


class Babbler:
    """Says token 1 for ever."""

    def predict(self, tokens: torch.Tensor, hidden: Hidden | None) -> tuple[torch.Tensor, Hidden]:
        state = torch.zeros(1, len(tokens), 1)
        return torch.zeros(len(tokens), 1, 1), (state, state)

    def join(self, frames: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
        return torch.tensor([0.0, 1.0]).expand(len(frames), 2)


def test_greedy_decoding_ends_with_a_model_that_does_not() -> None:
    search = GreedySearch(Babbler(), 2, torch.device("cpu"))
    search.feed(torch.zeros(2, 3, 1), torch.tensor([3, 1]))
    assert [len(tokens) for tokens in search.tokens] == [3 * MOST_TOKENS_A_FRAME, MOST_TOKENS_A_FRAME]


def test_greedy_follows_the_best_step_of_each_frame() -> None:
    model = transducer(seed=1, sharpness=3.0)
    batch: Batch = batch_of([33, 18], [[1], [1]])
    with model.as_it_decodes():
        encoded = model.encode(batch)
        result = model.greedy(encoded)
        for row in range(2):
            said: list[int] = []
            for frame in range(int(encoded.lengths[row])):
                for _ in range(MOST_TOKENS_A_FRAME):
                    predicted, _ = model.predict(torch.tensor([[0, *said]]), None)
                    best = int(model.join(encoded.frames[row, frame], predicted[0, -1]).argmax())
                    if best == 0:
                        break
                    said.append(best)
            assert result[row] == said
    assert any(result)


def test_a_short_context_sees_the_last_tokens_alone() -> None:
    with torch_scope(0, "prediction"):
        prediction = ContextPrediction(6, 5, 2, dropout=0.0)
    said = torch.tensor([[0, 3, 1, 4, 4], [0, 2, 5, 4, 4]])
    states, kept = prediction(said, None)
    assert torch.equal(states[0, 4], states[1, 4])  # 4 after 4
    assert not torch.equal(states[0, 3], states[1, 3])  # 4 after 1, 4 after 5
    first, second = (layer.weight for layer in prediction.embeddings)
    assert torch.equal(states[0, 2], first[1] + second[3])
    assert torch.equal(states[0, 0], first[0] + second[0])
    # Token by token, as decoding goes, it is the same.
    hidden: Hidden | None = None
    for place in range(said.shape[1]):
        one, hidden = prediction(said[:, place : place + 1], hidden)
        assert torch.equal(one[:, 0], states[:, place])
    assert hidden is not None
    assert torch.equal(hidden[0], kept[0])
