"""Phrases under a transducer that remembers a few tokens: all of them on one tree, not a lattice each.

What may be emitted at a frame depends on the last few tokens alone, and there are not many of those: the joint network
is asked once for each of them. What is left of a node is a linear recurrence over time, as in ``transducer``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch.nn import functional as F

from fedasr.models.decoding.lexicon import Lexicon, lexicon_of
from fedasr.models.decoding.prefixes import LARGEST_STEP
from fedasr.models.decoding.transducer import Transducer
from fedasr.models.tokenizer import BLANK


@lru_cache(maxsize=4)
def contexts(tree: Lexicon, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a node of each distinct context, and the context of each node, int64 ``(contexts,)``, ``(nodes,)``.

    Args:
        tree: of the phrases.
        count: tokens that make a context.
    """
    line = F.pad(tree.phrases, (count, 0), value=BLANK)
    columns = tree.depths.unsqueeze(1) + torch.arange(count)
    last = line[tree.spelt_by.unsqueeze(1), columns]
    distinct, of_node = torch.unique(last, dim=0, return_inverse=True)
    first = torch.full((len(distinct),), len(tree))
    first.scatter_reduce_(0, of_node, torch.arange(len(tree)), "amin")
    return first, of_node


def scores(
    model: Transducer, context: int, frames: torch.Tensor, lengths: torch.Tensor, phrases: Sequence[Sequence[int]]
) -> torch.Tensor:
    """Return the log-probability of each phrase for each utterance, in nats, float64 ``(batch, phrases)``.

    Args:
        model: the transducer.
        context: tokens that its prediction network remembers.
        frames: the encoder's part of the joint network, ``(batch, time, width)``.
        lengths: frames of each utterance, int64 ``(batch,)``.
        phrases: tokens of each phrase; at least one.
    """
    tree = lexicon_of(phrases)
    first, of_node = contexts(tree, context)
    device = frames.device
    line = F.pad(tree.phrases, (1, 0), value=BLANK).to(device)
    predicted, _ = model.predict(line, None)
    predicted = predicted[tree.spelt_by[first], tree.depths[first]]
    tokens = model.join(frames[:1, 0], predicted[:1]).shape[1]
    a_frame = len(tree) + len(first) * (frames.shape[2] + 3 * tokens)
    together = max(1, LARGEST_STEP // (a_frame * frames.shape[1]))
    parts = [
        part(model, tree, of_node, predicted, frames[start : start + together], lengths[start : start + together])
        for start in range(0, len(frames), together)
    ]
    return torch.cat(parts)


def part(
    model: Transducer,
    tree: Lexicon,
    of_node: torch.Tensor,
    predicted: torch.Tensor,
    frames: torch.Tensor,
    lengths: torch.Tensor,
) -> torch.Tensor:
    """Return the scores of some utterances, arguments as above; ``predicted (contexts, width)``."""
    device = frames.device
    logits = model.join(frames.unsqueeze(0), predicted[:, None, None])
    normaliser = logits.logsumexp(3).double()
    # A row is a context and what it emits: (contexts, tokens, batch, time), gathers copy whole rows.
    emitted = (logits.double() - normaliser.unsqueeze(3)).permute(0, 3, 1, 2).contiguous()
    blank = emitted[:, BLANK]
    passed = F.pad(blank.cumsum(2)[:, :, :-1], (1, 0))
    reached = passed.new_zeros(len(tree), *passed.shape[1:])
    of_node = of_node.to(device)
    reached[0] = passed[of_node[0]]
    for nodes in tree.levels():
        parents, tokens = tree.parents[nodes - 1].to(device), tree.tokens[nodes - 1].to(device)
        nodes = nodes.to(device)
        entries = reached[parents] + emitted[of_node[parents], tokens]
        before = passed[of_node[nodes]]
        reached[nodes] = before + (entries - before).logcumsumexp(2)
    ends = tree.ends.to(device)
    last = (lengths - 1)[None, :, None].expand(len(ends), -1, 1)
    log_likelihoods: torch.Tensor = (reached[ends] + blank[of_node[ends]]).gather(2, last).squeeze(2)
    return log_likelihoods.T.contiguous()
