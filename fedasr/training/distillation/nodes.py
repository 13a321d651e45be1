"""A student learns a teacher's posteriors node by node of an RNN-T lattice (Panchapagesan et al., arXiv 2011.06110)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from fedasr.models.tokenizer import BLANK


@dataclass(frozen=True)
class NodeTargets:
    """What a teacher says at the nodes of the lattices of some utterances.

    Shapes: ``token`` and ``blank (batch, time, tokens + 1)``, the log-posteriors of the hypothesis's next token and of
    the blank, in nats; finite in the padding. There is no next token at the end of the hypothesis.
    """

    token: torch.Tensor
    blank: torch.Tensor

    def to(self, device: torch.device) -> NodeTargets:
        """Return the targets on ``device``."""
        return NodeTargets(self.token.to(device), self.blank.to(device))


def steps(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the log-posteriors of the next token, of the blank and of all others, ``(batch, time, tokens + 1)`` each.

    Args:
        logits: ``(batch, time, tokens + 1, vocabulary)``.
        targets: int64 ``(batch, tokens)``; at the last node of each, where there is no next token, the first means
            nothing.
    """
    following = F.pad(targets, (0, 1), value=BLANK)[:, None, :, None].expand(-1, logits.shape[1], -1, 1)
    log_posteriors = logits.log_softmax(3)
    # The mass of the others, added up: 1 − Σ loses all digits where that is almost 1.
    others = log_posteriors.scatter(3, following, -torch.inf)[..., BLANK + 1 :].logsumexp(3)
    return log_posteriors.gather(3, following).squeeze(3), log_posteriors[..., BLANK], others


def node_losses(
    logits: torch.Tensor,
    frames: torch.Tensor,
    targets: torch.Tensor,
    target_lengths: torch.Tensor,
    teacher: NodeTargets,
) -> torch.Tensor:
    """Return the divergence over {next token, blank, rest}, a mean over the nodes, in nats a node, ``(batch,)``.

    Args:
        logits: the student's, ``(batch, time, tokens + 1, vocabulary)``; at least three tokens.
        frames: of each utterance, int64 ``(batch,)``.
        targets: the teacher's hypothesis, int64 ``(batch, tokens)``.
        target_lengths: int64 ``(batch,)``.
        teacher: what it says.
    """
    own = torch.stack(steps(logits, targets))
    places = torch.arange(own.shape[3], device=own.device)
    last = (places == target_lengths.unsqueeze(1)).unsqueeze(1)
    token = teacher.token.exp().masked_fill(last, 0.0)
    blank = teacher.blank.exp()
    mass = torch.stack([token, blank, (1 - token - blank).clamp(min=0.0)])
    mass = mass / mass.sum(0)
    each = torch.where(mass > 0, mass * (mass.clamp(min=1e-30).log() - own), torch.zeros_like(mass)).sum(0)
    inside = torch.arange(own.shape[2], device=own.device) < frames.unsqueeze(1)
    counted = inside.unsqueeze(2) & (places <= target_lengths.unsqueeze(1)).unsqueeze(1)
    nodes = frames * (target_lengths + 1)
    return torch.where(counted, each, torch.zeros_like(each)).sum((1, 2)) / nodes.clamp(min=1)
