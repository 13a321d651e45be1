"""The loss of RNN-T lattices: the same function as for frames, over {next token, blank, rest} at each node."""

from __future__ import annotations

import math

import pytest
import torch

from fedasr.models.tokenizer import BLANK
from fedasr.training.distillation.nodes import NodeTargets, node_losses, steps

TARGETS, LENGTHS, FRAMES = torch.tensor([[2, 3], [1, 0]]), torch.tensor([2, 1]), torch.tensor([3, 2])


def by_hand(student: torch.Tensor, teacher: torch.Tensor, row: int) -> float:
    """Return the mean over the nodes of an utterance, node by node."""
    total = 0.0
    for time in range(int(FRAMES[row])):
        for place in range(int(LENGTHS[row]) + 1):
            three = []
            for logits in (teacher, student):
                p = logits[row, time, place].softmax(0).double()
                token = float(p[TARGETS[row, place]]) if place < int(LENGTHS[row]) else None
                masses = [float(p[BLANK])] if token is None else [token, float(p[BLANK])]
                three.append([*masses, 1 - sum(masses)])
            total += sum(p * math.log(p / q) for p, q in zip(*three, strict=True))
    return total / (int(FRAMES[row]) * (int(LENGTHS[row]) + 1))


def test_node_by_node() -> None:
    """At the end of the hypothesis there is no next token, and two masses are left."""
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 3, 5), torch.randn(2, 3, 3, 5)
    token, blank, _ = steps(teacher, TARGETS)
    result = node_losses(student, FRAMES, TARGETS, LENGTHS, NodeTargets(token, blank))
    assert result.tolist() == pytest.approx([by_hand(student, teacher, row) for row in (0, 1)], rel=1e-4)


def test_a_student_that_says_the_same_has_no_loss_and_no_gradient() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 3, 5, requires_grad=True)
    token, blank, _ = steps(logits.detach(), TARGETS)
    losses = node_losses(logits, FRAMES, TARGETS, LENGTHS, NodeTargets(token, blank))
    torch.testing.assert_close(losses, torch.zeros(2), atol=1e-6, rtol=0)
    losses.sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) < 1e-6


def test_the_three_add_up_to_one() -> None:
    torch.manual_seed(0)
    said = torch.stack(steps(torch.randn(2, 3, 3, 5) * 20, TARGETS))
    assert said.exp().sum(0)[0, :, :2] == pytest.approx(torch.ones(3, 2).numpy(), abs=1e-6)
    assert bool(said.isfinite().all())
