"""A student learns a teacher's posteriors frame by frame (CTC)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

BUCKET, RENORMALISE = "bucket", "renormalise"


@dataclass(frozen=True)
class FrameTargets:
    """What a teacher says of the frames of some utterances.

    Shapes: ``ids (batch, time, k)`` int64, classes; ``log_posteriors (batch, time, k)`` and ``rest (batch, time)``, the
    log mass of all other classes, in nats; ``lengths (batch,)`` int64. Padding may hold anything that is finite.
    """

    ids: torch.Tensor
    log_posteriors: torch.Tensor
    rest: torch.Tensor
    lengths: torch.Tensor

    def to(self, device: torch.device) -> FrameTargets:
        """Return the targets on ``device``."""
        tensors = (self.ids, self.log_posteriors, self.rest, self.lengths)
        return FrameTargets(*(tensor.to(device) for tensor in tensors))


@dataclass(frozen=True)
class FrameLoss:
    """The Kullback–Leibler divergence of a student's posteriors from a teacher's, a mean over the frames.

    Attributes:
        tail: what is made of the mass outside the teacher's top k: ``bucket``, a class of its own, exact for
            ``k ≥ classes − 1`` and never above the full divergence; or ``renormalise``, none: the top k are taken for
            all there is, which is biased towards them.
        temperature: T of Hinton et al. (2015, arXiv 1503.02531): both sides are raised to 1/T and normalised, and the
            loss is multiplied by T². Exact where the teacher's classes are all known: a stored tail cannot be
            tempered, so ``bucket`` needs ``k ≥ classes − 1`` for T ≠ 1.
        shift_frames: a student that hears no future is sure later: its frame t learns the teacher's frame
            t − ``shift_frames``. Frames without a counterpart are not learnt.
    """

    tail: str = BUCKET
    temperature: float = 1.0
    shift_frames: int = 0

    def __call__(self, log_posteriors: torch.Tensor, lengths: torch.Tensor, targets: FrameTargets) -> torch.Tensor:
        """Return the loss of each utterance, in nats a frame, shape ``(batch,)``; 0 where no frame has a counterpart.

        Args:
            log_posteriors: the student's, ``(batch, time, classes)``, in nats.
            lengths: its frames, int64 ``(batch,)``.
            targets: the teacher's.

        Raises:
            ValueError: the student has other frames than the teacher, or a tail is to be tempered.
        """
        if not torch.equal(lengths, targets.lengths):
            raise ValueError(f"{lengths.tolist()} frames of the student, {targets.lengths.tolist()} of the teacher")
        time, shift = int(lengths.max()), self.shift_frames
        overlap = max(0, time - abs(shift))
        student = log_posteriors[:, max(0, shift) : max(0, shift) + overlap]
        behind = slice(max(0, -shift), max(0, -shift) + overlap)
        teacher = targets.ids[:, behind], targets.log_posteriors[:, behind], targets.rest[:, behind]
        each = self.divergence(student, *teacher)
        frames = (lengths - abs(shift)).clamp(min=0)
        inside = torch.arange(overlap, device=lengths.device) < frames.unsqueeze(1)
        return each.where(inside, torch.zeros_like(each)).sum(1) / frames.clamp(min=1)

    def divergence(
        self, student: torch.Tensor, ids: torch.Tensor, log_posteriors: torch.Tensor, rest: torch.Tensor
    ) -> torch.Tensor:
        """Return the loss of each frame, ``(...)``.

        Args:
            student: log-posteriors, ``(..., classes)``.
            ids: the teacher's classes, ``(..., k)``.
            log_posteriors: of them, ``(..., k)``.
            rest: the log mass of the others, ``(...)``.
        """
        classes, kept = student.shape[-1], ids.shape[-1]
        temperature = self.temperature
        if temperature != 1 and self.tail == BUCKET and kept < classes - 1:
            raise ValueError(f"a tail of {classes - kept} classes cannot be tempered")
        teacher, own = log_posteriors, student
        if temperature != 1:
            teacher, own, rest = teacher / temperature, (own / temperature).log_softmax(-1), rest / temperature
        of_top = own.gather(-1, ids)
        if self.tail == BUCKET and kept < classes:
            # The mass of the others, added up: 1 − Σ loses all digits where that is almost 1.
            of_rest = own.scatter(-1, ids, -torch.inf).logsumexp(-1, keepdim=True)
            teacher, of_top = torch.cat([teacher, rest.unsqueeze(-1)], -1), torch.cat([of_top, of_rest], -1)
        if temperature != 1 or self.tail == RENORMALISE:
            teacher = teacher.log_softmax(-1)
        mass = teacher.exp()
        # A class without mass costs nothing, and 0·(−∞) would be NaN.
        terms = torch.where(mass > 0, mass * (teacher.clamp(min=-1e4) - of_top), torch.zeros_like(mass))
        return terms.sum(-1) * temperature**2
