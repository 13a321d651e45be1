"""Token by token: hypotheses as prefixes that know what may come next, the same for every model family.

A family says how probable each next token is under a prefix, and the end of the sentence. From that alone follow the
probability of a transcript, greedy decoding and beam search.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from math import inf

import torch

from fedasr.models.tokenizer import BLANK

END = BLANK
"""The posteriors' column that stands for the end of the sentence: the blank is no character, its place is free."""

LARGEST_STEP = 1 << 22
"""Scalars that one step may hold for all the prefixes that it scores together; bounds the memory."""


class Prefixes(ABC):
    """Hypotheses in parallel, each the beginning of the transcript of an utterance; extending them makes new ones."""

    @abstractmethod
    def log_posteriors(self) -> torch.Tensor:
        """Return the log-posteriors of the next token, in nats, float64 ``(hypotheses, tokens)``; ``END`` is the end.

        They sum to one.
        """

    @abstractmethod
    def extended(self, rows: torch.Tensor, tokens: torch.Tensor) -> Prefixes:
        """Return hypotheses that are those of ``rows``, each with one more token.

        Args:
            rows: which hypotheses, int64 ``(hypotheses',)``; any order, any number of times.
            tokens: what follows, int64 ``(hypotheses',)``; never the blank.
        """

    @abstractmethod
    def only(self, rows: torch.Tensor) -> Prefixes:
        """Return the hypotheses of ``rows``, int64 ``(hypotheses',)``, as they are."""

    @abstractmethod
    def whole(self) -> torch.Tensor:
        """Return what ``scores`` adds up to where the prefix is the whole transcript, in nats, ``(hypotheses,)``."""

    def scores(self) -> torch.Tensor:
        """Return what decoding adds up, ``(hypotheses, tokens)``, never above zero: the log-posteriors themselves.

        A family that decodes with more than its posteriors says so here.
        """
        return self.log_posteriors()

    def weight(self) -> int:
        """Return the scalars that a hypothesis holds, roughly."""
        return 1


class Chained(Prefixes):
    """Prefixes whose score is what their posteriors add up to, for families that decode with something else.

    Args:
        inner: the prefixes.
        totals: what the posteriors of their tokens added up to, ``(hypotheses,)``; None: they are empty.
    """

    def __init__(self, inner: Prefixes, totals: torch.Tensor | None = None) -> None:
        self.inner = inner
        self.following = inner.log_posteriors()
        self.totals = torch.zeros_like(self.following[:, END]) if totals is None else totals

    def log_posteriors(self) -> torch.Tensor:
        """Return the log-posteriors of the next token, ``(hypotheses, tokens)``."""
        return self.following

    def whole(self) -> torch.Tensor:
        """Return the log-probability of the prefix as the whole transcript, ``(hypotheses,)``."""
        return self.totals + self.following[:, END]

    def weight(self) -> int:
        """Return the scalars that a hypothesis holds."""
        return self.inner.weight()

    def extended(self, rows: torch.Tensor, tokens: torch.Tensor) -> Chained:
        """Return the hypotheses of ``rows``, each with one more token."""
        return Chained(self.inner.extended(rows, tokens), self.totals[rows] + self.following[rows, tokens])

    def only(self, rows: torch.Tensor) -> Chained:
        """Return the hypotheses of ``rows``."""
        return Chained(self.inner.only(rows), self.totals[rows])


def ends(prefixes: Prefixes, wanted: Sequence[Sequence[int]]) -> Iterator[tuple[Prefixes, dict[int, int]]]:
    """Walk tokens of each utterance's own, all utterances together; yield the prefixes wherever some have arrived.

    Args:
        prefixes: the empty prefix of each utterance.
        wanted: the tokens of each; may be empty.

    Yields:
        Hypotheses, and which of them have arrived, each with its utterance.
    """
    rows = list(range(len(wanted)))
    for place in range(max(map(len, wanted), default=0) + 1):
        arrived = {index: row for index, row in enumerate(rows) if len(wanted[row]) == place}
        if arrived:
            yield prefixes, arrived
        going = [index for index, row in enumerate(rows) if len(wanted[row]) > place]
        if not going:
            return
        rows = [rows[index] for index in going]
        prefixes = prefixes.extended(torch.tensor(going), torch.tensor([wanted[row][place] for row in rows]))


def next_token(prefixes: Prefixes, wanted: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return the log-posteriors under a prefix of each utterance's own, float64 ``(batch, tokens)``.

    Args:
        prefixes: the empty prefix of each utterance.
        wanted: the tokens of each utterance's prefix.
    """
    by_row: dict[int, torch.Tensor] = {}
    for at, arrived in ends(prefixes, wanted):
        posteriors = at.log_posteriors()
        by_row.update({row: posteriors[index] for index, row in arrived.items()})
    return torch.stack([by_row[row] for row in range(len(wanted))])


def score_transcripts(prefixes: Prefixes, transcripts: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return the score of one whole transcript an utterance, in nats, float64 ``(batch,)``.

    Args:
        prefixes: the empty prefix of each utterance.
        transcripts: the tokens of each; may be empty.
    """
    scores: dict[int, torch.Tensor] = {}
    for at, arrived in ends(prefixes, transcripts):
        wholes = at.whole()
        scores.update({row: wholes[index] for index, row in arrived.items()})
    return torch.stack([scores[row] for row in range(len(transcripts))]).double()


class Trie:
    """Candidates that share their common beginnings, level by level; ``lexicon.Lexicon`` numbers the nodes through.

    Attributes:
        levels: of each level below the root, where in the level above each node hangs and the token that leads to it,
            two int64 tensors ``(nodes,)``.
        ends: of each candidate, its level (0: the root) and its node there.
    """

    def __init__(self, candidates: Sequence[Sequence[int]]) -> None:
        self.levels: list[tuple[torch.Tensor, torch.Tensor]] = []
        places = [0] * len(candidates)
        ends = [(0, 0)] * len(candidates)
        for depth in range(max((len(candidate) for candidate in candidates), default=0)):
            nodes: dict[tuple[int, int], int] = {}
            for index, candidate in enumerate(candidates):
                if depth < len(candidate):
                    places[index] = nodes.setdefault((places[index], candidate[depth]), len(nodes))
                    ends[index] = (depth + 1, places[index])
            parents, tokens = zip(*nodes, strict=True)
            self.levels.append((torch.tensor(parents), torch.tensor(tokens)))
        self.ends = ends

    def steps(self, utterances: int) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
        """Yield, level by level, the hypotheses to extend, by what tokens, and the nodes of the level.

        The hypotheses of each utterance are the nodes of the level above.
        """
        above = 1
        for parents, tokens in self.levels:
            rows = (torch.arange(utterances).unsqueeze(1) * above + parents).flatten()
            above = len(parents)
            yield rows, tokens.repeat(utterances), above

    @property
    def widest(self) -> int:
        """Return the number of nodes of the widest level."""
        return max((len(tokens) for _, tokens in self.levels), default=1)


def score_candidates(prefixes: Prefixes, utterances: int, candidates: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return the score of each candidate as the whole transcript, in nats, float64 ``(utterances, candidates)``.

    Common beginnings are scored once.

    Args:
        prefixes: the empty prefix of each utterance.
        utterances: how many.
        candidates: tokens of each.
    """
    trie = Trie(candidates)
    together = max(1, LARGEST_STEP // (trie.widest * prefixes.weight()))
    parts = []
    for start in range(0, utterances, together):
        at = prefixes.only(torch.arange(start, min(start + together, utterances)))
        wholes = [at.whole().unsqueeze(1)]
        for rows, tokens, nodes in trie.steps(len(wholes[0])):
            at = at.extended(rows, tokens)
            wholes.append(at.whole().view(-1, nodes))
        parts.append(torch.stack([wholes[level][:, node] for level, node in trie.ends], dim=1))
    return torch.cat(parts)


def greedy_search(prefixes: Prefixes, limits: Sequence[int]) -> list[list[int]]:
    """Return the tokens that are likeliest one by one, for each utterance, up to the end.

    Args:
        prefixes: the empty prefix of each utterance.
        limits: most tokens of each.
    """
    sequences: list[list[int]] = [[] for _ in limits]
    rows = [row for row, limit in enumerate(limits) if limit > 0]
    if len(rows) < len(limits):
        prefixes = prefixes.only(torch.tensor(rows, dtype=torch.int64))
    while rows:
        best = prefixes.scores().argmax(dim=1)
        going = []
        for index, (row, token) in enumerate(zip(rows, best.tolist(), strict=True)):
            if token != END:
                sequences[row].append(token)
                if len(sequences[row]) < limits[row]:
                    going.append(index)
        if not going:
            break
        rows = [rows[index] for index in going]
        kept = torch.tensor(going)
        prefixes = prefixes.extended(kept, best[kept])
    return sequences


def beam_search(prefixes: Prefixes, limit: int, beam: int, known: tuple[list[int], float]) -> list[int]:
    """Return the best transcript of one utterance among a known one and those that the beam meets.

    The best has the largest score a token (the end is one) of those that score no less than the known one. By the score
    alone a short wrong sentence can beat a long right one: label smoothing and doubt take a little of every token.
    Stops when no open hypothesis can become the best: a score never rises, and none has more than ``limit`` tokens to
    be divided by.

    Args:
        prefixes: the empty prefix of one utterance.
        limit: most tokens.
        beam: open hypotheses after each token.
        known: a transcript and its score, such as greedy decoding finds.
    """
    best, least = known
    highest = least / (len(best) + 1)
    texts: list[list[int]] = [[]]
    totals: torch.Tensor | float = 0.0
    for place in range(limit + 1):
        scores = prefixes.scores() + totals
        for text, score in zip(texts, scores[:, END].tolist(), strict=True):
            if score >= least and score / (place + 1) > highest:
                best, highest = text, score / (place + 1)
        scores[:, END] = -inf
        following, where = scores.flatten().topk(min(beam, scores.numel()))
        open_ones = (following >= least) & (following / (limit + 1) > highest)
        if place == limit or not bool(open_ones.any()):
            break
        totals, where = following[open_ones].unsqueeze(1), where[open_ones]
        rows, tokens = where // scores.shape[1], where % scores.shape[1]
        texts = [[*texts[row], token] for row, token in zip(rows.tolist(), tokens.tolist(), strict=True)]
        prefixes = prefixes.extended(rows, tokens)
    return best
