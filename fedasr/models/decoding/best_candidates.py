"""The likeliest of many candidates without scoring them all: what cannot win any more is left.

A score never rises along a transcript, so a beginning that scores less than a whole candidate can be dropped with all
that begins with it. A narrow beam over the candidates' tree finds a good candidate first.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import torch

from fedasr.models.decoding.prefixes import LARGEST_STEP, Prefixes, Trie

BEAM = 4
"""Beginnings an utterance that the first pass keeps."""
SLACK = 1e-6
"""How much less a beginning may score than the best candidate, for rounding."""
IMPOSSIBLE = -1


def best_candidates(prefixes: Prefixes, utterances: int, candidates: Sequence[Sequence[int]]) -> list[int]:
    """Return the index of the likeliest candidate of each utterance; of equals, the first; −1 where none is possible.

    The same as the largest column of ``score_candidates``, but for equals within rounding.

    Args:
        prefixes: the empty prefix of each utterance.
        utterances: how many.
        candidates: tokens of each; at least one.
    """
    trie = Trie(candidates)
    tree = Tree(trie, len(candidates))
    together = max(1, LARGEST_STEP // (trie.widest * prefixes.weight()))
    found: list[int] = []
    for start in range(0, utterances, together):
        part = prefixes.only(torch.arange(start, min(start + together, utterances)))
        size = min(together, utterances - start)
        first = search(part, tree, [(-inf, IMPOSSIBLE)] * size, beam=BEAM)
        found += [winner for _, winner in search(part, tree, first, beam=None)]
    return found


class Tree:
    """A trie from above: the children of each node, and the first candidate that ends there.

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
        self.ends: dict[tuple[int, int], int] = {}
        for index in range(candidates):
            self.ends.setdefault(trie.ends[index], index)


def search(
    prefixes: Prefixes, tree: Tree, best: Sequence[tuple[float, int]], beam: int | None
) -> list[tuple[float, int]]:
    """Return the best score and candidate of each utterance.

    Args:
        prefixes: the empty prefix of each utterance.
        tree: of the candidates.
        best: what is known already.
        beam: beginnings an utterance that are kept; None: all that can still win.
    """
    found = list(best)
    open_ones = [(row, 0) for row in range(len(found))]
    totals = torch.zeros(len(found), dtype=torch.float64)
    for depth in range(len(tree.children) + 1):
        wholes = prefixes.whole().tolist()
        for (row, node), score in zip(open_ones, wholes, strict=True):
            index = tree.ends.get((depth, node))
            if index is not None and (score > found[row][0] or (score == found[row][0] and index < found[row][1])):
                found[row] = score, index
        if depth == len(tree.children):
            break
        following = [
            (place, row, child, token)
            for place, (row, node) in enumerate(open_ones)
            for child, token in tree.children[depth][node]
        ]
        if not following:
            break
        places, rows, _, tokens = (torch.tensor(column) for column in zip(*following, strict=True))
        scores = prefixes.scores()
        device = scores.device
        new = totals.to(device)[places.to(device)] + scores[places.to(device), tokens.to(device)]
        new = new.double().cpu()
        least = torch.tensor([score for score, _ in found], dtype=torch.float64)[rows]
        kept = (new >= least - SLACK) & torch.isfinite(new)
        if beam is not None:
            kept &= among_best(new, rows, beam)
        chosen = kept.nonzero().flatten()
        if not len(chosen):
            break
        open_ones = [following[place][1:3] for place in chosen.tolist()]
        totals = new[chosen]
        prefixes = prefixes.extended(places[chosen].to(device), tokens[chosen].to(device))
    return found


def among_best(scores: torch.Tensor, rows: torch.Tensor, count: int) -> torch.Tensor:
    """Say of each score whether it is among the best of its row, bool ``(scores,)``.

    Args:
        scores: shape ``(scores,)``.
        rows: of each, rising, shape ``(scores,)``.
        count: how many a row are.
    """
    found = torch.zeros(len(scores), dtype=torch.bool)
    order = scores.argsort(descending=True, stable=True)
    order = order[rows[order].argsort(stable=True)]
    sorted_rows = rows[order]
    first = torch.searchsorted(sorted_rows, sorted_rows)
    found[order[torch.arange(len(order)) - first < count]] = True
    return found
