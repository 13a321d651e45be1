"""The likeliest of many candidates without scoring them all: what cannot win any more is left.

A score never rises along a transcript, so a beginning that scores less than a whole candidate can be dropped with all
that begins with it, the largest bonus among them counted. A narrow beam over the candidates' tree finds a good
candidate first.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf

import torch

from fedasr.models.decoding.prefixes import LARGEST_STEP, Prefixes, Trie

BEAM = 4
"""Beginnings an utterance that the first pass keeps."""
SLACK = 1e-6
"""How much less a beginning may score than the best candidate, for rounding."""
IMPOSSIBLE = -1


def best_candidates(
    prefixes: Prefixes, utterances: int, candidates: Sequence[Sequence[int]], bonus: torch.Tensor | None = None
) -> list[int]:
    """Return the index of the likeliest candidate of each utterance; of equals, the first; −1 where none is possible.

    The same as the largest column of ``score_candidates``, but for equals within rounding.

    Args:
        prefixes: the empty prefix of each utterance.
        utterances: how many.
        candidates: tokens of each; at least one.
        bonus: what is added to the score of each, ``(candidates,)``; None: nothing.
    """
    tree = children_of(tuple(tuple(candidate) for candidate in candidates))
    promise = Promise(tree, [0.0] * len(candidates) if bonus is None else bonus.tolist())
    together = max(1, LARGEST_STEP // (BEAM * prefixes.weight()))
    chosen: list[int] = []
    for start in range(0, utterances, together):
        part = prefixes.only(torch.arange(start, min(start + together, utterances)))
        size = min(together, utterances - start)
        first = search(part, tree, promise, [(-inf, IMPOSSIBLE)] * size, beam=BEAM)
        chosen += [winner for _, winner in search(part, tree, promise, first, beam=None)]
    return chosen


class TrieChildren:
    """A trie read downwards: the children of each node, and the first candidate that ends there.

    Args:
        trie: the candidates level by level.
        candidates: how many.
    """

    def __init__(self, trie: Trie, candidates: int) -> None:
        self.children: list[list[list[tuple[int, int]]]] = []
        above = 1
        for parents, tokens in trie.levels:
            level: list[list[tuple[int, int]]] = [[] for _ in range(above)]
            for node, (parent, token) in enumerate(zip(parents.tolist(), tokens.tolist(), strict=True)):
                level[parent].append((node, token))
            self.children.append(level)
            above = len(parents)
        self.deepest = above
        self.ends: dict[tuple[int, int], int] = {}
        for index in range(candidates):
            self.ends.setdefault(trie.ends[index], index)


class Promise:
    """What the bonus adds: to each whole candidate, and at most to anything that goes through a node.

    Args:
        tree: of the candidates.
        bonus: of each candidate.

    Attributes:
        bonus: the same.
        most: of each level and node, the largest bonus at it or below.
    """

    def __init__(self, tree: TrieChildren, bonus: Sequence[float]) -> None:
        self.bonus = bonus
        below: list[float] = []
        self.most: list[list[float]] = []
        for depth in range(len(tree.children), -1, -1):
            nodes = range(len(tree.children[depth]) if depth < len(tree.children) else tree.deepest)
            level = []
            for node in nodes:
                index = tree.ends.get((depth, node))
                children = tree.children[depth][node] if depth < len(tree.children) else []
                own = -inf if index is None else bonus[index]
                level.append(max([own, *(below[child] for child, _ in children)]))
            self.most.insert(0, level)
            below = level


@lru_cache(maxsize=4)
def children_of(candidates: tuple[tuple[int, ...], ...]) -> TrieChildren:
    """Return the tree of the candidates, built once."""
    return TrieChildren(Trie(candidates), len(candidates))


@dataclass
class Frontier:
    """Beginnings that are open: for each, its utterance (rising) and node at this depth of the tree, and its score."""

    depth: int
    prefixes: Prefixes
    rows: list[int]
    nodes: list[int]
    totals: torch.Tensor

    def halves(self) -> list[Frontier]:
        """Return the beginnings of the first half of the utterances, and of the others."""
        middle = self.rows[len(self.rows) // 2]
        cut = bisect_left(self.rows, middle) or bisect_right(self.rows, middle)
        return [self._part(0, cut), self._part(cut, len(self.rows))]

    def _part(self, start: int, end: int) -> Frontier:
        kept = torch.arange(start, end)
        rows, nodes = self.rows[start:end], self.nodes[start:end]
        return Frontier(self.depth, self.prefixes.only(kept), rows, nodes, self.totals[start:end])


def search(
    prefixes: Prefixes, tree: TrieChildren, promise: Promise, best: Sequence[tuple[float, int]], beam: int | None
) -> list[tuple[float, int]]:
    """Return the best score and candidate of each utterance.

    All utterances go down the tree together; where too much of it is open to be held at once, one half goes first.

    Args:
        prefixes: the empty prefix of each utterance.
        tree: of the candidates.
        promise: what the bonus adds.
        best: what is known already.
        beam: beginnings an utterance that are kept; None: all that can still win.
    """
    candidates = list(best)
    size = len(candidates)
    waiting = [Frontier(0, prefixes, list(range(size)), [0] * size, torch.zeros(size, dtype=torch.float64))]
    while waiting:
        following = step(waiting.pop(), tree, promise, candidates, beam)
        if following is None:
            continue
        large = len(following.rows) * following.prefixes.weight() > LARGEST_STEP
        if large and following.rows[0] != following.rows[-1]:
            waiting += following.halves()
        else:
            waiting.append(following)
    return candidates


def step(
    at: Frontier, tree: TrieChildren, promise: Promise, candidates: list[tuple[float, int]], beam: int | None
) -> Frontier | None:
    """Return what is open one token further, None where nothing is; whole candidates go into ``candidates``."""
    wholes = at.prefixes.whole().tolist()
    for row, node, score in zip(at.rows, at.nodes, wholes, strict=True):
        index = tree.ends.get((at.depth, node))
        score += 0.0 if index is None else promise.bonus[index]
        if index is not None and (
            score > candidates[row][0] or (score == candidates[row][0] and index < candidates[row][1])
        ):
            candidates[row] = score, index
    if at.depth == len(tree.children):
        return None
    following = [
        (place, row, child, token)
        for place, (row, node) in enumerate(zip(at.rows, at.nodes, strict=True))
        for child, token in tree.children[at.depth][node]
    ]
    if not following:
        return None
    places, rows, nodes, tokens = torch.tensor(following).unbind(1)
    scores = at.prefixes.scores()
    device = scores.device
    new = at.totals.to(device)[places.to(device)] + scores[places.to(device), tokens.to(device)]
    new = new.double().cpu()
    least = torch.tensor([score for score, _ in candidates], dtype=torch.float64)[rows]
    hoped = new + torch.tensor(promise.most[at.depth + 1], dtype=torch.float64)[nodes]
    kept = (hoped >= least - SLACK) & torch.isfinite(new)
    if beam is not None:
        kept &= among_best(hoped, rows, beam)
    chosen = kept.nonzero().flatten()
    if not len(chosen):
        return None
    prefixes = at.prefixes.extended(places[chosen].to(device), tokens[chosen].to(device))
    _, rows_left, nodes_left, _ = zip(*[following[place] for place in chosen.tolist()], strict=True)
    return Frontier(at.depth + 1, prefixes, list(rows_left), list(nodes_left), new[chosen])


def among_best(scores: torch.Tensor, rows: torch.Tensor, count: int) -> torch.Tensor:
    """Say of each score whether it is among the best of its row, bool ``(scores,)``.

    Args:
        scores: shape ``(scores,)``.
        rows: of each, rising, shape ``(scores,)``.
        count: how many a row are.
    """
    mask = torch.zeros(len(scores), dtype=torch.bool)
    order = scores.argsort(descending=True, stable=True)
    order = order[rows[order].argsort(stable=True)]
    sorted_rows = rows[order]
    first = torch.searchsorted(sorted_rows, sorted_rows)
    mask[order[torch.arange(len(order)) - first < count]] = True
    return mask
