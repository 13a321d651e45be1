"""Phrases as one tree, whose common beginnings every family scores once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch

from fedasr.data.ctc_frames import frames_needed
from fedasr.models.tokenizer import BLANK

MOST_NODES = 10_000
"""Attention models and transducers search a larger tree without scoring what cannot win."""


class Lexicon:
    """Phrases as nodes of one tree, numbered through; ``prefixes.Trie`` has them level by level, for a search.

    Node 0 is the root, the empty phrase; parents come before their children.

    Attributes:
        parents: of each node but the root, int64 ``(nodes − 1,)``.
        tokens: that leads to each node but the root, int64 ``(nodes − 1,)``.
        differs: 1 where a node's token is another than its parent's, so that no blank need come between.
        ends: the node of each phrase, int64 ``(phrases,)``.
        frames: that each phrase needs, one a token and one between equal neighbours, int64 ``(phrases,)``.
        phrases: tokens of each phrase, padded with zeros, int64 ``(phrases, longest)``.
        spelt_by: of each node, the first phrase that goes through it, int64 ``(nodes,)``.
        depths: of each node, the tokens before it, int64 ``(nodes,)``.
        paths: of each phrase, the nodes but the root on its way, less one; ``nodes − 1`` is none, int64
            ``(phrases, longest)``.
    """

    def __init__(self, phrases: Sequence[Sequence[int]]) -> None:
        nodes: dict[tuple[int, int], int] = {}
        ends, spelt_by, depths = [], [0], [0]
        for index, phrase in enumerate(phrases):
            node = 0
            for place, token in enumerate(phrase):
                node = nodes.setdefault((node, int(token)), len(nodes) + 1)
                if node == len(spelt_by):
                    spelt_by.append(index)
                    depths.append(place + 1)
            ends.append(node)
        pairs = list(nodes)
        self.parents = torch.tensor([parent for parent, _ in pairs], dtype=torch.int64)
        self.tokens = torch.tensor([token for _, token in pairs], dtype=torch.int64)
        above = torch.cat([torch.full((1,), BLANK), self.tokens])[self.parents]
        self.differs = (self.tokens != above).double()
        self.ends = torch.tensor(ends, dtype=torch.int64)
        needed = [frames_needed(phrase) for phrase in phrases]
        self.frames = torch.tensor(needed, dtype=torch.int64)
        self.spelt_by = torch.tensor(spelt_by, dtype=torch.int64)
        self.depths = torch.tensor(depths, dtype=torch.int64)
        longest = max((len(phrase) for phrase in phrases), default=0)
        self.phrases = torch.zeros(len(phrases), longest, dtype=torch.int64)
        self.paths = torch.full((len(phrases), longest), len(pairs), dtype=torch.int64)
        for index, phrase in enumerate(phrases):
            self.phrases[index, : len(phrase)] = torch.tensor(phrase, dtype=torch.int64)
            node = ends[index]
            for place in range(len(phrase) - 1, -1, -1):
                self.paths[index, place] = node - 1
                node = pairs[node - 1][0]

    def __len__(self) -> int:
        """Return the number of nodes, the root included."""
        return len(self.depths)

    def levels(self) -> Iterator[torch.Tensor]:
        """Yield the nodes of each depth below the root, int64 ``(nodes of the depth,)``."""
        for depth in range(1, self.phrases.shape[1] + 1):
            yield (self.depths == depth).nonzero().squeeze(1)


@lru_cache(maxsize=4)
def _lexicon(phrases: tuple[tuple[int, ...], ...]) -> Lexicon:
    return Lexicon(phrases)


def lexicon_of(phrases: Sequence[Sequence[int]]) -> Lexicon:
    """Return the tree of phrases, built once."""
    return _lexicon(tuple(tuple(int(token) for token in phrase) for phrase in phrases))
