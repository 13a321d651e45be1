"""The loss of frame posteriors: the numbers of the reference, its limits, and what is not learnt."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from fedasr.training.distillation.frames import FrameLoss, FrameTargets

TEACHER = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
UNIFORM = torch.full((4,), 0.25).log()


def kept(log_posteriors: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the top k of one frame, sorted already, as what is stored of it."""
    rest = log_posteriors[k:].logsumexp(0) if k < len(log_posteriors) else torch.tensor(-math.inf)
    return torch.arange(k), log_posteriors[:k], rest


def of_frames(log_posteriors: torch.Tensor, k: int, lengths: list[int]) -> FrameTargets:
    """Return the top k of padded utterances ``(batch, time, classes)``."""
    order = log_posteriors.argsort(dim=2, descending=True)
    rest = log_posteriors.gather(2, order[:, :, k:]).logsumexp(2)
    return FrameTargets(
        order[:, :, :k], log_posteriors.gather(2, order[:, :, :k]), rest, torch.tensor(lengths, dtype=torch.int64)
    )


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        ("bucket", [0.14384, 0.21801, 0.24417, 0.24417]),
        ("renormalise", [1.38629, 0.72473, 0.39303, 0.24417]),
    ],
)
def test_the_numbers_of_the_reference(tail: str, expected: list[float]) -> None:
    """A bucket rises to the full divergence and is exact at all classes but one; renormalised it falls to it."""
    for k, value in enumerate(expected, 1):
        assert float(FrameLoss(tail).divergence(UNIFORM, *kept(TEACHER, k))) == pytest.approx(value, abs=5e-6)


@pytest.mark.parametrize("tail", ["bucket", "renormalise"])
def test_all_classes_are_the_full_divergence(tail: str) -> None:
    torch.manual_seed(0)
    teacher, student = torch.randn(5, 7).log_softmax(1), torch.randn(5, 7).log_softmax(1)
    expected = F.kl_div(student, teacher, log_target=True, reduction="none").sum(1)
    rest = torch.full((5,), -math.inf)
    result = FrameLoss(tail).divergence(student, torch.arange(7).expand(5, 7), teacher, rest)
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("k", [1, 3, 6, 7])
def test_a_student_that_says_the_same_has_no_loss_and_no_gradient(k: int) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 7, requires_grad=True)
    own = logits.log_softmax(2)
    targets = of_frames(own.detach(), k, [3, 2])
    losses = FrameLoss()(own, targets.lengths, targets)
    torch.testing.assert_close(losses, torch.zeros(2), atol=1e-6, rtol=0)
    losses.sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) < 1e-6


def test_a_class_without_mass_costs_nothing() -> None:
    teacher = torch.tensor([1.0, 0.0, 0.0]).log()
    logits = torch.tensor([2.0, 0.0, -200.0], requires_grad=True)
    for k in (1, 2, 3):
        rest = torch.tensor(-math.inf)
        loss = FrameLoss().divergence(logits.log_softmax(0), torch.arange(k), teacher[:k], rest)
        loss.backward()  # type: ignore[no-untyped-call]
        assert float(loss.detach()) == pytest.approx(-float(logits.detach().log_softmax(0)[0]))
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())


def test_padding_and_company_change_nothing() -> None:
    torch.manual_seed(0)
    teacher, student = torch.randn(2, 6, 5).log_softmax(2), torch.randn(2, 6, 5).log_softmax(2)
    targets = of_frames(teacher, 2, [6, 4])
    losses = FrameLoss(shift_frames=1)(student, targets.lengths, targets)
    alone = of_frames(teacher[1:, :4], 2, [4])
    torch.testing.assert_close(losses[1:], FrameLoss(shift_frames=1)(student[1:, :4], alone.lengths, alone))


@pytest.mark.parametrize("shift", [-2, -1, 0, 1, 2])
def test_a_shifted_copy_of_the_teacher_has_no_loss(shift: int) -> None:
    """A student that says everything so many frames later, and nothing of the frames without a counterpart."""
    torch.manual_seed(0)
    teacher = torch.randn(1, 8, 5).log_softmax(2)
    student = torch.roll(teacher, shift, 1)
    targets = of_frames(teacher, 3, [8])
    result = FrameLoss(shift_frames=shift)(student, targets.lengths, targets)
    torch.testing.assert_close(result, torch.zeros(1), atol=1e-6, rtol=0)
    if shift:
        assert float(FrameLoss(shift_frames=-shift)(student, targets.lengths, targets)) > 0.1


def test_a_shift_beyond_the_end_teaches_nothing() -> None:
    teacher = torch.randn(1, 3, 5).log_softmax(2)
    targets = of_frames(teacher, 3, [3])
    assert float(FrameLoss(shift_frames=4)(teacher, targets.lengths, targets)) == 0


def test_temperature_is_that_of_hinton() -> None:
    torch.manual_seed(0)
    teacher, student = torch.randn(4, 6), torch.randn(4, 6)
    soft = [(x / 2).log_softmax(1) for x in (student, teacher)]
    expected = 4 * F.kl_div(*soft, log_target=True, reduction="none").sum(1)
    order = teacher.argsort(dim=1, descending=True)
    known = teacher.log_softmax(1).gather(1, order)
    for k in (5, 6):  # all but one, whose mass the rest is, or all
        rest = known[:, 5] if k == 5 else torch.full((4,), -math.inf)
        result = FrameLoss(temperature=2.0).divergence(student.log_softmax(1), order[:, :k], known[:, :k], rest)
        torch.testing.assert_close(result, expected)
    with pytest.raises(ValueError, match="cannot be tempered"):
        FrameLoss(temperature=2.0).divergence(student.log_softmax(1), order[:, :4], known[:, :4], known[:, 4])


def test_other_frames_than_the_teachers_are_a_fault() -> None:
    teacher = torch.randn(1, 4, 5).log_softmax(2)
    targets = of_frames(teacher, 3, [4])
    with pytest.raises(ValueError, match="frames of the student"):
        FrameLoss()(teacher[:, :3], torch.tensor([3]), targets)
